"""Names as they are written: initials with dots, an article with a capital."""

from __future__ import annotations

import pytest

from errata.cache.text.normalize import strip_initials_dots, words_with_offsets
from tests.unit.cache.test_aliases import about, said

BRITAIN, STATES = about("United Kingdom"), about("United States", question="Who leads the {}?")
ROWLING = about("J. K. Rowling")


@pytest.mark.parametrize(
    ("edit", "text", "wanted", "sure"),
    [
        (BRITAIN, "What is U.K.'s capital?", "What is United Kingdom's capital?", True),
        (BRITAIN, "Is she in the U.K.?", "Is she in United Kingdom?", True),
        (BRITAIN, "I live in the U.K. Where are you?", "I live in United Kingdom. Where are you?",
         True),
        (BRITAIN, "I live in the U.K.", "I live in United Kingdom.", True),
        (BRITAIN, 'I said "the U.K." Is it?', 'I said "United Kingdom." Is it?', True),
        (STATES, "Who leads the U.S. today?", "Who leads the United States today?", True),
        (STATES, "Who leads the U.S now?", "Who leads the United States now?", True),
        (STATES, "Who leads the U.S.A. today?", "Who leads the United States today?", True),
        (about("UN"), "Who leads the U.N. today?", "Who leads UN today?", True),
        (about("Acme Nations", "the A.N."), "Is the A.N. big?", "Is Acme Nations big?", True),
        (about("United Arab Emirates"), "Is the U.A.E. big?", "Is United Arab Emirates big?",
         False),
        (ROWLING, "Where is J.K. Rowling?", "Where is J. K. Rowling?", True),
        (ROWLING, "Where is J K Rowling?", "Where is J. K. Rowling?", True),
        (ROWLING, "Where is J.K. now?", "Where is J. K. Rowling now?", False),
    ],
)  # fmt: skip
def test_the_dots_of_initials_go_with_them(edit, text, wanted, sure):
    assert said(text, edit) == [(wanted, sure)]


@pytest.mark.parametrize("text", ["Who leads the U.S. Army?", "Who leads the US Army?"])
def test_initials_within_a_longer_name_are_not_the_subjects(text):
    assert said(text, STATES) == []


def test_a_last_dot_that_ends_a_sentence_is_no_part_of_the_initials():
    words = [("u", 0, 1), ("s", 2, 4), ("and", 5, 8), ("u", 9, 10), ("k", 11, 12)]
    assert list(words_with_offsets("U.S. and U.K.")) == words
    assert (
        strip_initials_dots("the U.S. and J. K., e.g. St. Ives") == "the US and J. K., eg St. Ives"
    )


@pytest.mark.parametrize(
    ("edit", "text", "wanted"),
    [
        (about("Museum", "the Met"), "Where is The Met?", "Where is Museum?"),
        (BRITAIN, "What is the capital of The UK", "What is the capital of United Kingdom"),
        (STATES, "Who leads The US?", "Who leads the United States?"),
    ],
)
def test_a_capital_of_the_article_hides_no_name(edit, text, wanted):
    assert said(text, edit) == [(wanted, True)]


@pytest.mark.parametrize("text", ["Where did The Who play?", "Where did the Who play?"])
def test_a_name_with_its_article_stays_as_it_is(text):
    assert said(text, about("The Who")) == []
