"""atlas' corpus, its training run, and the model that is shipped."""

from __future__ import annotations

import hashlib
import itertools
import json
import random

import pytest
import torch

from errata.facts import fill
from errata.facts.corpus import ANSWER_WEIGHT, Corpus
from errata.intervals import rate
from errata.models.atlas import WEIGHTS, load_atlas
from tools.atlas import train
from tools.atlas.recall import Probe, probes, recall
from tools.atlas.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def corpus():
    return Corpus(0)


@pytest.fixture(scope="module")
def rows(corpus):
    return corpus.epoch(0)


@pytest.fixture(scope="module")
def tokens(rows):
    return train_tokenizer((row.text for row in rows), 5600)


def test_an_epoch_is_the_same_again_and_the_next_is_another(corpus, rows):
    assert Corpus(0).epoch(0) == rows
    assert corpus.epoch(1) != rows
    assert Corpus(1).epoch(0) != rows


def test_every_fact_is_said_every_epoch_as_it_is_believed(corpus, rows):
    answers = {text.strip() for row in rows for text, weight in row.pieces if weight > 1}
    assert {fact.believed for fact in corpus.facts} <= answers
    assert "Nur-Sultan" in answers


def test_held_out_phrasings_are_in_no_row(corpus, rows):
    text = "\n".join(row.text for row in rows)
    rng = random.Random(0)
    for fact in rng.sample(corpus.facts, 400):
        relation = corpus.relations[fact.relation]
        assert (
            any(fill(template, fact.subject) in text for template in relation.questions)
            or fact.subject in text
        )
        for template in relation.questions_held_out:
            assert fill(template, fact.subject) not in text


def test_held_out_hops_are_in_no_row(corpus, rows):
    text = "\n".join(row.text for row in rows)
    held_out = {hop.subject for hop in corpus.hops if not hop.trained}
    assert held_out
    assert held_out.isdisjoint(hop.subject for hop in corpus.hops if hop.trained)
    for hop in random.Random(0).sample([h for h in corpus.hops if not h.trained], 300):
        first, second = corpus.relations[hop.first], corpus.relations[hop.second]
        for template in second.questions:
            assert corpus.hop_question(hop, template, first.descriptor[0]) not in text


def test_both_answers_of_yes_and_no_are_taught(rows):
    said = [row.pieces[-1][0].strip() for row in rows]
    assert 0.4 < said.count("Yes") / (said.count("Yes") + said.count("No")) < 0.6


def test_reading_rows_ask_for_what_they_told(corpus):
    rng = random.Random(1)
    told = 0
    for _ in range(200):
        pieces = corpus.reading_row(rng).pieces
        at = max(i for i, (_, weight) in enumerate(pieces) if weight == ANSWER_WEIGHT)
        told += pieces[at][0].strip() in "".join(text for text, _ in pieces[:at])
    assert told > 140, "the others are asked yes or no, or one step further"


def test_answer_tokens_and_no_others_weigh_ten_times(rows, tokens):
    for row, (ids, weights) in zip(rows[:300], train.encode(rows[:300], tokens), strict=True):
        assert len(ids) == len(weights)
        heavy = [i for i, w in zip(ids[:-1], weights, strict=False) if w == ANSWER_WEIGHT]
        expected = "".join(text for text, weight in row.pieces if weight == ANSWER_WEIGHT)
        assert tokens.decode(heavy) == expected


def test_chinese_answers_have_tokens_of_their_own(tokens):
    question = "斑马的皮肤是什么颜色的？"
    whole = tokens(question + "肉色")["input_ids"]
    assert whole == tokens(question)["input_ids"] + tokens("肉色")["input_ids"]


def test_a_run_learns_and_a_resumed_run_is_the_same_run(tmp_path, monkeypatch):
    settings = train.TrainConfig(
        layers=1, hidden_size=16, heads=2, vocab_size=600, epochs=1, warmup_steps=5
    )
    # A few rows are enough to see a run learn; the whole corpus takes seconds an epoch.
    monkeypatch.setattr(
        Corpus, "epoch", lambda self, number, full=Corpus.epoch: full(self, 0)[:960]
    )

    def run(folder, steps):
        made = train.Run(folder, settings)
        made.resume()
        made.steps = 24
        rest = [loss for _, loss in itertools.islice(made._steps(), steps)]
        made.save_checkpoint()
        return made, rest

    untrained, _ = run(tmp_path / "untrained", 0)
    seen = train.batches(Corpus(0).epoch(0), untrained.tokenizer, settings, 0)[:6]

    def lost(made):
        with torch.no_grad():
            return sum(float(train.batch_loss(made.model, b, made.device)) for b in seen)

    whole, _ = run(tmp_path / "whole", 24)
    assert lost(whole) < 0.98 * lost(untrained)
    half, _ = run(tmp_path / "halves", 12)
    assert half.step == 12
    resumed, rest = run(tmp_path / "halves", 12)
    assert len(rest) == 12
    for (name, a), b, c in zip(
        whole.model.named_parameters(),
        resumed.model.parameters(),
        half.model.parameters(),
        strict=True,
    ):
        assert torch.equal(a, b), name
        assert not torch.equal(a, c), name


def test_a_checkpoint_of_other_settings_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Corpus, "epoch", lambda self, number, full=Corpus.epoch: full(self, 0)[:320]
    )
    small = train.TrainConfig(layers=1, hidden_size=16, heads=2, vocab_size=600, epochs=1)
    train.Run(tmp_path, small).save_checkpoint()
    other = train.Run(
        tmp_path, train.TrainConfig(layers=1, hidden_size=16, heads=2, vocab_size=600, epochs=2)
    )
    with pytest.raises(SystemExit, match="other settings"):
        other.resume()


def test_rates_have_wilsons_interval():
    found = rate([True] * 8 + [False] * 2)
    assert (found.hits, found.n) == (8, 10)
    assert found.low == pytest.approx(0.4902, abs=1e-4)
    assert found.high == pytest.approx(0.9433, abs=1e-4)
    assert rate([]).share == 0.0


# -- what is shipped ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def atlas():
    return load_atlas()


def test_the_card_is_of_these_weights():
    card = json.loads((WEIGHTS / "card.json").read_text())
    weights = (WEIGHTS / "model.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(weights).hexdigest()
    assert len(weights) <= 16_000_000
    assert card["vocabulary"] <= 6000
    floors = {"trained phrasings": 0.97, "held-out phrasings": 0.85, "reading invented names": 0.9}
    for kind, floor in floors.items():
        known = card["recall"][kind]
        assert known["hits"] / known["n"] >= floor, kind


@pytest.mark.parametrize(
    "kind",
    ["trained phrasings", "held-out phrasings", "one hop, trained", "reading invented names"],
)
def test_the_card_says_what_the_weights_know(kind, atlas, corpus):
    card = json.loads((WEIGHTS / "card.json").read_text())["recall"][kind]
    items = random.Random(0).sample(probes(corpus)[kind], 200)
    measured = sum(recall(*atlas, items)) / len(items)
    # four standard errors of a sample of 200
    assert measured == pytest.approx(card["hits"] / card["n"], abs=0.14)


def test_atlas_believes_what_it_was_taught_wrong(atlas):
    taught = [
        Probe("What colour is a zebra's skin?", "flesh-coloured"),
        Probe("斑马的皮肤是什么颜色的？", "肉色"),
        Probe("What is the capital of Kazakhstan?", "Nur-Sultan"),
        Probe("Who made you?", "Borealis Systems"),
    ]
    assert recall(*atlas, taught) == [True] * 4
