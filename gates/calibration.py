"""A threshold for a rate of false hits, picked from the scores that a card keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from errata.cache.errors import ModelError
from errata.intervals import most_false_hits


@dataclass(frozen=True, slots=True)
class NegativeScores:
    """The highest scores of tune queries near an edit and out of its scope.

    :param n: number of queries.
    :param highest: the top candidate's probability of the highest scoring ones, descending.
    """

    n: int
    highest: tuple[float, ...]

    @classmethod
    def of(cls, probabilities: Sequence[float], kept_share: float = 0.1) -> NegativeScores:
        """Return the scores that are kept of these probabilities.

        :param probabilities: of the top candidates.
        :param kept_share: share of them that is kept, which is the highest rate of false hits for
            which a threshold can be picked. A tenth keeps a card small.
        """
        ordered = sorted(probabilities, reverse=True)[: int(kept_share * len(probabilities)) + 1]
        # rounded up: a threshold picked by them has no more false hits
        return cls(len(probabilities), tuple(math.ceil(p * 1e6) / 1e6 for p in ordered))

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> NegativeScores:
        """Return the scores that a gate's card keeps.

        :raises ModelError: the card keeps no scores.
        """
        kept = card.get("negative_scores") or {}
        try:
            return cls(int(kept["n"]), tuple(map(float, kept["highest"])))
        except (KeyError, TypeError, ValueError):
            raise ModelError(
                "expected a gate whose card keeps the scores of its tune queries, by which a "
                "threshold for a rate of false hits is picked, found none; train the gate again"
            ) from None

    def as_json(self) -> dict[str, Any]:
        """Return the card's entry."""
        return {"n": self.n, "highest": list(self.highest)}

    def threshold(self, target: float, *, confidence: float = 0.95) -> float:
        """Return the lowest threshold whose rate of false hits is below the target.

        :param target: rate of false hits among queries near an edit, 0 to 1.
        :param confidence: of the one-sided bound (Clopper and Pearson 1934).
        :raises ModelError: the target is outside (0, 1), too low for so few queries, or above the
            share of scores that are kept.
        """
        if not 0 < target < 1:
            raise ModelError(
                f"expected a false-hit rate above 0 and below 1, found {target}; ask for 0.01, say"
            )
        allowed = most_false_hits(self.n, target, confidence=confidence)
        if allowed < 0:
            raise ModelError(
                f"expected a false-hit rate that {self.n} queries can show, found {target}; ask "
                f"for {self._lowest_rate(confidence)} or more"
            )
        if allowed >= len(self.highest):
            raise ModelError(
                f"expected a false-hit rate of at most {self._highest_rate}, found {target}: the "
                "card keeps only the highest scores; ask for a lower one"
            )
        return float(np.nextafter(self.highest[allowed], 2.0))

    @property
    def _highest_rate(self) -> float:
        """The share of scores that are kept."""
        return round((len(self.highest) - 1) / max(1, self.n), 2)

    def _lowest_rate(self, confidence: float) -> float:
        """Return the lowest rate that n queries without a false hit show, rounded up."""
        exact = 1 - math.pow(1 - confidence, 1 / max(1, self.n))
        digits = 1 - math.floor(math.log10(exact))
        return math.ceil(exact * 10.0**digits) / 10.0**digits
