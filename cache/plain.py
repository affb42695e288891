"""Words as names are compared: without accents, case, hyphens or abbreviation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+")
_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ı": "i"})
_SHORT = {"st": "saint", "mt": "mount"}

Placed = tuple[str, int, int]
"""A plain word, its first character in the text and the one behind its last."""


@lru_cache(maxsize=65536)
def plain_words(name: str) -> tuple[str, ...]:
    """Return a name's plain words, without an article before them.

    :param name: such as "The Sacré-Cœur", which has the words "sacre" and "coeur".
    """
    words = tuple(word for word, _, _ in placed_words(name))
    return words[1:] if words[:1] == ("the",) else words


def placed_words(text: str) -> Iterator[Placed]:
    """Yield a text's plain words, each with its place.

    :param text: any text.
    """
    for match in _WORD.finditer(text):
        folded = unicodedata.normalize("NFKD", match[0].casefold().translate(_LETTERS))
        word = "".join(c for c in folded if not unicodedata.combining(c))
        yield _SHORT.get(word, word), *match.span()
