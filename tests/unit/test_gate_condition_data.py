"""Pairs of texts and conditions: many, split by their words, not told by the text."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from errata.gates.condition_data import condition_examples, training_texts
from errata.gates.conditions import read_condition
from errata.gates.opinions import aspect_groups, trait_groups
from errata.gates.words import plain

SPLITS = ("train", "tune", "test")


@pytest.fixture(scope="module")
def examples():
    return {split: list(condition_examples(split, random.Random(0))) for split in SPLITS}


def test_there_are_hundreds_of_conditions_of_each_kind(examples):
    for kind in ("topic", "claim"):
        train = {e.scope.text for e in examples["train"] if e.kind.startswith(kind)}
        test = {e.scope.text for e in examples["test"] if e.kind.startswith(kind)}
        assert len(train) > 300 and len(test) > 60
    assert {e.label for e in examples["train"]} == {"same", "none"}


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
    assert min(kinds["same"], kinds["none"]) > 100
    from errata.gates.condition_data import invented

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
