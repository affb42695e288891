"""Training time of a backend's parts, from their cards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TrainingSeconds = dict[str, float]
"""Wall time of each training, by part."""


def training_seconds(gate: Any, reasoner: Any) -> TrainingSeconds:
    """Return the training time of a gate and a reasoner; untrained parts are absent.

    :param gate: of a pipeline.
    :param reasoner: of a pipeline.
    """
    gates, reasoners = training_card(gate, "artifact"), training_card(reasoner, "chosen")
    return _seconds("gate", gates) | _seconds("reasoner", reasoners)


def training_card(part: Any, inner: str) -> Mapping[str, Any] | None:
    """Return the training section of a gate's or a reasoner's card, None where it has no card.

    :param part: the gate or reasoner.
    :param inner: the attribute that holds the card's owner, where ``part`` wraps one.
    """
    card = getattr(getattr(part, inner, part), "card", None)
    found = card if isinstance(card, dict) else getattr(card, "training", None)
    return found if isinstance(found, Mapping) else None


def _seconds(name: str, card: Mapping[str, Any] | None) -> TrainingSeconds:
    """Return the seconds on a card, and those of trainings nested in it."""
    if card is None:
        return {}
    found: TrainingSeconds = {}
    if isinstance(card.get("seconds"), int | float):
        begun = card.get("started from")  # pretrained; its training is not included
        found[f"{name}, from {begun}" if begun else name] = float(card["seconds"])
    for key, inside in card.items():
        if isinstance(inside, Mapping):
            found |= _seconds(f"{name}: {key}", inside)
    return found
