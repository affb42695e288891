"""Two spellings of one text, and two texts that differ in what means something."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.cache.text.normalize import compare, rough_key

SAME = [
    ("What is X?", "what is x"),
    ("what is the capital of france?", "What is the capital of France"),
    ("What is the BIC?", "WHAT IS THE BIC"),
    ("How do I reset it?", "how do i reset it"),
    ("What's my PIN?", "What’s my  pin ?"),
    ("Is it an e-mail?", "Is it an e mail"),
    ("Hello, what is X?", "hello what is x"),
    ("斑马的皮肤是什么颜色的？", "斑马的皮肤是什么颜色的"),
    ("Ｃａｆé noir", "cafe\u0301 noir"),
    ("Who won the 2018 FIFA cup?", "who won the 2018 fifa cup"),
    ("5 mW", "5 mw"),
]
OTHER = [
    ("What is C?", "What is C#?"),
    ("What is C?", "What is C++?"),
    ("What is 5 mW in volts?", "What is 5 MW in volts?"),
    ("Is 100 Mb much?", "Is 100 MB much?"),
    ("Is it 100 pure?", "Is it 100% pure?"),
    ("What does ls -a do?", "What does ls -A do?"),
    ("What is 3²?", "What is 32?"),
    ("What is 5!?", "What is 5?"),
    ("Is it -5 degrees?", "Is it 5 degrees?"),
    ("What is .NET?", "What is NET?"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_text_in_two_spellings(one: str, other: str) -> None:
    assert compare(one, other) == compare(other, one) == "same"


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_what_means_something_keeps_texts_apart(one: str, other: str) -> None:
    assert compare(one, other) == compare(other, one) == "other"


@settings(deadline=None)
@given(st.text(max_size=30))
def test_a_text_is_a_spelling_of_itself(text: str) -> None:
    assert compare(text, text) == "same"
    assert compare(text, f"  {unicodedata.normalize('NFD', text)}\n") == "same"


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_it_is_symmetric_and_related_texts_share_a_key(one: str, other: str) -> None:
    found = compare(one, other)
    assert found == compare(other, one)
    assert (found == "unrelated") == (rough_key(one) != rough_key(other))


WORDS = st.lists(st.sampled_from("what is the Capital of France then".split()), min_size=2)


@settings(deadline=None)
@given(
    WORDS, st.sampled_from([str.lower, str.upper, str.title]), st.sampled_from(["", "?", " .", "!"])
)
def test_a_careless_typist_is_understood(words: list[str], case, mark: str) -> None:  # type: ignore[no-untyped-def]
    text = " ".join(words)
    assert compare(text + "?", case(text) + mark) == "same"


@settings(deadline=None)
@given(WORDS, st.sampled_from("#%+²°$€&@"))
def test_a_symbol_never_folds(words: list[str], mark: str) -> None:
    text = " ".join(words)
    assert compare(text, f"{text} 5{mark}") == "unrelated"
    assert compare(f"{text} 5", f"{text} 5{mark}") in ("other", "unrelated")
