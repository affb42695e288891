"""A trained gate on disk: arrays in ``gate.safetensors``, everything else in ``card.json``.

A gate of two stages has its cross-encoder's arrays in ``cross.safetensors``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import ModelError
from errata.cache.storage.atomic import write_atomically
from errata.gates.condition_calibration import ConditionCalibration
from errata.gates.cross_encoder import CrossEncoderDelta
from errata.gates.examples import ExampleCalibration
from errata.gates.features import NAMES
from errata.gates.layers import Array, Network, Platt

WEIGHTS = "gate.safetensors"
CROSS = "cross.safetensors"
CARD = "card.json"
_RENAMED_KEYS = {
    "agreeing": "agreement_threshold",
    "beside": "negative_scores",
    "band": "rerank_threshold",
}
"""Keys of cards of version 0.1, with their present names."""
FORMAT = 3
LOGIT_CLIP = 10.0
"""Limit of the cross-encoder's log-odds, either way, so that no square of them runs away."""


@dataclass(frozen=True, slots=True, eq=False)
class SecondStage:
    """The cross-encoder, and the regressions on its logits and the features.

    :param cross: the weights of the cross-encoder.
    :param scope: classes none, same, follows, from features and the cross-encoder's log-odds.
    :param condition: classes none, same, from the same.
    :param rerank_threshold: first-stage probability from which the cross-encoder scores a pair;
        one in two hundred governed pairs of tune data lies below.
    """

    cross: CrossEncoderDelta
    scope: Network
    condition: Network
    rerank_threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class GateArtifact:
    """A trained gate.

    :param scope: classes none, same, follows, from the features of a pair.
    :param condition: classes none, same, from the same: topics and claims.
    :param scope_calibration: calibrates the probability that an edit governs.
    :param condition_calibration: the same for conditions.
    :param threshold: the probability from which an edit fires.
    :param condition_threshold: the same for a condition that is a topic.
    :param claim_threshold: the same for a claim.
    :param near: share of the threshold from which a candidate is a near miss.
    :param encoder: fingerprint of the encoder it was trained with.
    :param card: data, seed and figures, for people; JSON values.
    :param second: the second stage, if there is one.
    :param agreement_threshold: the probability from which an edit fires if the base model gives the
        query and the edit's question the same answer; None: the base model is not consulted.
    :param examples: combines the trained score with the nearest examples; None: the examples are
        scored by the stages only.
    :param conditions: the same for topics and claims.
    """

    scope: Network
    condition: Network
    scope_calibration: Platt
    condition_calibration: Platt
    threshold: float
    condition_threshold: float
    claim_threshold: float
    near: float
    encoder: str
    card: dict[str, Any]
    second: SecondStage | None = None
    agreement_threshold: float | None = None
    examples: ExampleCalibration | None = None
    conditions: ConditionCalibration | None = None

    def first_classes(self, features: Array, conditions: NDArray[np.bool_]) -> Array:
        """Return the first stage's classes none, same and follows, float64 [n, 3], uncalibrated.

        :param features: of :func:`errata.gates.features.pair_features`, [n, f].
        :param conditions: which pairs are of conditions, bool [n].
        """
        return _classes(self.scope, self.condition, features, conditions)

    def second_classes(
        self, features: Array, conditions: NDArray[np.bool_], logits: Array
    ) -> Array:
        """Return the second stage's classes, as :meth:`first_classes` does.

        :param logits: of the cross-encoder, [n, 3].
        :raises ModelError: there is no second stage.
        """
        if self.second is None:
            raise ModelError(
                "expected a gate of two stages, found one; train it with --steps above 0, or with "
                "a --start"
            )
        inputs = odds_inputs(features, logits)
        return _classes(self.second.scope, self.second.condition, inputs, conditions)

    def calibrated(self, classes: Array, conditions: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Return the probability that each edit governs, and of entailment if it does, both [n].

        :param classes: none, same, follows, [n, 3].
        """
        governs = 1.0 - classes[:, 0]
        entailed = classes[:, 2] / np.maximum(governs, 1e-12)
        found = np.where(
            conditions, self.condition_calibration(governs), self.scope_calibration(governs)
        )
        return found, entailed

    def save(self, folder: str | Path) -> None:
        """Write the gate, the card last, so that a card always has its weights.

        :param folder: the target folder; created if missing.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = self.scope.tensors("scope") | self.condition.tensors("condition")
        if self.second is not None:
            tensors |= self.second.scope.tensors("second.scope")
            tensors |= self.second.condition.tensors("second.condition")
        if self.examples is not None:
            tensors["examples.familiarity"] = self.examples.weights.astype(np.float32)
        data = save(tensors)
        card = {
            "format": FORMAT,
            **self.card,
            "encoder": self.encoder,
            "threshold": self.threshold,
            "condition_threshold": self.condition_threshold,
            "claim_threshold": self.claim_threshold,
            "near": self.near,
            "agreement_threshold": self.agreement_threshold,
            "calibration": {
                "scope": [self.scope_calibration.slope, self.scope_calibration.offset],
                "condition": [self.condition_calibration.slope, self.condition_calibration.offset],
            },
            "weights_sha256": hashlib.sha256(data).hexdigest(),
            "features": list(NAMES),
        }
        if self.examples is not None:
            card["examples"] = {**self.card.get("examples", {}), **self.examples.as_json()}
        if self.conditions is not None:
            card["condition_examples"] = self.conditions.as_json()
        if self.second is not None:
            second = self.second
            cross = save({k: np.ascontiguousarray(v) for k, v in second.cross.tensors.items()})
            card["cross"] = {
                "scale": second.cross.scale,
                "rerank_threshold": second.rerank_threshold,
                "sha256": hashlib.sha256(cross).hexdigest(),
            }
            write_atomically(folder / CROSS, cross)
        write_atomically(folder / WEIGHTS, data)
        text = json.dumps(card, indent=2, ensure_ascii=False)
        write_atomically(folder / CARD, f"{text}\n".encode())
        if self.second is None:  # left by an earlier gate of two stages
            (folder / CROSS).unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: str | Path) -> GateArtifact:
        """Read a gate.

        :raises ModelError: files are missing or malformed, or the card belongs to other weights.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        folder = Path(folder)
        try:
            data = (folder / WEIGHTS).read_bytes()
            card = current_keys(json.loads((folder / CARD).read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder}: expected a gate, {WEIGHTS} and {CARD}, found: {error}; "
                "train one with `errata gate train --out DIR`, or name another folder"
            ) from error
        _check_card(card, data, folder)
        try:
            tensors = load(data)
            return cls._read(tensors, card, _load_second_stage(folder, card, tensors))
        except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ModelError(
                f"{folder}: the gate's files do not hold what a gate of format {FORMAT} needs: "
                f"{type(error).__name__}: {error}; train it again"
            ) from error

    @classmethod
    def _read(
        cls, tensors: dict[str, Any], card: dict[str, Any], second: SecondStage | None
    ) -> GateArtifact:
        fields = {"format", "encoder", "threshold", "condition_threshold", "near", "calibration"}
        fields |= {"weights_sha256", "features", "cross", "agreement_threshold"}
        fields |= {"condition_examples", "claim_threshold"}
        agreement = card.get("agreement_threshold")
        examples, conditions = card.get("examples"), card.get("condition_examples")
        return cls(
            scope=Network.from_tensors(tensors, "scope"),
            condition=Network.from_tensors(tensors, "condition"),
            scope_calibration=Platt(*card["calibration"]["scope"]),
            condition_calibration=Platt(*card["calibration"]["condition"]),
            threshold=float(card["threshold"]),
            condition_threshold=float(card["condition_threshold"]),
            claim_threshold=float(card["claim_threshold"]),
            near=float(card["near"]),
            encoder=str(card["encoder"]),
            card={key: value for key, value in card.items() if key not in fields},
            second=second,
            agreement_threshold=None if agreement is None else float(agreement),
            examples=None
            if examples is None
            else ExampleCalibration.of_card(examples, tensors["examples.familiarity"]),
            conditions=None if conditions is None else ConditionCalibration.of_card(conditions),
        )


def odds_inputs(features: Array, logits: Array) -> Array:
    """Return the inputs of the second stage: the features, and two log-odds of the cross-encoder.

    :param features: of :func:`errata.gates.features.pair_features`, [n, f].
    :param logits: of none, same and follows, [n, 3].
    :return: float64 [n, f + 2].
    """
    odds = np.clip(logits[:, 1:] - logits[:, :1], -LOGIT_CLIP, LOGIT_CLIP) / LOGIT_CLIP
    return np.column_stack([features, odds])


def with_products(inputs: Array) -> Array:
    """Return the inputs of a scope's regression: those of a pair, and the products of any two.

    Without products, at a threshold by the same rule, 16% of other statements about a subject fire
    and 3% of questions about another relation, not 11% and 0.7% (and more is found). Conditions,
    whose texts are longer than those fitted on, are scored without: products run away there.

    :param inputs: [n, f].
    :return: float64 [n, f + f (f + 1) / 2].
    """
    one, other = np.triu_indices(inputs.shape[1])
    return np.column_stack([inputs, inputs[:, one] * inputs[:, other]])


def _classes(
    scope: Network, condition: Network, inputs: Array, conditions: NDArray[np.bool_]
) -> Array:
    """Return classes none, same and follows, [n, 3]; 0 for *follows* where there are two."""
    found = np.zeros((len(inputs), 3))
    found[~conditions] = scope(with_products(inputs[~conditions]))
    found[conditions, :2] = condition(inputs[conditions])
    return found


def read_cross(folder: Path) -> tuple[CrossEncoderDelta | None, dict[str, Any]]:
    """Return the cross-encoder of a gate, None where it has none, and its card, of any format.

    :raises ModelError: a file is missing, malformed, or belongs to another card.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        card = current_keys(json.loads((folder / CARD).read_text("utf-8")))
        if not isinstance(card["encoder"], str):
            raise TypeError("no encoder")
        if "cross" not in card:
            return None, card
        data, scale = (folder / CROSS).read_bytes(), float(card["cross"]["scale"])
        check_digest(card["cross"].get("sha256"), data, folder, CROSS)
        return CrossEncoderDelta(load(data), scale), card
    except ModelError as error:
        raise ModelError(f"{folder / CROSS}: {error}") from error
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"{folder}: expected a gate, its {CARD} and {CROSS}, found: {type(error).__name__}: "
            f"{error}; restore all files of the training run"
        ) from error


