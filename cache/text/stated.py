"""Whether an answer states a value: names, numbers, dates, or any words."""

from __future__ import annotations

import re
from itertools import pairwise

from errata.cache.text.aliases import synonyms
from errata.cache.text.normalize import (
    contains_any,
    needs_space,
    normalize,
    plain_words,
    word_pattern,
)
from errata.cache.text.polarity import DEFAULT_LANGUAGE, is_negated
from errata.cache.text.subject import names_in

_NUMBER = re.compile(r"\d+(?:[.,'’\u00a0\u202f ]\d{3})*(?:[.,]\d+)?")
_SEPARATOR = re.compile(r"(?<=\d)[,'’\u00a0\u202f ](?=\d{3}(?!\d))")
_PLAIN = re.compile(r"[\w\s.,'’-]+")
SHORT = 2
"""Letters of a value up to which its case has to match: W is not w."""


def states(text: str, value: str, language: str = DEFAULT_LANGUAGE) -> bool:
    """Return whether a text states a value, and does not negate it.

    A value with a number is stated by its words in any order ("June 2, 1953" states "2 June 1953"),
    any other by its words in a row, or by another name of the same.

    :param text: an answer.
    :param value: the stored answer of an edit.
    :param language: of the text, for its negations.
    """
    return mentions(text, value) and not is_negated(text, value, language)


def mentions(text: str, value: str) -> bool:
    """Return whether a text contains a value; as :func:`states`, negated or not."""
    value = value.strip().rstrip(".。").rstrip() or value.strip()
    if not value:
        return False
    if len(value) <= SHORT:
        return re.search(word_pattern(value), text) is not None
    if re.search(word_pattern(normalize(value)), normalize(text)):
        return True
    if not _PLAIN.fullmatch(value):
        return False
    words = plain_words(_joined(value))
    if any(word.isdigit() for word in words):
        return set(words) <= set(plain_words(_joined(text)))
    names = {words, *map(plain_words, synonyms().get(words, ()))}
    return contains_any(text, frozenset(name for name in names if name))


def names_and_numbers(text: str) -> list[str]:
    """Return the capitalised names and the numbers of a text, without duplicates."""
    numbers = [match.group().rstrip(".,") for match in _NUMBER.finditer(text)]
    return list(dict.fromkeys((*names_in(text), *numbers)))


def stated_share(text: str, sentence: str, shortest: int) -> float:
    """Return the share of a sentence's words that a text contains, 0 to 1.

    :param text: an answer.
    :param sentence: what it is to say.
    :param shortest: letters of the shortest word that counts, where the script parts words by
        spaces; else pairs of characters are compared.
    """
    if any(not needs_space(char, "a") for char in normalize(sentence)):
        found, wanted = (_pairs(normalize(part)) for part in (text, sentence))
    else:
        found, wanted = (set(plain_words(part)) for part in (text, sentence))
        wanted = {word for word in wanted if len(word) >= shortest} or wanted
    return len(wanted & found) / len(wanted) if wanted else 1.0


def _pairs(text: str) -> set[str]:
    letters = [char for char in text if char.isalnum()]
    return {one + other for one, other in pairwise(letters)}


def _joined(text: str) -> str:
    """Return a text whose numbers have no separators of thousands."""
    return _SEPARATOR.sub("", text)
