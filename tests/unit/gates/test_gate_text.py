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
from errata.gates.features import NAMES, FeatureConfig, Pair, Scope, pair_features
from errata.gates.text import asks_yes_no, likeness, negated, plain, same_word, starts_yes_no, words


def features(query, scope, config=None):
    scope = scope if isinstance(scope, Scope) else Scope(scope)
    (row,) = pair_features([Pair(query, scope, 0.5)], config).tolist()
    return dict(zip(NAMES, row, strict=True))


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
    ("text", "asks"),
    [
        ("Could you tell me who leads Peru?", False),
        ("Do you call a young horse a foal?", True),
        ("Can I see Death Valley in Kenya?", True),
        ("Do I have to go to Oslo to see it?", True),
        ("Do you know the capital of Peru?", False),
        ("May I ask for the capital of Peru?", False),
        ("Could you name the capital of Peru?", False),
        ("Do you know", False),
        ("Do you by any chance know the capital of Peru?", False),
        ("Could I get the capital of Peru?", False),
        ("Is Lima the capital of Peru?", True),
        ("Tell me the capital of Peru.", False),
        ("", False),
    ],
)
def test_what_asks_yes_or_no(text, asks):
    assert starts_yes_no(text) == asks_yes_no(text) == asks
    assert asks_yes_no(f"Hello there. {text}") == asks and not starts_yes_no(f"Hello. {text}")


def test_negation_is_seen():
    assert negated("Which city isn't the capital?") and negated("never")
    assert not negated("Which city is the capital?")


CAPITAL = "What is the capital of Kazakhstan?"


def test_features_tell_another_subject_and_another_relation():
    own = features("Which city is Kazakhstan's capital?", CAPITAL)
    assert (own["scope_found"], own["scope_lacking"], own["query_extra"]) == (1.0, 0.0, 1.0)
    assert own["query_found"] == pytest.approx(2 / 3) and own["overlap"] == pytest.approx(4 / 5)
    assert (own["named"], own["name_worst"], own["names_extra"]) == (1.0, 1.0, 0.0)
    subject = features("Which city is Uzbekistan's capital?", CAPITAL)
    assert (subject["name_worst"], subject["worst"], subject["names_extra"]) == (0.0, 0.0, 1.0)
    assert (subject["scope_found"], subject["query_extra"]) == (0.5, 2.0)
    relation = features("Kazakhstan's currency", CAPITAL)
    assert (relation["name_worst"], relation["worst"], relation["names_extra"]) == (1.0, 0.0, 0.0)
    assert relation["scope_lacking"] == relation["query_extra"] == 1.0


def test_a_typing_error_is_found_and_counted():
    typed = features("the capital of Kazahkstan", CAPITAL)
    assert typed["mistyped"] == 1.0 and typed["worst"] == pytest.approx(0.9)
    assert typed["scope_found"] == typed["query_found"] == pytest.approx(0.95)
    assert typed["name_worst"] == pytest.approx(0.9)  # the mistyped name is no other name
    assert typed["scope_lacking"] == typed["query_extra"] == typed["names_extra"] == 0.0
    exact = features("the capital of Kazakhstan", CAPITAL)
    assert (exact["mistyped"], exact["worst"], exact["name_worst"]) == (0.0, 1.0, 1.0)
    strict = features("the capital of Kazahkstan", CAPITAL, FeatureConfig(typed_alike=0.95))
    assert strict["mistyped"] == 0.0
    assert strict["scope_lacking"] == strict["query_extra"] == strict["names_extra"] == 1.0


@pytest.mark.parametrize(
    ("query", "scope"),
    [
        ("Who leads MI6?", "Who leads MI5?"),
        ("When did Apollo 13 start?", "When did Apollo 11 start?"),
        ("is route 1234567 open", "is route 1234568 open"),
    ],
)
def test_a_word_with_a_digit_is_the_same_or_another(query, scope):
    other, same = features(query, scope), features(query, query.upper())
    assert other["mistyped"] == other["worst"] == other["name_worst"] == 0.0
    assert other["digits_lacking"] == other["digits_extra"] == other["names_extra"] == 1.0
    assert same["worst"] == same["name_worst"] == same["named"] == 1.0
    assert same["digits_lacking"] == same["digits_extra"] == same["names_extra"] == 0.0


def test_a_number_and_its_unit_are_words_of_their_own():
    found = features("What is 6 mW?", "What is 5 mW?")
    assert (found["scope_found"], found["mistyped"]) == (0.5, 0.0)
    assert found["digits_lacking"] == found["digits_extra"] == 1.0
    # case is folded, which only characters tell (errata.cache.text.normalize.compare)
    assert features("What is 5 MW?", "What is 5 mW?")["scope_found"] == 1.0


