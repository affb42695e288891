"""What is told of a query's way: the answer, and what each stage did and how long it took."""

from __future__ import annotations

import time
from dataclasses import dataclass

from errata.cache.filters.text_filter import Replacement
from errata.gates.base import Decision


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the way.

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
    """

    decisions: tuple[Decision, ...]
    replacements: tuple[tuple[Replacement, ...], ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer and why it is what it is.

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
    """Times the stages of one query's way."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._since = time.perf_counter()

    def lap(self, stage: str, note: str = "") -> None:
        """Close a stage: its time is what passed since the stage before."""
        now = time.perf_counter()
        self.steps.append(Step(stage, now - self._since, note))
        self._since = now
