"""Rates with their n and interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z = 1.959963984540054
"""Standard deviations of a two-sided 95% interval."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of cases.

    :param hits: cases in which it held.
    :param n: all cases.
    :param low: lower end of the 95% Wilson interval, 0 to 1.
    :param high: upper end.
    """

    hits: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Hits over n; 0 where n is 0."""
        return self.hits / self.n if self.n else 0.0

    def row(self) -> str:
        """Return n, share and interval as cells of a Markdown row."""
        return f"{self.n} | {self.share:.2%} | {self.low:.2%} to {self.high:.2%}"


def rate(outcomes: Sequence[bool]) -> Rate:
    """Return the share of true outcomes, with its 95% Wilson score interval.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    hits, n = sum(outcomes), len(outcomes)
    if not n:
        return Rate(0, 0, 0.0, 1.0)
    share = hits / n
    spread = 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / spread
    half = Z / spread * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return Rate(hits, n, max(0.0, middle - half), min(1.0, middle + half))
