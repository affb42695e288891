"""The contract of a gate, and the decision it makes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from errata.cache.records import Edit, Hit, Query, SourceLocation

Route = Literal["verbatim", "reason", "refuse", "base"]
Relation = Literal["paraphrase", "entailed"]


def _old_name(old: str, new: str) -> property:
    """Return a property for an attribute's name of version 0.1, which warns."""

    def read(record: object) -> object:
        warnings.warn(
            f"{type(record).__name__}.{old} is called {new} since version 0.2 and will be removed "
            f"in 0.3; use .{new}",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(record, new)

    return property(read)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a gate says of one query against n edits.

    :param probability: that the edit governs the query, float64 [n], calibrated.
    :param entailed: that the query, if governed, only follows from the edit and is not its own
        question in other words, float64 [n].
    """

    probability: NDArray[np.float64]
    entailed: NDArray[np.float64]

    follows = _old_name("follows", "entailed")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One edit the gate considered.

    :param edit_id: the edit's id.
    :param kind: the edit's kind.
    :param scope: the edit's question or condition.
    :param probability: that it governs the query, 0 to 1.
    :param threshold: the probability from which it fires.
    :param relation: the query is the edit's own question (*same*) or *follows* from it.
    :param location: ``file:line`` of the patch, if it came from a file.
    :param agreement_threshold: the probability from which it fires if the base model answers the query as it
        answers the edit's question; None where the base is not asked.
    :param base_agreed: it fired because the base model did.
    """

    edit_id: str
    kind: str
    scope: str
    probability: float
    threshold: float
    relation: Relation
    location: SourceLocation | None = None
    agreement_threshold: float | None = None
    base_agreed: bool = False

    agreeing = _old_name("agreeing", "agreement_threshold")
    agreed = _old_name("agreed", "base_agreed")


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one query; made in one place and read by everyone else.

    :param query: the query, as the patterns left it.
    :param candidates: what was considered, most probable first; then what later steps did.
    :param fired: the edits in force for this query, best first; empty on a miss.
    :param route: who answers: the stored answer, the reasoner, the refusal or the base model.
    :param near_misses: candidates in the abstain band just under their threshold.
    :param canonical_query: the query with an edit's name for something that it calls otherwise, which the
        gate saw in its place; empty where it saw the query itself.
    :param sub_question: the query with what edits answer put in it, which is answered in its place;
        empty where none was.
    :param hops: how many of the fired edits, the first ones, were put in it. The others are in
        force for what it asks then; where there are none, the base model answers that.
    """

    query: str
    candidates: tuple[Candidate, ...] = ()
    fired: tuple[Edit, ...] = ()
    route: Route = "base"
    near_misses: tuple[Candidate, ...] = ()
    canonical_query: str = ""
    sub_question: str = ""
    hops: int = 0

    @property
    def hit(self) -> bool:
        """Whether any edit governs the query."""
        return bool(self.fired)

    @property
    def effective_query(self) -> str:
        """What is to be answered: the query, or what became of it."""
        return self.sub_question or self.canonical_query or self.query

    @property
    def remaining_edits(self) -> tuple[Edit, ...]:
        """The edits by which that is answered, best first."""
        return self.fired[self.hops :]

    renamed = _old_name("renamed", "canonical_query")
    further = _old_name("further", "sub_question")
    steps = _old_name("steps", "hops")
    asked = _old_name("asked", "effective_query")
    in_force = _old_name("in_force", "remaining_edits")


@runtime_checkable
class Gate(Protocol):
    """Decides whether, and how, edits govern queries.

    Contract: calibrated (of the pairs scored p, about p are in scope); pure; a query gets the same
    result alone and in any batch; a query without hits is out of scope.
    """

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return calibrated probabilities of each query against its edits.

        :param queries: n queries, or their texts.
        :param edits: for each query the edits it is scored against; a hit brings its embedding.
        """

    def decide_batch(
        self, queries: Sequence[Query], hits: Sequence[Sequence[Hit]]
    ) -> list[Decision]:
        """Return the decision on each query.

        :param queries: n queries.
        :param hits: for each query what the cache found.
        """


@runtime_checkable
class HasAgreementThreshold(Protocol):
    """A gate below whose threshold the base model is consulted."""

    @property
    def agreement_threshold(self) -> float | None:
        """Lowest probability at which the base model is consulted; None: never."""


class SingleQueryMixin:
    """``score`` and ``decide`` for one query, on top of a gate's batch methods."""

    def score(self: Gate, query: Query | str, edits: Sequence[Edit | Hit]) -> Scores:
        """Return calibrated probabilities of one query against each of n edits."""
        return self.score_batch([query], [edits])[0]

    def decide(self: Gate, query: Query, hits: Sequence[Hit]) -> Decision:
        """Return the decision on one query, given what the cache found."""
        return self.decide_batch([query], [hits])[0]
