"""The probability that a topic or a claim holds, from the trained score and the examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from errata.gates.layers import odds_of, probability_of

CLIP = 8.0
"""Limit of the trained log-odds, either way."""
MOST_EXAMPLES = 3
"""Examples from which more do not count, as in what this was fitted on."""


@dataclass(frozen=True, slots=True)
class ConditionEvidence:
    """What is known of a query and a condition.

    :param trained: the trained probability.
    :param cosine: of the query and the condition's own words.
    :param nearest: the highest cosine of the query and these words or an example.
    :param examples: how many there are.
    """

    trained: float
    cosine: float
    nearest: float
    examples: int

    def inputs(self) -> tuple[float, ...]:
        """Return what the slopes of :class:`ConditionSlopes` are multiplied with, in order."""
        odds = odds_of(self.trained, CLIP)
        number = math.log1p(min(self.examples, MOST_EXAMPLES))
        return (1.0, odds, self.cosine, self.nearest, number, self.nearest * number)


@dataclass(frozen=True, slots=True)
class ConditionSlopes:
    """Fitted coefficients, of the log-odds that a condition holds.

    :param offset: their offset.
    :param trained: slope of the trained log-odds.
    :param cosine: slope of the cosine of the condition's own words.
    :param nearest: slope of the highest cosine.
    :param more: slope of ln(1 + n) of n examples.
    :param steeper: what the slope of the highest cosine gains by that.
    """

    offset: float
    trained: float
    cosine: float
    nearest: float
    more: float
    steeper: float


@dataclass(frozen=True, slots=True)
class ConditionCalibration:
    """A logistic regression for topics, and one for claims.

    A topic ("the user asks about card payments") is told by what a message is about, which the
    cosine measures; a claim ("the review says the food is cold") by what it says of it, which only
    the cross-encoder reads. ``errata gate fit-examples`` fits both.

    :param topic: the coefficients for topics.
    :param claim: the coefficients for claims.
    """

    topic: ConditionSlopes
    claim: ConditionSlopes

    def probability(self, evidence: ConditionEvidence, *, claim: bool) -> float:
        """Return the probability that the condition holds.

        :param claim: whether it is a claim.
        """
        slopes = self.claim if claim else self.topic
        values = (getattr(slopes, one.name) for one in fields(slopes))
        return probability_of(
            sum(slope * one for slope, one in zip(values, evidence.inputs(), strict=True))
        )

    def as_json(self) -> dict[str, Any]:
        """Return the card's entry."""
        return asdict(self)

    @classmethod
    def of_card(cls, entry: Mapping[str, Any]) -> ConditionCalibration:
        """Return what :meth:`as_json` gave.

        :raises KeyError, TypeError, ValueError: the entry is malformed.
        """
        topic, claim = (
            [float(entry[kind][one.name]) for one in fields(ConditionSlopes)]
            for kind in ("topic", "claim")
        )
        if not all(map(math.isfinite, (*topic, *claim))):
            raise ValueError(f"expected slopes that are finite, found {[*topic, *claim]}")
        return cls(ConditionSlopes(*topic), ConditionSlopes(*claim))
