"""What words a query and an example share, which their cosine does not tell."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from errata.gates.text import dice, words


@dataclass(frozen=True, slots=True)
class SharedWords:
    """Words that two texts share.

    At the same cosine a pair with more words in common is less likely to mean the same: the words
    explain the cosine. A shared name explains most of it ("Pelé plays for", "Pelé was born in").

    :param overlap: of the words that carry meaning (Dice's coefficient), 0 to 1.
    :param name: whether a name is among the shared words.
    :param others: overlap of the words that are not shared names.
    """

    overlap: float = 0.0
    name: bool = False
    others: float = 0.0


@dataclass(frozen=True, slots=True)
class _Words:
    content: frozenset[str]
    capital: frozenset[str]
    opening: frozenset[str]
    every: frozenset[str]


def shared_words(one: str, other: str, common: Collection[str] = frozenset()) -> SharedWords:
    """Return what words two texts share.

    A name has a capital in one of the texts. One that opens a sentence counts if the word has a
    capital in the other text, too, and is not a common one.

    :param one: a text.
    :param other: another one.
    :param common: words that name nothing, lower case.
    """
    first, second = _split(one), _split(other)
    names = (first.capital & second.every) | (second.capital & first.every)
    names |= {word for word in first.opening & second.opening if word not in common}
    return SharedWords(
        dice(sorted(first.content), sorted(second.content)),
        bool(names),
        dice(sorted(first.content - names), sorted(second.content - names)),
    )


@lru_cache(maxsize=65536)
def _split(text: str) -> _Words:
    found = words(text)
    capital = [word for word in found if word.content and word.text[:1].isupper()]
    return _Words(
        frozenset(word.plain for word in found if word.content),
        frozenset(word.plain for word in capital if not word.first),
        frozenset(word.plain for word in capital if word.first),
        frozenset(word.plain for word in found),
    )
