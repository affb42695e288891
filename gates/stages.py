"""What the stages of the trained gate give, and how they are combined."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from errata.gates.artifact import GateArtifact
from errata.gates.features import PairFeatures, scope_inputs
from errata.gates.layers import Array


def first_stage_classes(artifact: GateArtifact, features: PairFeatures) -> Array:
    """Return the first stage's classes none, same and follows, float64 [n, 3], uncalibrated."""
    inputs = scope_inputs(artifact.relations, features)
    return _three_classes((artifact.scope(inputs) + artifact.trees(inputs)) / 2)


def _three_classes(classes: Array) -> Array:
    """Return [n, 3] classes, with zeros for *follows* where a network has two."""
    if classes.shape[1] < 3:  # conditions, or trained without entailed pairs
        classes = np.column_stack([classes, np.zeros(len(classes))])
    return np.asarray(classes, dtype=np.float64)


def first_stage_scores(classes: Array, rerank_threshold: float) -> tuple[Array, Array]:
    """Return probability and entailment of pairs that are not reranked.

    :param classes: of the first stage, [n, 3].
    :param rerank_threshold: upper limit of their probability.
    """
    governs = 1.0 - classes[:, 0]
    entailed = classes[:, 2] / np.maximum(governs, 1e-12)
    return np.minimum(governs, rerank_threshold), entailed


def combine_stages(
    artifact: GateArtifact,
    classes: Array,
    conditions: NDArray[np.bool_],
    logits: Array | None = None,
) -> tuple[Array, Array]:
    """Return the calibrated probability that each edit governs, and of entailment if it does.

    :param classes: of the first stage, [n, 3].
    :param conditions: which are conditions, bool [n].
    :param logits: of the second stage, [n, 3]; None: first stage only.
    :return: two float64 [n].
    """
    if logits is not None and artifact.second is not None:
        inputs = second_stage_inputs(classes, logits, artifact.second.logit_clip)
        scope_classes = _three_classes(artifact.second.scope(inputs))
        condition_classes = _three_classes(artifact.second.condition(inputs))
        classes = np.where(conditions[:, None], condition_classes, scope_classes)
    governs = 1.0 - classes[:, 0]
    entailed = classes[:, 2] / np.maximum(governs, 1e-12)
    calibrated = np.where(
        conditions, artifact.condition_calibration(governs), artifact.scope_calibration(governs)
    )
    return calibrated, entailed


def second_stage_inputs(classes: Array, logits: Array, logit_clip: float) -> Array:
    """Return both stages' log-odds against none, float64 [n, 4].

    :param classes: of the first stage, [n, 3].
    :param logits: of the cross-encoder, [n, 3].
    :param logit_clip: limit of the first stage's log-odds, either way.
    """
    first = np.log(np.maximum(classes, 1e-6))
    first = np.clip(first[:, 1:] - first[:, :1], -logit_clip, logit_clip)
    return np.column_stack([first, logits[:, 1:] - logits[:, :1]]).astype(np.float64)
