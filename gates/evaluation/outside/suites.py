"""Suites: messages and edits, and the rows that verdicts on them give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from errata.gates.evaluation.metrics import Array, threshold_at_rate
from errata.gates.evaluation.outside.deciders import Decider, Message, Step, Trial, Verdict
from errata.gates.evaluation.report import Row
from errata.intervals import Estimate, estimate

IN_SCOPE, CALIBRATION, OUT_OF_SCOPE, NEAR = "in scope", "calibration", "out of scope", "near"
NONE = Estimate(np.nan, 0.0, 1.0, 0, 0)
"""The figure of no cases."""


Measure = Callable[[Decider, Step], list[Row]]
"""Returns the rows of a decider; none where it cannot decide on the messages."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A suite whose edits and messages are drawn.

    :param total: messages decided.
    :param measure: measures a decider.
    """

    total: int
    measure: Measure

    @classmethod
    def of(cls, trials: Sequence[Trial], measure: Callable[..., list[Row]]) -> Measurement:
        """Return the measurement of trials, which are the first argument of the function."""
        total = sum(len(trial.messages) for trial in trials)
        return cls(total, partial(measure, trials))


@dataclass(frozen=True, slots=True)
class Suite:
    """Rows that are measured together.

    :param name: of the suite.
    :param prepare: draws its edits and messages.
    """

    name: str
    prepare: Callable[[], Measurement]


def verdicts_on(decider: Decider, trials: Sequence[Trial], step: Step) -> list[Verdict]:
    """Return the verdicts on all trials; none where the decider cannot decide."""
    return [verdict for trial in trials for verdict in decider.decide(trial, step) or ()]


def decided(
    rows: Callable[[Sequence[Verdict]], list[Row]],
    trials: Sequence[Trial],
    decider: Decider,
    step: Step,
) -> list[Row]:
    """Return the rows of the verdicts on all trials; none where the decider cannot decide."""
    verdicts = verdicts_on(decider, trials, step)
    return rows(verdicts) if verdicts else []


def clustered(
    verdicts: Iterable[Verdict], true: Callable[[Verdict], bool], part: str = ""
) -> Estimate:
    """Return the share of verdicts that are true; its interval resamples whole cases.

    :param part: of the trial; all if empty.
    """
    return estimate(values_of(verdicts, true, part)) or NONE


def values_of(
    verdicts: Iterable[Verdict], true: Callable[[Verdict], bool], part: str = ""
) -> dict[str, list[float]]:
    """Return zeros and ones by case; a message without a case is one of its own."""
    found: dict[str, list[float]] = {}
    for one in verdicts:
        if part in ("", one.message.part):
            found.setdefault(one.message.case or one.message.text, []).append(float(true(one)))
    return found


def margins_of(verdicts: Iterable[Verdict], part: str) -> Array:
    """Return the margins of a part, float64 [n]."""
    return np.array([one.margin for one in verdicts if one.message.part == part])


def hit(verdict: Verdict) -> bool:
    """Return whether any edit fires."""
    return verdict.hit


def right(verdict: Verdict) -> bool:
    """Return whether the right edit answers."""
    return verdict.right


def wrong(verdict: Verdict) -> bool:
    """Return whether another edit answers."""
    return verdict.hit and not verdict.right


def shipped_rows(what: str, verdicts: Sequence[Verdict]) -> list[Row]:
    """Return the rows of right and wrong patches and of out-of-scope hits, as shipped."""
    return [
        Row(f"{what}: right patch", clustered(verdicts, right, IN_SCOPE)),
        Row(f"{what}: wrong patch", clustered(verdicts, wrong, IN_SCOPE)),
        Row(f"{what}: out-of-scope hits", clustered(verdicts, hit, OUT_OF_SCOPE)),
    ]


def rate_rows(what: str, verdicts: Sequence[Verdict], rate: float) -> list[Row]:
    """Return the same rows at the threshold that a rate of the calibration messages reaches."""
    calibration = margins_of(verdicts, CALIBRATION)
    if not len(calibration):
        return []
    threshold = threshold_at_rate(calibration, rate)
    what = f"{what}, at {rate:.0%} out-of-scope hits"

    def found(one: Verdict) -> bool:
        return one.margin >= threshold and one.best == one.message.right

    def other(one: Verdict) -> bool:
        return one.margin >= threshold and one.best != one.message.right

    return [
        Row(f"{what}: right patch", clustered(verdicts, found, IN_SCOPE)),
        Row(f"{what}: wrong patch", clustered(verdicts, other, IN_SCOPE)),
        Row(f"{what}: out-of-scope hits", clustered(
            verdicts, lambda one: one.margin >= threshold, OUT_OF_SCOPE)),
    ]  # fmt: skip


def drawn(rows: Sequence[Message], most: int) -> tuple[Message, ...]:
    """Return at most so many messages of each part, spread evenly over their order."""
    return limited([Trial((), tuple(rows))], most)[0].messages


def limited(trials: Sequence[Trial], most: int) -> list[Trial]:
    """Return the trials with at most so many messages of each part in all of them, spread evenly.

    :param trials: their messages keep their order.
    """
    places: dict[str, list[tuple[int, int]]] = {}
    for at, trial in enumerate(trials):
        for place, message in enumerate(trial.messages):
            places.setdefault(message.part, []).append((at, place))
    kept = {some[at] for some in places.values() for at in _spread(len(some), most)}
    return [
        Trial(trial.edits, tuple(
            message for place, message in enumerate(trial.messages) if (at, place) in kept
        ))
        for at, trial in enumerate(trials)
    ]  # fmt: skip


def _spread(count: int, most: int) -> list[int]:
    """Return at most so many places of a count, spread evenly."""
    return [int(at) for at in np.linspace(0, count - 1, min(most, count)).round()]
