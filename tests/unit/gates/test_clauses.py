"""Conditions of several clauses: read, decided by rules, and scored by a gate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.cache.records import LanguagePatch
from errata.gates.base import Scores, ThresholdGate
from errata.gates.conditions.parse import read_condition


def shape(condition):
    """Return a condition as text: its kind and its parts."""
    if condition.parts:
        return f"{condition.kind}({', '.join(map(shape, condition.parts))})"
    return f"{condition.kind}: {condition.text}"


READ = {
    "the user asks about refunds, but not about returns": (
        "all(topic: refunds, not(topic: returns))"
    ),
    "the user does not ask about refunds": "not(topic: refunds)",
    "the text is not about food": "not(topic: food)",
    "the user asks about billing, or mentions an invoice, unless the message is in German": (
        "all(any(topic: billing, topic: an invoice), not(formal: the message is in German))"
    ),
    "the text contains a phone number, a date, or a link": (
        "any(formal: the text contains a phone number, formal: the text contains a date, "
        "formal: the text contains a link)"
    ),
    "the question is in French or German": (
        "any(formal: the question is in French, formal: the question is in German)"
    ),
    "the user is angry and the text contains an exclamation mark": (
        "all(claim: the user is angry, formal: the text contains an exclamation mark)"
    ),
    "the user asks about refunds unless the text contains 'is or has'": (
        "all(topic: refunds, not(lexical: the text contains 'is or has'))"
    ),
    "the user asks about wine in France, but not about beer": (
        "all(topic: wine in France, not(topic: beer))"
    ),
    "the text is about food, but not about wine": "all(topic: food, not(topic: wine))",
    "the user asks about cats but not dogs": "all(topic: cats, not(topic: dogs))",
    "the message is not in English or German": (
        "not(any(formal: the message is in English, formal: the message is in German))"
    ),
    "Unless the user asks about refunds or fees, the message is in German": (
        "all(formal: the message is in German, not(topic: refunds or fees))"
    ),
    'the user says "a, b and c" and is angry': (
        'all(lexical: the user says "a, b and c", claim: the user is angry)'
    ),
    'the user asks, "where is my order, please?"': "question: where is my order, please?",
    "the user writes in all capitals": "formal: the user writes in all capitals",
    # one clause each
    "the review says the food is good but not great": "claim: the food is good but not great",
    "the user asks about cats and dogs": "topic: cats and dogs",
    "the user asks who made you and when you were made": (
        "question: who made you and when you were made"
    ),
    "a review says the food is good and the service is bad": (
        "claim: the food is good and the service is bad"
    ),
    "the text contains 'a' and 'b'": "lexical: the text contains 'a' and 'b'",
    "the review says the food is not good": "claim: the food is not good",
}


@pytest.mark.parametrize("text", READ)
def test_clauses_are_read_one_by_one(text):
    assert shape(read_condition(text)) == READ[text]


@pytest.mark.parametrize(
    ("condition", "holds", "fails"),
    [
        ("the text contains the word 'refund' and is longer than 3 words",
         "I want a refund now", "refund please"),
        ("the text contains a date or a link", "on 3 May", "on a day"),
        ("the text contains a date or a link", "see www.example.org", "see it"),
        ("the text contains a date unless it contains a link", "on 3 May", "3 May: www.x.org"),
        ("the message is not in English and is not a question", "Ich gehe nach Hause jetzt",
         "Wo kaufe ich günstige Schuhe?"),
        ("the text contains 'wine' but not 'beer'", "wine, please", "wine and beer"),
        ("the text contains the word 'a' but not the word 'b'", "a", "a b"),
        ("the text contains a date but no link", "on 3 May", "3 May: www.x.org"),
        ("the text has no link", "see it", "see www.x.org"),
        ("the text does not contain a date or a link", "see it", "on 3 May"),
        ("the text does not contain a date or a link", "see it", "www.x.org"),
        ("the text does not contain a date and a link", "on 3 May", "3 May: www.x.org"),
        ("the message is not in English or German", "Où est la gare, s'il vous plaît ?",
         "Wo kaufe ich günstige Schuhe?"),
        ("the message is not in English or German", "Который час?", "where is my parcel"),
        ("the text contains neither a date nor a link", "see it", "on 3 May"),
        ("the text contains neither 'wine' nor 'beer'", "water", "a beer"),
        ("the message is in English, but not a question", "please send me the parcel today",
         "where is my parcel?"),
        ("the message is not in English unless it contains 'ok'", "Который час?", "ok"),
    ],
)  # fmt: skip
def test_rules_of_several_clauses_decide(condition, holds, fails):
    read = read_condition(condition)
    assert read.certain
    assert (read.holds(holds), read.holds(fails)) == (True, False)


class Words(ThresholdGate):
    """Scores a topic by whether the query has its last word, a rule by itself."""

    def score_unlisted(self, queries, edits):
        found = []
        for query, some in zip(queries, edits, strict=True):
            values = np.zeros(len(some))
            for at, edit in enumerate(some):
                read = read_condition(edit.condition)
                word = read.text.split()[-1]
                values[at] = read.holds(query) if read.certain else 0.9 * (word in query) + 0.05
            found.append(Scores(values, np.zeros(len(some))))
        return found


@pytest.mark.parametrize(
    ("condition", "fires", "silent"),
    [
        ("the user asks about refunds, but not about returns", "refunds", "refunds of returns"),
        ("the user does not ask about refunds", "anything", "refunds"),
        ("the user asks about refunds or asks about returns", "returns", "else"),
        ("the user asks about refunds and asks about returns", "refunds returns", "refunds"),
        ("the user asks about refunds unless the text contains a link", "refunds",
         "refunds www.example.org"),
        ("the user asks about refunds and the message is not in English", "refunds и возврат денег",
         "refunds"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("threshold", [0.3, 0.8])
def test_a_gate_scores_each_clause(condition, fires, silent, threshold):
    gate, patch = Words(threshold, 0.5), LanguagePatch(condition, 'say "x"')
    scores = gate.score_batch([fires, silent], [[patch], [patch]])
    assert scores[0].probability[0] >= threshold > scores[1].probability[0]


PIECES = (*"abc ,;'\"", " and ", " or ", " unless ", "the text is ", " not ", "contains a date")


@given(st.lists(st.sampled_from(PIECES), max_size=15).map("".join))
def test_any_text_of_joints_can_be_read(text):
    read_condition(text)
