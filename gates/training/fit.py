"""Fitting the regressions and thresholds of a gate, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import ModelError
from errata.gates.evaluation.metrics import threshold_at_rate
from errata.gates.layers import Array, Network, Platt, log_odds

INVERSE_PENALTY = 0.01
"""scikit-learn's C. Of relations left out, and templates left out in turn, the area under the curve
is 0.962 and 0.993; boosted trees have 0.959 and 0.993, and 0.964 on relations they were fitted on
where the regression has 0.938, so that their thresholds would promise what they do not keep."""

Labels = NDArray[np.int64]


def fit_logistic(inputs: Array, labels: Labels, seed: int) -> Network:
    """Fit a logistic regression, as a network without hidden layers.

    :param inputs: float64 [n, f].
    :param labels: class numbers [n], from 0, none left out.
    :raises ModelError: fewer than two classes.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        raise ModelError(
            "cannot train a gate on pairs of one class only: expected pairs in scope and pairs "
            f"out of scope, found {len(labels)} of one sort"
        )
    mean, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-3)
    classifier = LogisticRegression(C=INVERSE_PENALTY, max_iter=3000, random_state=seed)
    classifier.fit((inputs - mean) / scale, labels)
    layer = (classifier.coef_.T.copy(), classifier.intercept_.copy())
    return Network(mean, scale, ((layer,),))


def fit_platt(probability: Array, truth: NDArray[np.bool_]) -> Platt:
    """Return the calibration of probabilities on held-out pairs (Platt 1999).

    :param probability: of the network, [n].
    :param truth: [n].
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(truth)) < 2:
        return Platt()
    fitted = LogisticRegression(C=1e6).fit(log_odds(probability)[:, None], truth)
    slope = float(fitted.coef_[0, 0])
    # a negative slope would reverse the gate's ranking
    return Platt(slope, float(fitted.intercept_[0])) if slope > 0 else Platt()


def pick_threshold(
    probabilities: Sequence[float], target_rate: float, *, least: float = 0.5
) -> float:
    """Return the lowest threshold within an allowed rate of false hits.

    :param probabilities: of the most probable candidate of each out-of-scope query.
    :param target_rate: false hits allowed, a share of the queries.
    :param least: lower bound of the threshold.
    """
    found = threshold_at_rate(np.asarray(probabilities, dtype=np.float64), target_rate)
    return min(max(least, found), 1.0)


def least_threshold(false: Sequence[Array], rate: float) -> float:
    """Return the least threshold at which the mean share of false hits keeps to a rate, else 1.

    :param false: for each sort of pairs the probabilities of those that are not governed.
    :param rate: the share allowed.
    """
    least = np.append(np.linspace(0.01, 0.99, 981), 1.0)
    shares = np.mean([[(one >= at).mean() for at in least[:-1]] for one in false], axis=0)
    return float(least[int(np.argmax(np.append(shares <= rate, True)))])


def logistic_loss(
    slopes: Array, inputs: Array, labels: NDArray[np.bool_], weights: Array, penalty: float
) -> tuple[float, Array]:
    """Return the weighted loss of a logistic regression, and its gradient [f].

    :param slopes: [f].
    :param inputs: [n, f].
    :param labels: [n].
    :param weights: of the pairs, [n].
    :param penalty: of the squared slopes.
    """
    odds = inputs @ slopes
    losses = weights @ (np.logaddexp(0.0, odds) - labels * odds)
    errors = 1.0 / (1.0 + np.exp(-odds)) - labels
    gradient = inputs.T @ (weights * errors) + penalty * slopes
    return float(losses + penalty * (slopes @ slopes) / 2), gradient
