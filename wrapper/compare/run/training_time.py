"""How long what a backend needs was trained, as its own cards tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Seconds = dict[str, float]
"""Wall time of each training, by what was trained."""


def of_parts(gate: Any, reasoner: Any) -> Seconds:
    """Return how long a gate and a reasoner were trained; what needed none is not there.

    :param gate: of a pipeline.
    :param reasoner: of a pipeline.
    """
    return _told("gate", card_of(gate, "stored")) | _told("reasoner", card_of(reasoner, "chosen"))


def card_of(part: Any, inner: str) -> Mapping[str, Any] | None:
    """Return what a gate's or a reasoner's card says of its training, None where it has no card.

    :param part: the gate or reasoner.
    :param inner: its attribute in which the one with the card stands, if it has that attribute.
    """
    card = getattr(getattr(part, inner, part), "card", None)
    found = card if isinstance(card, dict) else getattr(card, "training", None)
    return found if isinstance(found, Mapping) else None


def _told(name: str, card: Mapping[str, Any] | None) -> Seconds:
    """Return the seconds on a card, and on those of other trainings that it tells of inside."""
    if card is None:
        return {}
    found: Seconds = {}
    if isinstance(card.get("seconds"), int | float):
        begun = card.get("started from")  # a part that was there, whose own training comes on top
        found[f"{name}, from {begun}" if begun else name] = float(card["seconds"])
    for key, inside in card.items():
        if isinstance(inside, Mapping):
            found |= _told(f"{name}: {key}", inside)
    return found
