"""Pairs of texts and conditions: many, split by their words, not told by the text."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from errata.gates.conditions.parse import read_condition
from errata.gates.data import wordnet
from errata.gates.data.conditions import condition_examples, training_texts
from errata.gates.data.opinions import aspect_groups, trait_groups
from errata.gates.text import plain
from tools.wordnet import lexicon

SPLITS = ("train", "tune", "test")


@pytest.fixture(scope="module")
def examples():
    return {split: list(condition_examples(split, random.Random(0))) for split in SPLITS}


def test_there_are_hundreds_of_conditions_of_each_kind(examples):
    for kind in ("topic", "claim"):
        train = {e.scope.text for e in examples["train"] if e.kind.startswith(kind)}
        test = {e.scope.text for e in examples["test"] if e.kind.startswith(kind)}
        assert len(train) > 300 and len(test) > 60
    assert {e.label for e in examples["train"]} == {"paraphrase", "none"}


def test_no_condition_stands_on_two_sides(examples):
    conditions = {split: {e.scope.text for e in examples[split]} for split in SPLITS}
    assert not conditions["train"] & (conditions["tune"] | conditions["test"])
    assert not conditions["tune"] & conditions["test"]


def test_held_out_conditions_are_made_of_held_out_words():
    for groups in (aspect_groups(), trait_groups()):
        words = []
        for group in groups:
            found = set()
            for one in group:
                if hasattr(one, "nouns"):
                    found |= {noun.text for noun in (one.name, *one.nouns)}
                else:
                    found |= {word for pole in one.poles for word in pole[0]}
            words.append(found)
        train = set().union(*(w for at, w in enumerate(words) if at % 5 < 3))
        test = set().union(*(w for at, w in enumerate(words) if at % 5 == 4))
        assert train and test and not train & test


def test_nothing_of_the_lexicon_is_in_what_is_held_out(examples):
    train = [trait for group in wordnet.topics() for trait in group]
    assert len(wordnet.traits()) > 400 and len(wordnet.aspects()) > 300 and len(train) > 300
    words = {word for trait in wordnet.traits() for pole in trait.poles for word in pole[0]}
    words |= {noun.text for one in wordnet.aspects() for noun in (one.name, *one.nouns)}
    held_out = set()
    for at, group in enumerate(trait_groups()):
        if at % 5 >= 3:
            held_out |= {word for trait in group for pole in trait.poles for word in pole[0]}
    for at, group in enumerate(aspect_groups()):
        if at % 5 >= 3:
            held_out |= {noun.text for one in group for noun in (one.name, *one.nouns)}
    assert held_out and not words & held_out


def test_other_things_are_drawn_from_it_every_time():
    drawn = [
        {e.scope.text for e in condition_examples("train", random.Random(seed))} for seed in (0, 1)
    ]
    assert len(drawn[0] - drawn[1]) > 100


def test_the_lexicon_is_read_from_wordnets_own_files(tmp_path):
    """Three adjectives and seven nouns, in the format of wndb(5WN)."""
    (tmp_path / "dict").mkdir()

    def write(name, *lines):
        (tmp_path / "dict" / name).write_text("\n".join(lines), "latin-1")

    write("index.sense", "murky%3:00:00:: 00000001 1 2", "limpid%3:00:00:: 00000002 1 2",
          "turbid%5:00:00:murky:00 00000003 1 1", "unseen%5:00:00:murky:00 00000004 1 0",
          *(f"{w}%1:06:00:: 0000001{i} 1 4" for i, w in
            enumerate(("vehicle", "barge", "ferry", "canoe", "sledge", "truck"))))  # fmt: skip
    write("data.adj", "  a licence", "00000001 00 a 01 murky 0 003 ! 00000002 a 0101 "
          "& 00000003 a 0000 & 00000004 a 0000 | not clear",
          "00000002 00 a 01 limpid 0 001 ! 00000001 a 0101 | clear",
          "00000003 00 s 01 turbid(a) 0 001 & 00000001 a 0000 | like mud",
          "00000004 00 s 01 unseen 0 001 & 00000001 a 0000 | rare")  # fmt: skip
    kinds = " ".join(f"~ 0000001{i} n 0000" for i in range(1, 6))
    write("data.noun", f"00000010 06 n 01 vehicle 0 006 @ 00000099 n 0000 {kinds} | carries",
          *(f"0000001{i} 06 n 01 {w} 0 001 @ 00000010 n 0000 | one" for i, w in
            enumerate(("barge", "ferry", "canoe", "sledge", "truck"), 1)))  # fmt: skip
    lexicon.main(str(tmp_path / "dict"), str(tmp_path / "out"))
    made = {path.stem: path.read_text("utf-8") for path in (tmp_path / "out").iterdir()}
    assert made["traits"].split("|")[1:] == ["murky;turbid", "limpid\n"]
    assert made["aspects"].startswith("thing:the vehicle|") and "barge" in made["aspects"]
    assert made["topics"] == "99|vehicles|barge;ferry;canoe;sledge;truck\n"


def test_the_text_alone_does_not_decide(examples):
    """The same text is held against conditions that hold of it and conditions that do not."""
    labels = defaultdict(set)
    for split in SPLITS:
        for seed in range(2):
            for e in condition_examples(split, random.Random(seed)):
                labels[e.query].add(e.label)
        both = sum(len(found) == 2 for found in labels.values())
        assert both > 100


def test_no_pair_is_labelled_both_ways(examples):
    for split in SPLITS:
        labels = defaultdict(set)
        for e in examples[split]:
            labels[e.query, e.scope.text].add(e.label)
        assert [pair for pair, found in labels.items() if len(found) > 1] == []


def test_invented_words_are_no_words(examples):
    known = {word for text in training_texts() for word in plain(text).split()}
    kinds = Counter(e.label for e in examples["train"] if e.kind == "claim, invented word")
    assert min(kinds["paraphrase"], kinds["none"]) > 100
    from errata.gates.data.conditions import invented

    rng = random.Random(3)
    assert not {invented("train", rng) for _ in range(300)} & known


def test_conditions_are_read_as_they_were_written(examples):
    for e in examples["test"]:
        if e.kind.startswith("topic"):
            found = read_condition(f"the user asks about {e.scope.text}")
        else:
            found = read_condition(f"a review says that {e.scope.text}")
        assert found.text == e.scope.text
        assert found.kind == e.kind.split(",")[0]


def test_the_same_seed_draws_the_same(examples):
    assert list(condition_examples("test", random.Random(0))) == examples["test"]
    assert list(condition_examples("test", random.Random(1))) != examples["test"]
