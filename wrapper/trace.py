"""Answers and traces: what each stage of ``generate`` did and how long it took."""

from __future__ import annotations

import time
from dataclasses import dataclass

from errata.cache.filters.text_filter import Replacement
from errata.gates.base import Decision


@dataclass(frozen=True, slots=True)
class Step:
    """One stage.

    :param stage: rewrite, cache, gate, base, reasoner or filter.
    :param seconds: wall time of the stage, for the whole batch.
    :param note: what it did, in a few words.
    """

    stage: str
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """How a batch of queries was answered.

    :param decisions: one a row, in order.
    :param replacements: for each row, what the regex patches did.
    :param steps: the stages, in order, with their times.
    :param outcomes: for each row, what became of the reasoner's answer when it was held against
        the edit: ``accepted``, ``asked again``, ``overruled``; empty where it was not.
    """

    decisions: tuple[Decision, ...]
    replacements: tuple[tuple[Replacement, ...], ...] = ()
    steps: tuple[Step, ...] = ()
    outcomes: tuple[str, ...] = ()

    def row(self, row: int) -> Trace:
        """Return the trace of one row."""
        return Trace(
            (self.decisions[row],),
            self.replacements[row : row + 1],
            self.steps,
            self.outcomes[row : row + 1],
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and how it was made.

    :param text: the answer.
    :param decision: what was decided: the candidates, what fired, the route.
    :param trace: what each stage did.
    """

    text: str
    decision: Decision
    trace: Trace

    def __str__(self) -> str:
        """Return the text."""
        return self.text


class StopWatch:
    """Times the stages of one call."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._since = time.perf_counter()

    def lap(self, stage: str, note: str = "") -> None:
        """Record a stage with the time since the stage before."""
        now = time.perf_counter()
        self.steps.append(Step(stage, now - self._since, note))
        self._since = now
