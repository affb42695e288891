"""How many words a query and an example share, which their cosine does not tell."""

from __future__ import annotations

from functools import lru_cache

from errata.gates.text import dice, words


def shared_words(one: str, other: str) -> float:
    """Return the overlap of the words that carry meaning (Dice's coefficient), 0 to 1.

    Of two pairs at the same high cosine, the one with more words in common is less likely to mean
    the same: its words explain the cosine.
    """
    return dice(_content(one), _content(other))


@lru_cache(maxsize=65536)
def _content(text: str) -> list[str]:
    return sorted({word.plain for word in words(text) if word.content})
