"""Labelled pairs out of requests with intents and open questions with answers."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from errata.cache.errors import ModelError
from errata.gates.data.mined_pairs import MinedPairsConfig, mined_pairs
from errata.gates.data.outside import held_out
from errata.gates.data.pairs import open_split
from tests.fakes import StubEncoder

CONFIG = MinedPairsConfig(texts=(200, 60), near=2)
QUESTIONS = {
    "what languages do they speak in zembla": ["zemblan"],
    "which languages do they speak in zembla": ["zemblan"],
    "what are the religions in zembla": ["sun worship"],
    "who is the king of zembla": ["charles xavier"],
    "how tall is the eiffel tower": ["330 m"],
}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def intents(tmp_path):
    rows = [
        {"source": source, "intent": f"intent {i}", "text": f"{source} text {n} about thing {i}"}
        for source in ("clinc150", "other")
        for i in range(100)
        for n in range(4)
    ]
    rows += [{"source": "clinc150", "intent": "oos", "text": f"what is {n}"} for n in range(9)]
    return write(tmp_path / "intents.jsonl", rows)


@pytest.fixture
def questions(tmp_path):
    rows = [
        {"question": f"{text} {n}?", "answers": answers}
        for n in range(30)
        for text, answers in QUESTIONS.items()
    ]
    return write(tmp_path / "open.jsonl", [*rows, {"question": "who knows?"}])


def intent_of(text):
    return text.rpartition("about thing ")[2]


def test_pairs_of_intents_are_labelled_by_intent_and_keep_to_their_split(intents):
    encoder = StubEncoder()
    found = mined_pairs(intents, None, encoder, random.Random(0), CONFIG)
    seen = {}
    for split, pairs in found.items():
        assert {pair.same for pair in pairs} == {True, False}
        for pair in pairs:
            assert pair.a != pair.b
            assert pair.same == (intent_of(pair.a) == intent_of(pair.b))
            for text in (pair.a, pair.b):
                assert text.startswith("clinc150"), "other sources stay free to measure on"
                assert not held_out(f"intent {intent_of(text)}")
                assert seen.setdefault(intent_of(text), split) == split
    assert set(seen.values()) == {"train", "tune"}


def test_a_text_of_another_intent_is_one_of_the_nearest(intents):
    encoder = StubEncoder()
    pairs = mined_pairs(intents, None, encoder, random.Random(0), CONFIG)["train"]
    texts = sorted({text for pair in pairs for text in (pair.a, pair.b)})
    rows = dict(zip(texts, encoder.encode(texts), strict=True))
    for pair in [pair for pair in pairs if not pair.same][:50]:
        others = [t for t in texts if intent_of(t) != intent_of(pair.a)]
        cosines = np.array([rows[pair.a] @ rows[t] for t in others])
        assert (cosines > rows[pair.a] @ rows[pair.b] + 1e-6).sum() < CONFIG.near


def test_open_questions_about_one_thing_are_the_same_where_their_answer_is(questions):
    config = MinedPairsConfig(neighbours=150, rare=200, same_cosine=-1.0, copy_cosine=2.0)
    found = mined_pairs(None, questions, StubEncoder(), random.Random(0), config)
    answers = {key: frozenset(value) for key, value in QUESTIONS.items()}
    for split, pairs in found.items():
        for pair in pairs:
            one, other = (text.rpartition(" ")[0] for text in (pair.a, pair.b))
            assert pair.same == bool(answers[one] & answers[other])
            assert open_split(pair.a) == open_split(pair.b) == split
    assert {pair.same for pair in found["train"]} == {True, False}
    keys = [frozenset((pair.a, pair.b)) for pair in found["train"]]
    assert len(set(keys)) == len(keys)


def test_questions_without_a_rare_word_in_common_are_no_pair(questions):
    config = MinedPairsConfig(rare=1, same_cosine=-1.0, copy_cosine=2.0)
    assert mined_pairs(None, questions, StubEncoder(), random.Random(0), config)["train"] == []


def test_a_line_that_cannot_be_read_is_named(tmp_path):
    path = write(tmp_path / "intents.jsonl", [{"source": "clinc150", "text": "hello"}])
    with pytest.raises(ModelError, match=r"intents\.jsonl:1"):
        mined_pairs(path, None, StubEncoder(), random.Random(0))
