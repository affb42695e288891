"""Words as names are compared: without accents, case, hyphens or abbreviation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Set
from functools import lru_cache

Words = tuple[str, ...]
Placed = tuple[str, int, int]
"""A plain word, its first character in the text and the one behind its last."""

LONGEST = 8
"""Words of a name or an answer that is looked for in a text."""

_ASCII = re.compile(r"[A-Za-z0-9]+")
_ACCENTS = re.compile("[\u0300-\u036f]+")  # vowel signs of other scripts are letters
_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ı": "i"})
_SHORT = {"st": "saint", "mt": "mount"}
_IN_WORDS = frozenset("LNM")
_DOTTED = re.compile(r"(?<!\w)(?:[^\W\d_]\.)+[^\W\d_](?:\.|\b)(?!\w)")
_BEHIND = re.compile(r"[\"”'’)\]\s]*(.?)")


@lru_cache(maxsize=131_072)
def plain_words(name: str) -> Words:
    """Return a name's plain words, without an article before them.

    :param name: such as "The Sacré-Cœur", which has the words "sacre" and "coeur".
    """
    words = tuple(word for word, _, _ in placed_words(name))
    return words[1:] if words[:1] == ("the",) else words


def placed_words(text: str) -> Iterator[Placed]:
    """Yield a text's plain words, each with its place.

    :param text: any text.
    """
    dots = {match.end() - 1 for match in _DOTTED.finditer(text) if _abbreviates(match)}
    for start, end in _spans(text):
        word = unaccented(text[start:end].casefold().translate(_LETTERS))
        if word:
            yield _SHORT.get(word, word), start, end + (end in dots)


def runs(words: Words) -> Iterator[Words]:
    """Yield the words that stand together in a text, up to as many as a name is looked for with."""
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + LONGEST) + 1):
            yield words[start:end]


def names_one(text: str, names: Set[Words]) -> bool:
    """Tell whether one of the names stands in a text.

    :param text: any text.
    :param names: plain words each.
    """
    return not names.isdisjoint(runs(plain_words(text)))


def unaccented(text: str) -> str:
    """Return a text without accents."""
    return text if text.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFKD", text))


def undotted(text: str) -> str:
    """Return a text with its initials written without dots: the US, not the U.S."""
    return _DOTTED.sub(lambda match: match[0].replace(".", ""), text)


def _abbreviates(dotted: re.Match[str]) -> bool:
    """Tell whether the last dot of initials is theirs alone, and does not end a sentence, too."""
    behind = _BEHIND.match(dotted.string, dotted.end())
    following = behind[1] if behind else ""
    return dotted[0].endswith(".") and following != "" and not following.isupper()


def _spans(text: str) -> Iterator[tuple[int, int]]:
    if text.isascii():
        yield from (match.span() for match in _ASCII.finditer(text))
        return
    start = None
    for place, char in enumerate(text):
        within = unicodedata.category(char)[0] in _IN_WORDS
        if within and start is None:
            start = place
        elif not within and start is not None:
            yield start, place
            start = None
    if start is not None:
        yield start, len(text)
