"""Statistics with 95% intervals: rates (Wilson), means (bootstrap over cases), paired tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""Standard deviations of a two-sided 95% interval."""
RESAMPLES = 2000
"""Bootstrap resamples of an :class:`Estimate`."""
FLIPS = 9999
"""Random sign flips of a permutation test."""
_SEED = 20260101

Values = Mapping[str, Sequence[float]]
"""For each case, the values of its probes."""

# -- rates: independent outcomes --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of cases.

    :param hits: cases with a true outcome.
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
    of n numbers from 0 to 1 it is conservative: zeros and ones have the largest variance.

    :param share: of n independent cases.
    :param n: 0 gives the interval 0 to 1.
    """
    if not n:
        return 0.0, 1.0
    spread = 1 + Z * Z / n
    middle = (share + Z * Z / (2 * n)) / spread
    half = Z / spread * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def most_false_hits(n: int, target: float, *, confidence: float = 0.95) -> int:
    """Return the most false hits among n whose Clopper-Pearson bound is below the target, or -1."""
    from scipy.stats import beta

    hits = np.arange(n)
    bounds = beta.ppf(confidence, hits + 1, n - hits)
    return int(np.searchsorted(bounds, target, side="right")) - 1


# -- means: several values a case -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95% interval.

    :param mean: over all values.
    :param low: lower end.
    :param high: upper end.
    :param n: values.
    :param cases: cases they come from.
    """

    mean: float
    low: float
    high: float
    n: int
    cases: int


def estimate(values: Values, *, share: bool = True) -> Estimate | None:
    """Return the mean over all values with its interval; None without values.

    The interval is the percentile bootstrap's (Efron 1979) over whole cases. If every value of a
    share is 0, or every one is 1, the bootstrap interval has no width: then it is Wilson's, with
    the number of cases as n.

    :param values: by case.
    :param share: whether the values are shares, 0 to 1.
    """
    kept = [list(each) for each in values.values() if len(each)]
    if not kept:
        return None
    flat = [value for each in kept for value in each]
    mean = float(np.mean(flat))
    if share and set(flat) in ({0.0}, {1.0}):
        return Estimate(mean, *wilson(mean, len(kept)), len(flat), len(kept))
    if len(kept) == 1:  # the variance between cases is unknown
        bounds = (0.0, 1.0) if share else (mean, mean)
        return Estimate(mean, *bounds, len(flat), 1)
    sums = np.array([np.sum(each) for each in kept], dtype=np.float64)
    counts = np.array([len(each) for each in kept], dtype=np.float64)
    weights = _resamples(len(kept))
    means = (weights @ sums) / np.maximum(weights @ counts, 1e-300)
    low, high = (float(bound) for bound in np.quantile(means, [0.025, 0.975]))
    # Where all values are nearly equal, rounding may put a bound past the mean.
    return Estimate(mean, min(low, mean), max(high, mean), len(flat), len(kept))


def share(outcomes: Sequence[bool] | NDArray[np.bool_]) -> Estimate:
    """Return the share of true outcomes with its 95% Wilson interval; NaN of no outcomes."""
    found = rate([bool(one) for one in outcomes])
    mean = found.share if found.n else math.nan
    return Estimate(mean, found.low, found.high, found.n, found.n)


def bootstrap(
    measure: Callable[[NDArray[np.float64], NDArray[np.bool_]], float],
    scores: NDArray[np.float64],
    truths: NDArray[np.bool_],
    *,
    resamples: int = 400,
    seed: int = 0,
) -> Estimate:
    """Return a measure of n cases with a 95% interval from resampling them; NaN of no cases.

    Efron and Tibshirani 1993; the percentile interval, widened to hold the measure itself.

    :param measure: of scores and truths, such as the Brier score.
    :param scores: float64 [n].
    :param truths: bool [n].
    """
    n = len(scores)
    if not n:
        return Estimate(math.nan, 0.0, 1.0, 0, 0)
    found = measure(scores, truths)
    drawn = np.random.default_rng(seed).integers(0, n, (resamples, n))
    again = [measure(scores[row], truths[row]) for row in drawn]
    low, high = np.quantile(again, [0.025, 0.975])
    return Estimate(found, min(found, float(low)), max(found, float(high)), n, n)


def difference(first: Values, second: Values, *, share: bool = False) -> Estimate | None:
    """Return the mean of A minus B over the cases that both have; None if there is none.

    :param first: of A, by case.
    :param second: of B.
    :param share: whether the values are shares, 0 to 1. If no case differs, the bootstrap interval
        has no width; of shares it is then what Wilson's leaves to changes of cases, both ways.
    """
    differences = {case: [a - b] for case, (a, b) in _shared(first, second).items()}
    found = estimate(differences, share=False)
    if found is None or not share or any(each != [0.0] for each in differences.values()):
        return found
    bound = wilson(0.0, found.cases)[1]
    return Estimate(0.0, -bound, bound, found.n, found.cases)


# -- tests ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paired:
    """A test of A against B on the same cases.

    :param difference: mean of A minus B over cases.
    :param p: two-sided: exact McNemar test where each case is right or wrong, else a permutation
        test that flips the signs of the cases' differences.
    :param n: cases that both have.
    :param test: which of the two.
    """

    difference: float
    p: float
    n: int
    test: str


def paired(first: Values, second: Values) -> Paired | None:
    """Return the test of A against B over the cases that both have; None if there is none."""
    shared = _shared(first, second)
    if not shared:
        return None
    differences = np.array([a - b for a, b in shared.values()])
    if all(value in (0.0, 1.0) for both in shared.values() for value in both):
        from scipy.stats import binomtest

        better, worse = int((differences > 0).sum()), int((differences < 0).sum())
        p = float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
        return Paired(float(differences.mean()), p, len(shared), "McNemar, exact")
    sums = abs(_flips(len(shared)) @ differences)
    p = (1 + int((sums >= abs(differences.sum()) - 1e-12).sum())) / (1 + FLIPS)
    return Paired(float(differences.mean()), p, len(shared), "permutation")


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected for multiple tests (Holm 1979), in order."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    out, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        out[i] = highest
    return out


def _shared(first: Values, second: Values) -> dict[str, tuple[float, float]]:
    """Return the mean of A and of B for each case that both have."""
    return {
        case: (float(np.mean(values)), float(np.mean(second[case])))
        for case, values in first.items()
        if len(values) and len(second.get(case, ()))
    }


@lru_cache(maxsize=8)
def _resamples(cases: int) -> NDArray[np.float64]:
    """Return how often each case is drawn in each resample, [resamples, cases]."""
    rng = np.random.default_rng(_SEED)
    return rng.multinomial(cases, [1 / cases] * cases, size=RESAMPLES).astype(np.float64)


@lru_cache(maxsize=8)
def _flips(cases: int) -> NDArray[np.float64]:
    """Return random signs, [flips, cases]."""
    rng = np.random.default_rng(_SEED)
    return rng.choice(np.array([-1.0, 1.0]), size=(FLIPS, cases))
