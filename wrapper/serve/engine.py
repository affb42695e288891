"""The contract of what stands behind the endpoints: a local model, or an upstream server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fastapi.responses import Response

from errata.gates.base import Decision
from errata.output import Answer
from errata.router import EditRouter
from errata.serve.metrics import Metrics
from errata.serve.requests import Call


@dataclass(frozen=True, slots=True)
class BothAnswers:
    """A question's answers with and without edits.

    :param corrected: with the edits in force.
    :param base: of the model alone.
    :param decision: what was decided.
    :param seconds: until the corrected answer.
    """

    corrected: str
    base: str
    decision: Decision
    seconds: float


class Engine(Protocol):
    """Answers calls.

    Contract: a call that no edit governs gets what the model alone would answer; upstream, byte for
    byte.
    """

    name: str
    """Of the model."""
    metrics: Metrics

    @property
    def router(self) -> EditRouter:
        """The edits, and what decides by them."""

    async def answer(self, call: Call) -> Response:
        """Answer a call of either endpoint.

        :raises errata.serve.errors.ApiError: it cannot be answered.
        """

    async def models(self, headers: Mapping[str, str], *, keyed: bool) -> Response:
        """Return the list of models.

        :param headers: of the request.
        :param keyed: the server has keys of its own.
        """

    async def ready(self) -> str:
        """Return why calls cannot be answered now; empty where they can."""

    async def both(self, question: str) -> BothAnswers:
        """Return a question's answers with and without edits."""

    def ask_many(self, questions: Sequence[str]) -> list[Answer]:
        """Return the answers to several questions, for tests of patches; blocks."""

    async def close(self) -> None:
        """Release what it holds."""