def _load_second_stage(
    folder: Path, card: dict[str, Any], tensors: dict[str, Any]
) -> SecondStage | None:
    """Return the second stage, None where the gate has none.

    :raises ModelError: its file is missing or belongs to another card.
    """
    cross, _ = read_cross(folder)
    if cross is None:
        return None
    return SecondStage(
        cross,
        Network.from_tensors(tensors, "second.scope"),
        Network.from_tensors(tensors, "second.condition"),
        float(card["cross"]["rerank_threshold"]),
    )


def _check_card(card: Any, data: bytes, folder: Path) -> None:
    """Raise ModelError for a card of another format, of other weights or of other features."""
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else type(card).__name__
        older = isinstance(card, dict) and found in (1, 2) and "cross" in card
        raise ModelError(
            f"{folder / CARD}: expected a gate card of format {FORMAT}, found {found!r}; "
            + (
                "its cross-encoder is still good: fit the rest again with "
                f"`errata gate train --start {folder} --steps 0 --out DIR`"
                if older
                else "train the gate again with this version of errata"
            )
        )
    check_digest(card.get("weights_sha256"), data, folder, WEIGHTS)
    if card.get("features") != list(NAMES):
        raise ModelError(
            f"{folder / CARD}: the gate was trained on other features than this version of errata "
            "makes; train it again"
        )
    thresholds = ("threshold", "condition_threshold", "claim_threshold", "near")
    check_probabilities(card, thresholds, folder)
    if card.get("agreement_threshold") is not None:
        check_probabilities(card, ("agreement_threshold",), folder)


