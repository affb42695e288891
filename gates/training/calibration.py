"""Fitting the second stage: combining the cross-encoder's logits with the first stage's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from errata.gates.artifact import GateArtifact, SecondStage
from errata.gates.cross_encoder import CrossEncoder, CrossEncoderDelta
from errata.gates.data.examples import Example
from errata.gates.features import PairFeatures
from errata.gates.layers import Array, Platt
from errata.gates.stages import combine_stages, first_stage_classes, second_stage_inputs
from errata.gates.training.fit import Labels, fit_logistic, fit_platt

UNREAD_SHARE = 0.002
"""Share of governed pairs that the second stage may leave out, below the first stage's band."""
MIN_BAND, MAX_BAND = 0.02, 0.05
"""Limits of the probability from which pairs are reranked: below the first no decision on tune data
changed (``results/rerank.md``), above the second some did."""
MAX_LOG_ODDS = 4.0
"""Limit of the first stage's log-odds. At 95% recall of tune question pairs, false hits were 0.40
without a limit and 0.38 with it; more facts fire at equal false hits."""


def fit_second_stage(
    artifact: GateArtifact,
    cross: CrossEncoderDelta,
    encoder: Any,
    scopes: tuple[Sequence[Example], PairFeatures, Labels],
    conditions: tuple[Sequence[Example], PairFeatures, Labels],
) -> GateArtifact:
    """Return the gate with a second stage, calibrated; its thresholds are not picked yet.

    A logistic regression on both stages' log-odds (stacking: Wolpert 1992), on pairs that neither
    stage was trained on.

    :param artifact: a gate of one stage.
    :param cross: the trained cross-encoder.
    :param encoder: of the transformer it changes.
    :param scopes: tune pairs, their features and labels.
    :param conditions: the same of conditions.
    """
    reader = CrossEncoder(encoder, cross)
    classes = first_stage_classes(artifact, scopes[1])
    condition_classes = artifact.condition(conditions[1].named)
    condition_classes = np.column_stack(
        [condition_classes[:, :2], np.zeros(len(condition_classes))]
    )
    logits, condition_logits = (
        cross_logits(reader, scopes[0]),
        cross_logits(reader, conditions[0], condition=True),
    )
    labels, holds = scopes[2], np.minimum(conditions[2], 1)
    scope, _ = fit_logistic(second_stage_inputs(classes, logits, MAX_LOG_ODDS), labels, 0)
    condition, _ = fit_logistic(
        second_stage_inputs(condition_classes, condition_logits, MAX_LOG_ODDS), holds, 0
    )
    governed = 1.0 - classes[labels > 0, 0]
    band = float(np.clip(np.quantile(governed, UNREAD_SHARE), MIN_BAND, MAX_BAND))
    combined = replace(
        artifact,
        second=SecondStage(cross, scope, condition, band, MAX_LOG_ODDS),
        scope_calibration=Platt(),
        condition_calibration=Platt(),
    )
    none, all_ = np.zeros(len(labels), bool), np.ones(len(holds), bool)
    governs, _ = combine_stages(combined, classes, none, logits)
    holds_probability, _ = combine_stages(combined, condition_classes, all_, condition_logits)
    return replace(
        combined,
        scope_calibration=fit_platt(governs, labels > 0),
        condition_calibration=fit_platt(holds_probability, holds > 0),
    )


def cross_logits(
    reader: CrossEncoder, examples: Sequence[Example], *, condition: bool = False
) -> Array:
    """Return the cross-encoder's logits of examples, [n, 3]."""
    sides = [(one.scope, condition) for one in examples]
    return reader.score_edits(sides, [one.query for one in examples])
