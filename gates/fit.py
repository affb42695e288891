"""Fitting the networks of a gate with scikit-learn, and turning them into plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import ModelError
from errata.gates.features import PairFeatures
from errata.gates.network import Array, Network, Platt, Projection, log_odds

PROJECTED = 24
"""Dimensions kept of the difference, and of the product, of the two rests."""
HIDDEN = 64
MEMBERS = 3
LABELS = ("none", "same", "follows")

Labels = NDArray[np.int64]


def fit_projection(rows: NDArray[np.floating], seed: int, width: int = PROJECTED) -> Projection:
    """Return the projection onto the directions in which the rows vary most (PCA).

    :param rows: float [n, d].
    :param width: dimensions kept, at most d and n.
    """
    from sklearn.decomposition import PCA

    width = min(width, *rows.shape)
    fitted = PCA(width, svd_solver="full", random_state=seed).fit(rows.astype(np.float64))
    return Projection(fitted.mean_, fitted.components_)


def fit_projections(found: PairFeatures, seed: int) -> tuple[Projection, Projection]:
    """Return the projections of difference and product of the rests."""
    apart, shared = found.query_rest - found.scope_rest, found.query_rest * found.scope_rest
    return fit_projection(np.abs(apart), seed), fit_projection(shared, seed)


def fit_network(
    inputs: Array, labels: Labels, seed: int, *, hidden: int = HIDDEN, members: int = MEMBERS
) -> tuple[Network, list[Any]]:
    """Fit multi-layer perceptrons that differ in their seed.

    :param inputs: float64 [n, f].
    :param labels: class numbers [n].
    :param hidden: units of the one hidden layer.
    :return: the network, and scikit-learn's own classifiers, for comparing.
    :raises ModelError: fewer than two classes.
    """
    from sklearn.neural_network import MLPClassifier

    if len(np.unique(labels)) < 2:
        raise ModelError(
            "cannot train a gate on pairs of one class only: expected pairs in scope and pairs "
            f"out of scope, found {len(labels)} of one sort"
        )
    mean, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-3)
    scaled = (inputs - mean) / scale
    fitted = []
    for member in range(members):
        classifier = MLPClassifier(
            (hidden,),
            alpha=1e-3,
            batch_size=max(1, min(256, len(labels) // 2)),
            learning_rate_init=2e-3,
            max_iter=40,
            early_stopping=len(labels) >= 200,
            n_iter_no_change=6,
            random_state=seed + member,
        )
        fitted.append(_fit_quietly(classifier, scaled, labels))
    return Network(mean, scale, tuple(layers_of(one) for one in fitted)), fitted


def fit_logistic(inputs: Array, labels: Labels, seed: int) -> tuple[Network, list[Any]]:
    """Fit a logistic regression, as a network without hidden layers.

    :raises ModelError: fewer than two classes.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        raise ModelError("cannot train a gate on pairs of one class only")
    mean, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-3)
    classifier = LogisticRegression(C=0.3, max_iter=500, random_state=seed)
    classifier = _fit_quietly(classifier, (inputs - mean) / scale, labels)
    layer = (classifier.coef_.T.copy(), classifier.intercept_.copy())
    return Network(mean, scale, ((layer,),)), [classifier]


def layers_of(classifier: Any) -> tuple[tuple[Array, Array], ...]:
    """Return weights and biases of a fitted MLPClassifier, layer by layer."""
    return tuple(
        (np.asarray(weights, np.float64), np.asarray(biases, np.float64))
        for weights, biases in zip(classifier.coefs_, classifier.intercepts_, strict=True)
    )


def fit_platt(probability: Array, truth: NDArray[np.bool_]) -> Platt:
    """Return the calibration of probabilities on held-out pairs (Platt 1999).

    :param probability: as the network says, [n].
    :param truth: what was so, [n].
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(truth)) < 2:
        return Platt()
    fitted = LogisticRegression(C=1e6).fit(log_odds(probability)[:, None], truth)
    slope = float(fitted.coef_[0, 0])
    # a falling curve would turn the gate's order round; then there was nothing to learn from
    return Platt(slope, float(fitted.intercept_[0])) if slope > 0 else Platt()


def pick_threshold(
    probabilities: Sequence[float], target_rate: float, *, least: float = 0.5
) -> float:
    """Return the lowest threshold at which out-of-scope queries hit no more often than allowed.

    :param probabilities: of the most probable candidate of each out-of-scope query.
    :param target_rate: false hits allowed, a share of the queries.
    :param least: the threshold never falls below this.
    """
    ordered = np.sort(np.asarray(probabilities, dtype=np.float64))[::-1]
    allowed = int(target_rate * len(ordered))
    if allowed >= len(ordered):
        return least
    return float(min(max(least, np.nextafter(ordered[allowed], 2.0)), 1.0))


def _fit_quietly(classifier: Any, inputs: Array, labels: Labels) -> Any:
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is the limit
        return classifier.fit(inputs, labels)