def current_keys(card: Any) -> Any:
    """Return a card with the keys of version 0.1 under their present names."""
    if not isinstance(card, dict):
        return card
    renamed = {_RENAMED_KEYS.get(key, key): value for key, value in card.items()}
    if "cross" in renamed:
        renamed["cross"] = current_keys(renamed["cross"])
    return renamed


def check_probabilities(card: Mapping[str, Any], keys: Sequence[str], folder: Path) -> None:
    """Raise ModelError for a value outside [0, 1]; missing keys pass.

    :param card: the card.
    :param keys: keys of probabilities.
    :param folder: the gate's folder.
    """
    for key in keys:
        found = card.get(key, 0.0)
        if not isinstance(found, int | float) or not 0 <= found <= 1:
            raise ModelError(
                f"{folder / CARD}: expected {key} to be a number from 0 to 1, found {found!r}; "
                "restore all files from the same training run, or train the gate again"
            )


def check_digest(expected: object, data: bytes, folder: Path, name: str) -> None:
    """Raise ModelError for weights with another SHA-256 than the card's."""
    digest = hashlib.sha256(data).hexdigest()
    if expected != digest:
        raise ModelError(
            f"{folder / CARD}: the card was written for other weights: expected SHA-256 "
            f"{expected}, found {digest} in {name}; restore all files from the same training run"
        )