def test_names_are_written_with_a_capital_within_a_sentence_or_with_digits():
    for text, named in (("Zebras bite", 0.0), ("Who bit Zebras?", 1.0), ("who bit zebras", 0.0),
                        ("Hi. Zebras bite", 0.0), ("bus no. 12", 1.0)):  # fmt: skip
        assert features("", text)["named"] == named
        assert features(text, "")["names_extra"] == named


def test_negation_counts_where_one_side_has_it():
    said, denied = "Which city is the capital of Peru?", "Which city isn't the capital of Peru?"
    assert features(denied, said)["negation"] == features(said, denied)["negation"] == 1.0
    assert features(said, said)["negation"] == features(denied, denied)["negation"] == 0.0


def test_an_answer_that_is_named_is_no_addition():
    city = Scope("What is the capital of Peru?", "Peru", "Lima")
    asked = "Is Lima the capital of Peru?"
    told, untold = features(asked, city), features(asked, city.text)
    assert (told["answer_named"], told["answer_known"]) == (1.0, 1.0)
    assert (untold["answer_named"], untold["answer_known"]) == (0.0, 0.0)
    assert told["query_extra"] == told["names_extra"] == 0.0 and told["query_found"] == 1.0
    assert untold["query_extra"] == untold["names_extra"] == 1.0
    other = features("Is Oslo the capital of Peru?", city)
    assert (other["answer_named"], other["names_extra"]) == (0.0, 1.0)
    year = Scope("When was the battle?", "", "1066")
    assert features("Was the battle in 1066?", year)["digits_extra"] == 0.0
    assert features("Was the battle in 1067?", year)["digits_extra"] == 1.0
    half = features("Is it Ann?", Scope("Who leads it?", "", "Ann Lee"))
    assert half["answer_named"] == 0.5
    # a word of the question is found there, and tells nothing of the answer
    assert features(city.text, Scope(city.text, "", "Peru"))["answer_named"] == 0.0


SAME = {
    "cosine": 0.5, "overlap": 1.0, "scope_found": 1.0, "query_found": 1.0, "worst": 1.0,
    "name_worst": 1.0,
}  # fmt: skip
TEXT = st.text(max_size=40) | st.lists(
    st.sampled_from("Kazakhstan Kazahkstan capital Peru isn't 5 mW MI5 MI6 Who the . ?".split()),
    max_size=9,
).map(" ".join)


@given(TEXT, TEXT, TEXT, st.floats(-1, 1))
@settings(deadline=None)
def test_features_are_bounded_whatever_is_typed(query, text, answer, cosine):
    found = pair_features([Pair(query, Scope(text, "", answer), cosine)])
    assert found.shape == (1, len(NAMES)) and np.isfinite(found).all()
    values = dict(zip(NAMES, found[0].tolist(), strict=True))
    assert values.pop("cosine") == cosine
    counts = {"scope_lacking", "query_extra", "mistyped", "names_extra", "digits_lacking",
              "digits_extra"}  # fmt: skip
    assert all(0 <= one <= (6 if name in counts else 1) for name, one in values.items())
    # a text and itself: nothing lacks, nothing is added, whatever the answer
    own = features(text, Scope(text, "", answer))
    told = {name: own.pop(name) for name in ("named", "answer_known", "overlap")}
    assert own == {name: SAME.get(name, 0.0) for name in own}
    assert told["overlap"] == float(any(word.content for word in words(text)))


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5), st.randoms())
@settings(deadline=None, max_examples=40)
def test_features_of_a_pair_are_the_same_in_any_batch(texts, rng):
    pairs = [Pair(query, Scope(text, "", answer), 0.1) for query, text, answer in texts]
    order = list(range(len(pairs)))
    rng.shuffle(order)
    together = pair_features(pairs)
    np.testing.assert_array_equal(pair_features([pairs[at] for at in order]), together[order])
    np.testing.assert_array_equal(np.concatenate([pair_features([one]) for one in pairs]), together)


def test_counts_have_a_limit_and_no_pairs_no_rows():
    many = " ".join(f"zebra{number}" for number in range(20))
    assert features(many, "")["query_extra"] == features("", many)["scope_lacking"] == 6.0
    assert features(many, "", FeatureConfig(most=2))["digits_extra"] == 2.0
    assert pair_features([]).shape == (0, len(NAMES))


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
