"""How well scores tell two sorts apart, and whether they mean what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from errata.intervals import Rate, most_false_hits, rate

BINS = 15
RESAMPLES = 400

Array = NDArray[np.float64]
Truths = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was measured.

    :param value: the number.
    :param low: lower end of its 95% interval.
    :param high: upper end.
    :param n: cases it was measured on.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, found: Rate) -> Figure:
        """Return a share with its Wilson interval; NaN of no cases."""
        return cls(found.share if found.n else math.nan, found.low, found.high, found.n)


def share(outcomes: Sequence[bool] | Truths) -> Figure:
    """Return the share of true outcomes with its 95% Wilson interval."""
    return Figure.of(rate([bool(one) for one in outcomes]))


def threshold_at_recall(positives: Array, recall: float) -> float:
    """Return the highest threshold at which at least that share of positives scores as much.

    :param positives: scores of what is in scope, [n].
    :param recall: the share, 0 to 1.
    """
    ordered = np.sort(positives)[::-1]
    return float(ordered[max(0, math.ceil(recall * len(ordered)) - 1)])


def false_hits_at_recall(positives: Array, negatives: Array, recall: float) -> Figure:
    """Return the share of negatives that score as much as that share of positives does."""
    if not len(positives) or not len(negatives):
        return Figure(math.nan, 0.0, 1.0, 0)
    return share(negatives >= threshold_at_recall(positives, recall))


def threshold_at_rate(negatives: Array, allowed: float) -> float:
    """Return the lowest threshold that no more than that share of negatives reaches."""
    ordered = np.sort(negatives)[::-1]
    let = int(allowed * len(ordered))
    return -math.inf if let >= len(ordered) else float(np.nextafter(ordered[let], math.inf))


def recall_at_rate(positives: Array, negatives: Array, allowed: float) -> Figure:
    """Return the share of positives found where no more than a share of negatives is."""
    if not len(positives) or not len(negatives):
        return Figure(math.nan, 0.0, 1.0, 0)
    return share(positives >= threshold_at_rate(negatives, allowed))


def best_threshold(scores: Array, truths: Truths) -> float:
    """Return the threshold from which calling a pair the same is right most often."""
    order = np.argsort(-scores, kind="stable")
    right = (~truths).sum() + np.cumsum(np.where(truths[order], 1, -1))
    # only where the score falls can a threshold part the pairs
    ends = np.append(np.diff(scores[order]) < 0, True)
    right = np.where(ends, right, -1)
    if not len(scores) or right.max() <= (~truths).sum():
        return math.inf
    return float(scores[order][int(right.argmax())])


def _equal(chances: Array, bins: int) -> list[NDArray[np.intp]]:
    """Return the places of the chances in bins of equal mass, lowest first."""
    parts = np.array_split(np.argsort(chances, kind="stable"), bins)
    return [part for part in parts if len(part)]


def calibration_bins(chances: Array, truths: Truths, bins: int = BINS) -> list[tuple[float, float]]:
    """Return mean chance and share of truths of bins of equal mass, lowest chances first."""
    return [
        (float(chances[part].mean()), float(truths[part].mean())) for part in _equal(chances, bins)
    ]


def calibration_error(chances: Array, truths: Truths, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal mass.

    Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning"; equal
    mass as in Nixon et al. 2019.
    """
    gaps = [
        len(part) * abs(chances[part].mean() - truths[part].mean())
        for part in _equal(chances, bins)
    ]
    return float(sum(gaps) / len(chances)) if len(chances) else math.nan


def brier(chances: Array, truths: Truths) -> float:
    """Return the mean squared error of the chances (Brier 1950)."""
    return float(np.mean((chances - truths) ** 2)) if len(chances) else math.nan


def resampled(
    measure: Callable[[Array, Truths], float], chances: Array, truths: Truths, seed: int = 0
) -> Figure:
    """Return a measure with a 95% interval from resampling its cases (the bootstrap).

    Efron and Tibshirani 1993; the percentile interval, widened to hold the measure itself.
    """
    if not len(chances):
        return Figure(math.nan, 0.0, 1.0, 0)
    rng = np.random.default_rng(seed)
    found = measure(chances, truths)
    drawn = rng.integers(0, len(chances), (RESAMPLES, len(chances)))
    again = [measure(chances[row], truths[row]) for row in drawn]
    low, high = np.quantile(again, [0.025, 0.975])
    return Figure(found, min(found, float(low)), max(found, float(high)), len(chances))


def bounded_threshold(negatives: Array, target: float, *, confidence: float = 0.95) -> float:
    """Return the lowest threshold whose rate of false hits lies below a target, all but surely.

    The upper confidence bound of Clopper and Pearson 1934 on the share of negatives that reach
    the threshold stays below the target.

    :param negatives: scores of what is out of scope, one for each query, [n].
    :param target: the false hits allowed, a share of the queries, 0 to 1.
    :param confidence: of the one-sided bound.
    :return: infinity where even no false hit among so few would not prove it.
    """
    let = most_false_hits(len(negatives), target, confidence=confidence)
    if let < 0:
        return math.inf
    ordered = np.sort(negatives)[::-1]
    return -math.inf if let >= len(ordered) else float(np.nextafter(ordered[let], math.inf))
