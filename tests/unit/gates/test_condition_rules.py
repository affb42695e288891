"""Formal conditions: what a text is made of, decided by rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.gates.conditions.language import LANGUAGES, language_of
from errata.gates.conditions.parse import read_condition
from errata.gates.conditions.rules import read_rule
from errata.gates.data.rule_conditions import certain_examples


@pytest.mark.parametrize(
    "example", list(certain_examples()), ids=lambda e: f"{e.scope.text}: {e.query}"
)
def test_each_condition_holds_where_it_should(example):
    found = read_condition(example.scope.text)
    assert found.kind == example.kind
    assert found.holds(example.query) == (example.label == "paraphrase")


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("the user asks about dates", "topic"),
        ("the user asks about Chinese food", "topic"),
        ("the text mentions a birthday", "topic"),
        ("a review says the food is bomb", "claim"),
        ("the user is angry", "claim"),
        ("the food is cold", "claim"),
        ("the user asks who made you", "question"),
        ("the user has children", "claim"),
        ("the text is an apology", "claim"),
    ],
)
def test_what_is_no_matter_of_form_stays_with_meaning(condition, kind):
    assert read_condition(condition).kind == kind


@pytest.mark.parametrize("language", sorted(LANGUAGES - {"english"}))
def test_every_language_can_be_named_and_is_not_english(language):
    rule = read_rule(f"is in {language.capitalize()}")
    assert rule is not None and rule.name == language
    assert not rule.holds("What is the capital of Kazakhstan?")


def test_a_language_that_cannot_be_told_is_none():
    assert language_of("12 + 7 = ?") == language_of("") == language_of("Xyzzy plugh") == ""


@given(st.text(max_size=60))
def test_a_condition_and_its_negation_never_agree(text):
    for predicate in ("contains a date", "is longer than 4 words", "is in Chinese"):
        verb, _, rest = predicate.partition(" ")
        denied = {"contains": "does not contain", "is": "is not"}[verb]
        one, other = read_rule(predicate), read_rule(f"{denied} {rest}")
        assert one is not None and other is not None
        assert one.holds(text) != other.holds(text)


@given(st.text(max_size=60))
def test_any_text_can_be_read_as_a_condition(text):
    read_condition(text)
