"""Metrics of scores: thresholds, recall and false hits, calibration; NaN of no cases."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from errata.intervals import Estimate, most_false_hits, share

BINS = 15

Array = NDArray[np.float64]
Truths = NDArray[np.bool_]


def threshold_at_recall(positives: Array, recall: float) -> float:
    """Return the highest threshold that keeps a recall.

    :param positives: scores of what is in scope, [n].
    :param recall: share of the positives that reach the threshold, 0 to 1.
    """
    ordered = np.sort(positives)[::-1]
    return float(ordered[max(0, math.ceil(recall * len(ordered)) - 1)])


def false_hits_at_recall(positives: Array, negatives: Array, recall: float) -> Estimate:
    """Return the share of negatives that reach the threshold of a recall."""
    if not len(positives) or not len(negatives):
        return share([])
    return share(negatives >= threshold_at_recall(positives, recall))


def threshold_at_rate(negatives: Array, allowed: float) -> float:
    """Return the lowest threshold that at most a share of the negatives reaches."""
    ordered = np.sort(negatives)[::-1]
    hits = int(allowed * len(ordered))
    return -math.inf if hits >= len(ordered) else float(np.nextafter(ordered[hits], math.inf))


def recall_at_rate(positives: Array, negatives: Array, allowed: float) -> Estimate:
    """Return the recall at the lowest threshold that at most a share of negatives reaches."""
    if not len(positives) or not len(negatives):
        return share([])
    return share(positives >= threshold_at_rate(negatives, allowed))


def best_threshold(scores: Array, truths: Truths) -> float:
    """Return the threshold with the best accuracy."""
    order = np.argsort(-scores, kind="stable")
    right = (~truths).sum() + np.cumsum(np.where(truths[order], 1, -1))
    # a threshold lies between two different scores
    ends = np.append(np.diff(scores[order]) < 0, True)
    right = np.where(ends, right, -1)
    if not len(scores) or right.max() <= (~truths).sum():
        return math.inf
    return float(scores[order][int(right.argmax())])


def _equal_mass(scores: Array, bins: int) -> list[NDArray[np.intp]]:
    """Return the positions of the scores in bins of equal mass, lowest scores first."""
    parts = np.array_split(np.argsort(scores, kind="stable"), bins)
    return [part for part in parts if len(part)]


def calibration_bins(scores: Array, truths: Truths, bins: int = BINS) -> list[tuple[float, float]]:
    """Return mean score and share of truths of bins of equal mass, lowest scores first."""
    return [
        (float(scores[part].mean()), float(truths[part].mean()))
        for part in _equal_mass(scores, bins)
    ]


def calibration_error(scores: Array, truths: Truths, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal mass.

    Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning"; equal
    mass as in Nixon et al. 2019.
    """
    gaps = [
        len(part) * abs(scores[part].mean() - truths[part].mean())
        for part in _equal_mass(scores, bins)
    ]
    return float(sum(gaps) / len(scores)) if len(scores) else math.nan


def brier(scores: Array, truths: Truths) -> float:
    """Return the mean squared error of probabilities (Brier 1950)."""
    return float(np.mean((scores - truths) ** 2)) if len(scores) else math.nan


def bounded_threshold(negatives: Array, target: float, *, confidence: float = 0.95) -> float:
    """Return the lowest threshold whose rate of false hits lies below a target at a confidence.

    The upper confidence bound of Clopper and Pearson 1934 on the share of negatives that reach
    the threshold stays below the target.

    :param negatives: scores of what is out of scope, one for each query, [n].
    :param target: the false hits allowed, a share of the queries, 0 to 1.
    :param confidence: of the one-sided bound.
    :return: infinity where there are too few negatives to show the target.
    """
    hits = most_false_hits(len(negatives), target, confidence=confidence)
    if hits < 0:
        return math.inf
    ordered = np.sort(negatives)[::-1]
    return -math.inf if hits >= len(ordered) else float(np.nextafter(ordered[hits], math.inf))
