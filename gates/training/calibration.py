"""Fitting the second stage: a regression on the features and the cross-encoder's logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from errata.gates.artifact import GateArtifact, SecondStage, odds_inputs, with_products
from errata.gates.cross_encoder import CrossEncoder, CrossEncoderDelta
from errata.gates.data.examples import Example
from errata.gates.layers import Array, Platt
from errata.gates.training.fit import Labels, fit_logistic

UNREAD_SHARE = 0.005
"""Share of governed pairs that the second stage may leave out, below the first stage's band."""
MIN_BAND, MAX_BAND = 0.02, 0.05
"""Limits of the probability from which pairs are reranked."""


def fit_second_stage(
    artifact: GateArtifact,
    cross: CrossEncoderDelta,
    encoder: Any,
    scopes: tuple[Sequence[Example], Array, Labels],
    conditions: tuple[Sequence[Example], Array, Labels],
    seed: int,
) -> GateArtifact:
    """Return the gate with a second stage; its thresholds are not picked yet.

    Fitted on pairs that the cross-encoder was not trained on (stacking: Wolpert 1992).

    :param artifact: a gate of one stage.
    :param cross: the trained cross-encoder.
    :param encoder: of the transformer it changes.
    :param scopes: tune pairs, their features and labels.
    :param conditions: the same of conditions.
    :param seed: of the regressions.
    """
    reader = CrossEncoder(encoder, cross)
    stages = []
    for (examples, features, labels), held in ((scopes, False), (conditions, True)):
        logits = cross_logits(reader, examples, condition=held)
        classes = np.minimum(labels, 1) if held else labels
        inputs = odds_inputs(features, logits)
        inputs = inputs if held else with_products(inputs)
        stages.append(fit_logistic(inputs, classes, seed))
    _, features, labels = scopes
    governed = features[labels > 0]
    first = 1.0 - artifact.first_classes(governed, np.zeros(len(governed), bool))[:, 0]
    band = float(np.clip(np.quantile(first, UNREAD_SHARE), MIN_BAND, MAX_BAND))
    return replace(
        artifact,
        second=SecondStage(cross, stages[0], stages[1], band),
        scope_calibration=Platt(),
        condition_calibration=Platt(),
    )


def cross_logits(
    reader: CrossEncoder, examples: Sequence[Example], *, condition: bool = False
) -> Array:
    """Return the cross-encoder's logits of examples, [n, 3]."""
    sides = [(one.scope, condition) for one in examples]
    return reader.score_edits(sides, [one.query for one in examples])
