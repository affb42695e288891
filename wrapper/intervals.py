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
    """Return the share of true outcomes, with its 95% interval; see :func:`wilson`."""
    hits, n = sum(outcomes), len(outcomes)
    return Rate(hits, n, *wilson(hits / n if n else 0.0, n))


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a share, 0 to 1.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference". For a mean
    of n numbers from 0 to 1 it is on the safe side: nothing varies more than zeros and ones do.

    :param share: of n independent cases.
    :param n: where it is 0, so is what is known.
    """
    if not n:
        return 0.0, 1.0
    spread = 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / spread
    half = Z / spread * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
