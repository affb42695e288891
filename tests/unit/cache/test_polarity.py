"""What an answer affirms, denies and states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.cache.text.polarity import is_negated, polarity_words, verdict, yes_or_no
from errata.cache.text.stated import mentions, names_and_numbers, stated_share, states


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("Yes, it is.", True), ("No.", False), ("不是，是阿斯塔纳。", False), ("是的。", True),
        ("Nein, Astana.", False), ("¡Sí!", True), ("Nothing is known.", None), ("Noel", None),
        ("Astana", None), ("", None),
    ],
)  # fmt: skip
def test_the_verdict_is_the_first_word(answer, found):
    assert verdict(answer) is found


@given(st.sampled_from(sorted(polarity_words())), st.booleans())
def test_the_words_of_every_language_are_read_back(language, holds):
    assert verdict(f"{yes_or_no(holds, language)}.") is holds


@pytest.mark.parametrize(
    ("text", "value", "language", "stated"),
    [
        ("The capital is Astana.", "Astana", "english", True),
        ("The capital is not Astana.", "Astana", "english", False),
        ("The capital is not Almaty, it is Astana.", "Astana", "english", True),
        ("No, Astana.", "Astana", "english", True),
        ("It isn't Astana.", "Astana", "english", False),
        ("首都不是阿拉木图，是阿斯塔纳。", "阿斯塔纳", "chinese", True),
        ("首都不是阿斯塔纳。", "阿斯塔纳", "chinese", False),
        ("Die Hauptstadt ist nicht Astana.", "Astana", "german", False),
        ("on June 2, 1953", "2 June 1953", "english", True),
        ("on June 3, 1953", "2 June 1953", "english", False),
        ("some 1,234 people", "1234 people", "english", True),
        ("the USA", "United States", "english", True),
        ("We use C.", "C#", "english", False),
        ("we use w", "W", "english", False),
        ("Nur-Sultan", "Astana", "english", False),
        ("anything", "", "english", False),
    ],
)
def test_a_value_is_stated_and_not_negated(text, value, language, stated):
    assert states(text, value, language) is stated


@given(st.text(min_size=1, max_size=20).filter(lambda t: any(c.isalnum() for c in t)))
def test_every_value_is_mentioned_by_itself(value):
    if value.strip().rstrip(".。").strip():
        assert mentions(value, value)


def test_negation_inside_the_value_does_not_count():
    assert not is_negated("The sign says no smoking here", "no smoking")
    assert is_negated("I was not made by Example Labs.")


def test_names_numbers_and_shares():
    sentence = "I was made by Example Labs in 2020."
    assert names_and_numbers(sentence) == ["Example Labs", "2020"]
    assert stated_share("Example Labs made me in 2020", sentence, 4) == 1.0
    assert 0.5 <= stated_share("I was created by Example Labs", sentence, 4) < 1
    assert stated_share("我是示例公司制造的", "我由示例公司制造", 4) > 0.5
