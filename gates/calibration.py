"""A threshold for a stated rate of false hits, with its confidence bound."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from errata.cache.errors import ModelError
from errata.intervals import most_false_hits

KEPT = 0.1
"""Share of the scores that are kept: no rate above it can be asked for."""


@dataclass(frozen=True, slots=True)
class NegativeScores:
    """What the gate says of tune queries near an edit and out of its scope, the highest scores.

    :param n: queries.
    :param highest: the probability of the top candidate of those where it is highest, falling.
    """

    n: int
    highest: tuple[float, ...]

    @classmethod
    def of(cls, probabilities: Sequence[float]) -> NegativeScores:
        """Return what is kept of the scores."""
        ordered = sorted(probabilities, reverse=True)[: int(KEPT * len(probabilities)) + 1]
        # rounded up, so that a threshold picked by them lets no more through
        return cls(len(probabilities), tuple(math.ceil(p * 1e6) / 1e6 for p in ordered))

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> NegativeScores:
        """Return what a gate's card says.

        :raises ModelError: the card keeps no scores.
        """
        kept = card.get("beside") or {}
        try:
            return cls(int(kept["n"]), tuple(map(float, kept["highest"])))
        except (KeyError, TypeError, ValueError):
            raise ModelError(
                "expected a gate whose card keeps the scores of its tune queries, by which a "
                "threshold for a rate of false hits is picked, found none; train the gate again"
            ) from None

    def as_json(self) -> dict[str, Any]:
        """Return what the card holds."""
        return {"n": self.n, "highest": list(self.highest)}

    def threshold(self, target: float, *, confidence: float = 0.95) -> float:
        """Return the lowest threshold whose rate of false hits is below the target, all but surely.

        :param target: the false hits allowed among queries near an edit, 0 to 1.
        :param confidence: of the one-sided bound (Clopper and Pearson 1934).
        :raises ModelError: it is no rate, or no threshold can be shown to keep to it by so few
            queries.
        """
        if not 0 < target < 1:
            raise ModelError(
                f"expected a false-hit rate above 0 and below 1, found {target}; ask for 0.01, say"
            )
        let = most_false_hits(self.n, target, confidence=confidence)
        if let < 0:
            raise ModelError(
                f"expected a false-hit rate that {self.n} queries can show, found {target}; ask "
                f"for {self._least(confidence)} or more"
            )
        if let >= len(self.highest):
            raise ModelError(
                f"expected a false-hit rate of at most {KEPT}, found {target}: the card keeps "
                "only the highest scores; ask for a lower one"
            )
        return float(np.nextafter(self.highest[let], 2.0))

    def _least(self, confidence: float) -> float:
        """Return the lowest rate that no false hit among so many shows, rounded up to be said."""
        exact = 1 - math.pow(1 - confidence, 1 / max(1, self.n))
        digits = 1 - math.floor(math.log10(exact))
        return math.ceil(exact * 10.0**digits) / 10.0**digits
