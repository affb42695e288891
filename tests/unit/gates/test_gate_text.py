"""Words, pair features and conditions: what the gate can tell without any training."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.gates.conditions.parse import read_condition
from errata.gates.data.augment import at_another_time, careless, in_message, mistyped, negation
from errata.gates.features import NAMES, FeatureMaker, Scope, subject_words
from errata.gates.text import (
    likeness,
    name_like,
    negated,
    plain,
    question_kind,
    same_word,
    without,
    words,
)
from tests.fakes import StubEncoder

COMMON = frozenset({"capital", "city", "colour", "skin", "ceo", "currency"})
MAKER = FeatureMaker(StubEncoder().encode, COMMON)


def features(query, scope):
    scope = scope if isinstance(scope, Scope) else Scope(scope)
    row = MAKER.make([(query, scope)]).named[0]
    return dict(zip(NAMES, row.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Kazakhstan's capital?", ["Kazakhstan", "capital"]),
        ("Jean-Paul's 2nd .uk", ["Jean-Paul", "2nd", ".uk"]),
        ("", []),
        ("?!", []),
    ],
)
def test_words(text, expected):
    assert [word.text for word in words(text)] == expected


@given(st.text(max_size=60))
@settings(deadline=None)
def test_words_lie_where_they_say(text):
    for word in words(text):
        assert text[word.start : word.end].startswith(word.text)
        assert 0 <= likeness(word.plain, text) <= 1


def test_plain_folds_case_and_accents():
    assert plain("Brasília’s") == plain("BRASILIA's")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("kazakstan", "kazakhstan", 0.9),
        ("kazkahstan", "kazakhstan", 0.9),
        ("paris", "paris", 1.0),
        ("paris", "", 0.0),
        ("france", "uzbekistan", 0.0),
    ],
)
def test_likeness(one, other, expected):
    assert likeness(one, other) == likeness(other, one) == pytest.approx(expected)


def test_inflections_are_one_word():
    assert same_word("cities", "city") and same_word("painted", "paint")
    assert not same_word("iran", "iraq")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Could you tell me who leads Peru?", "who"),
        ("Do you call a young horse a foal?", "yesno"),
        ("Can I see Death Valley in Kenya?", "yesno"),
        ("Do I have to go to Oslo to see it?", "yesno"),
        ("Do you know the capital of Peru?", "none"),
        ("May I ask for the capital of Peru?", "none"),
        ("Could you name the capital of Peru?", "none"),
        ("Do you know", "none"),
        ("Do you by any chance know the capital of Peru?", "none"),
        ("Could I get the capital of Peru?", "none"),
        ("Is Lima the capital of Peru?", "yesno"),
        ("Tell me the capital of Peru.", "none"),
        ("In which city …", "which"),
        ("What's up", "what"),
    ],
)
def test_question_kind(text, kind):
    assert question_kind(text) == kind


def test_negation_is_seen():
    assert negated("Which city isn't the capital?") and negated("never")
    assert not negated("Which city is the capital?")


def test_names():
    first, *rest = words("Zebras bite the CEO of Apple in 1999 in the city of light")
    named = [word.text for word in (first, *rest) if name_like(word, COMMON)]
    assert named == ["Zebras", "bite", "Apple", "1999", "light"]


def test_a_subject_is_given_or_guessed():
    text = "What is the capital of the Republic of Kazakhstan?"
    found = subject_words(Scope(text, "Kazakhstan"), COMMON)
    assert [word.text for word in found] == ["Kazakhstan"]
    guessed = subject_words(Scope(text), COMMON)
    assert [word.text for word in guessed] == ["Republic", "Kazakhstan"]
    # a subject that does not stand in the question is no help, so it is guessed
    assert subject_words(Scope(text, "Peru"), COMMON) == guessed


def test_without_leaves_the_relation():
    for text, name in (
        ("What is the capital of the United Kingdom?", "United Kingdom"),
        ("What is the capital of Peru?", "Peru"),
        ("What is the capital of the Isle of Man?", "Isle Man"),
    ):
        gone = [word for word in words(text) if word.text in name.split()]
        assert without(text, gone, "something") == "What is the capital of something?"
    text = "A zebra's skin"
    assert without(text, words(text)[1:2], "something") == "Something's skin"


def test_features_tell_another_subject():
    own = features("Which city is Kazakhstan's capital?", "What is the capital of Kazakhstan?")
    other = features("Which city is Uzbekistan's capital?", "What is the capital of Kazakhstan?")
    assert own["subject_whole"] == 1.0 and own["names_extra"] == 0.0
    assert other["subject_whole"] == 0.0 and other["names_extra"] == 1.0
    assert other["names_cosine"] != 0.0


def test_features_tell_another_relation():
    own = features("Kazakhstan's capital city", "What is the capital of Kazakhstan?")
    other = features("Kazakhstan's currency", "What is the capital of Kazakhstan?")
    assert own["scope_extra"] == 0.0 and other["scope_extra"] == 1.0
    assert own["rest_cosine"] > other["rest_cosine"]


def test_features_see_typing_errors():
    typed = features("the capital of Kazahkstan", "What is the capital of Kazakhstan?")
    assert typed["subject_exact"] == 0.0 and typed["subject_typos"] == 1.0
    assert typed["subject_typed"] == pytest.approx(0.9)
    assert typed["names_extra"] == 0.0  # the mistyped name is no other name


def test_features_see_numbers_negation_answers_and_order():
    apollo = features("When did Apollo 13 start?", "When did Apollo 11 start?")
    assert apollo["digits_query_only"] == apollo["digits_scope_only"] == 1.0
    city = Scope("What is the capital of Peru?", "Peru", "Lima")
    assert features("Which city is not the capital of Peru?", city)["negation_differs"] == 1.0
    told = features("Is Lima the capital of Peru?", city)
    assert told["answer_there"] == 1.0 and told["opens_yes_no"] == 1.0
    turned = features("Which country has Lima as its capital?", city)
    assert turned["answer_alone"] == 1.0
    way = "How do I get from Lima to Cusco?"
    assert features("How do I get from Cusco to Lima?", way)["inverted"] == 1.0
    assert features(way, way)["inverted"] == 0.0


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=10))
@settings(deadline=None, max_examples=60)
def test_features_are_finite_whatever_is_typed(query, text, subject):
    found = MAKER.make([(query, Scope(text, subject, subject))])
    assert found.named.shape == (1, len(NAMES))
    assert np.isfinite(found.named).all()


def test_features_of_no_pairs():
    assert MAKER.make([]).named.shape == (0, len(NAMES))


@pytest.mark.parametrize(
    ("text", "kind", "plain_text"),
    [
        ("the user asks who made you", "question", "who made you"),
        ("the user wants to know whether you are human", "question", "you are human"),
        ("the user asks about refunds", "topic", "refunds"),
        ("the user asks for medical advice", "topic", "medical advice"),
        ("the text mentions a date", "formal", "the text mentions a date"),
        ("the text mentions a birthday", "topic", "a birthday"),
        ("a review says the food is bomb", "claim", "the food is bomb"),
        ("the food is bomb.", "claim", "the food is bomb"),
    ],
)
def test_conditions_become_plain_text(text, kind, plain_text):
    found = read_condition(text)
    assert (found.kind, found.text) == (kind, plain_text)


@pytest.mark.parametrize(
    ("condition", "holds", "fails"),
    [
        ('the text contains the word "refund"', "A REFUND, please", "refunding is fun"),
        ("the user mentions 'a b' or \"c\"", "abc c", "ab"),
        ("the message contains \"x\" and 'y'", "y, then x", "only x"),
        ('the text does not contain the word "cat"', "a dog", "a cat"),
        ("the text contains the word “退款”", "我要退款。", "你好"),
        ('the user types the word "refund"', "a refund", "the word"),
        ("the text contains the word refund", "A REFUND, please", "the words I want"),
        ("the user mentions the exact word refund.", "a refund", "my money back"),
        ("the text does not contain the word refund", "a dog", "a refund"),
        ("the user never says the word please", "a dog", "please"),
        ("the user writes the word refund or return", "return it", "refunding"),
        ("it has either the term refund or the term return", "return it", "the term"),
        ("the user uses the words cancel, order, and now", "now cancel my order", "cancel now"),
        ("the message includes the phrase trick or treat", "Trick or treat!", "a trick"),
    ],
)
def test_lexical_conditions(condition, holds, fails):
    found = read_condition(condition)
    assert found.kind == "lexical"
    assert found.holds(holds) and not found.holds(fails)


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("the user mentions the term of the contract", "topic"),
        ("the text contains the word for a dog", "claim"),
        ("the user uses words in German", "claim"),
        ("the user mentions the word refund and is angry", "all"),
        ("the user says that the word refund is missing", "claim"),
    ],
)
def test_a_word_that_is_not_named_is_no_lexical_condition(condition, kind):
    assert read_condition(condition).kind == kind


def test_noise_changes_what_it_says():
    rng = random.Random(0)
    text = "What is the capital of Kazakhstan?"
    assert careless(text) == "what is the capital of kazakhstan"
    assert negation(text) == "What is not the capital of Kazakhstan?"
    assert negation("Capital of Peru") is None
    assert "was the capital" in str(at_another_time(text, rng))
    for _ in range(20):
        typed = mistyped(text, rng)
        assert math.isclose(len(typed), len(text), abs_tol=1)
        assert "kazakhstan" in in_message(text, rng).lower()
    assert mistyped("a b", rng) == "a b"
