"""How the words of a query and an example differ, which their cosine does not tell."""

from __future__ import annotations

from dataclasses import dataclass

from errata.gates.text import content_words, dice, negated


@dataclass(frozen=True, slots=True)
class Wording:
    """How the words of two texts differ.

    :param overlap: of the words that carry meaning (:func:`shared_words`).
    :param negation: 1 where one of them has a negation and the other has none, else 0.
    """

    overlap: float = 0.0
    negation: float = 0.0

    @classmethod
    def of(cls, one: str, other: str) -> Wording:
        """Return how two texts differ."""
        return cls(shared_words(one, other), float(negated(one) != negated(other)))


def shared_words(one: str, other: str) -> float:
    """Return the overlap of the words that carry meaning (Dice's coefficient), 0 to 1.

    Of two pairs at the same high cosine, the one with more words in common is less likely to mean
    the same: its words explain the cosine.
    """
    return dice(*(frozenset(word.plain for word in content_words(text)) for text in (one, other)))
