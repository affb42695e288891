"""Fitting the second stage: how the cross-encoder's word is weighed with the first stage's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from errata.gates.artifact import GateArtifact, SecondStage
from errata.gates.classifier import combine_stages, first_stage_classes, second_stage_inputs
from errata.gates.cross_encoder import CrossEncoder, CrossEncoderDelta
from errata.gates.data.examples import Example
from errata.gates.features import PairFeatures
from errata.gates.layers import Array, Platt
from errata.gates.training.fit import Labels, fit_logistic, fit_platt

LEFT_OUT = 0.002
"""Share of governed pairs that may stay unread because the first stage rules them out."""
LEAST_BAND, MOST_BAND = 0.001, 0.05
MOST = 4.0
"""Log-odds of the first stage that count at most. Of tune pairs, 0.40 of the others were taken for
the same at 95% recall without a limit, 0.38 with it; of facts the more fire at equal false hits."""


def fit_second_stage(
    stored: GateArtifact,
    cross: CrossEncoderDelta,
    encoder: Any,
    scopes: tuple[Sequence[Example], PairFeatures, Labels],
    conditions: tuple[Sequence[Example], PairFeatures, Labels],
) -> GateArtifact:
    """Return the gate with a second stage, calibrated; thresholds are still to be picked.

    A logistic regression on both stages' log-odds (stacking: Wolpert 1992), on pairs that neither
    stage was trained on.

    :param stored: a gate of one stage.
    :param cross: the trained cross-encoder.
    :param encoder: whose transformer it changes.
    :param scopes: tune pairs, their features and labels.
    :param conditions: the same of conditions.
    """
    reader = CrossEncoder(encoder, cross)
    classes = first_stage_classes(stored, scopes[1])
    held = stored.condition(conditions[1].named)
    held = np.column_stack([held[:, :2], np.zeros(len(held))])
    logits, held_logits = read(reader, scopes[0]), read(reader, conditions[0], condition=True)
    labels, holds = scopes[2], np.minimum(conditions[2], 1)
    scope, _ = fit_logistic(second_stage_inputs(classes, logits, MOST), labels, 0)
    condition, _ = fit_logistic(second_stage_inputs(held, held_logits, MOST), holds, 0)
    governed = 1.0 - classes[labels > 0, 0]
    band = float(np.clip(np.quantile(governed, LEFT_OUT), LEAST_BAND, MOST_BAND))
    made = replace(
        stored,
        second=SecondStage(cross, scope, condition, band, MOST),
        scope_calibration=Platt(),
        condition_calibration=Platt(),
    )
    none, all_ = np.zeros(len(labels), bool), np.ones(len(holds), bool)
    governs, _ = combine_stages(made, classes, none, logits)
    holding, _ = combine_stages(made, held, all_, held_logits)
    return replace(
        made,
        scope_calibration=fit_platt(governs, labels > 0),
        condition_calibration=fit_platt(holding, holds > 0),
    )


def read(reader: CrossEncoder, examples: Sequence[Example], *, condition: bool = False) -> Array:
    """Return the cross-encoder's logits of examples, [n, 3]."""
    sides = [(one.scope, condition) for one in examples]
    return reader.score_edits(sides, [one.query for one in examples])
