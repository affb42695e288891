"""The gate protocol, its scores and its decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from errata.cache.records import Edit, Hit, Query, SourceLocation
from errata.deprecation import old_attribute

Route = Literal["verbatim", "reason", "refuse", "base"]
Relation = Literal["paraphrase", "entailed"]
Listed = Literal["fires", "silent"]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A gate's scores of one query against n edits.

    :param probability: that the edit governs the query, float64 [n], calibrated.
    :param entailed: that a governed query is entailed by the edit, rather than a paraphrase of its
        question, float64 [n].
    """

    probability: NDArray[np.float64]
    entailed: NDArray[np.float64]

    follows = old_attribute("follows", "entailed")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One edit the gate considered.

    :param edit_id: the edit's id.
    :param kind: the edit's kind.
    :param scope: the edit's question or condition.
    :param probability: that it governs the query, 0 to 1.
    :param threshold: the probability from which it fires.
    :param relation: the query is a *paraphrase* of the edit's question or *entailed* by the edit.
    :param location: ``file:line`` of the patch, if it came from a file.
    :param agreement_threshold: the probability from which it fires if the base model gives the
        query and the edit's question the same answer; None: the base model is not consulted.
    :param base_agreed: it fired because the base model agreed.
    :param listed: the patch's list that the query is on, which decided; None: it is on none.
    :param listed_at: ``file:line`` of that text in the list, if it came from a file.
    :param near_silent: the query is nearer to a ``silent`` example than to any that fires.
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
    listed: Listed | None = None
    listed_at: SourceLocation | None = None
    near_silent: bool = False

    agreeing = old_attribute("agreeing", "agreement_threshold")
    agreed = old_attribute("agreed", "base_agreed")


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on one query.

    :param query: the query, after the query patterns.
    :param candidates: what was considered, most probable first; then those of later hops.
    :param fired: the edits in force for this query, best first; empty on a miss.
    :param route: the stored answer, the reasoner, the refusal or the base model.
    :param near_misses: candidates just under their threshold.
    :param canonical_query: the query with an alias replaced by an edit's subject, which the gate
        scored ("Who leads Bombay?" as "Who leads Mumbai?"); empty where the query itself was.
    :param sub_question: the question that is left after the first hops, with the edits' answers
        filled in; empty without a hop.
    :param hops: number of fired edits, from the first, whose answers were filled in. The others
        are in force for the sub-question; without any, the base model answers it.
    :param resolvers: names of the resolvers that were given the decision, in order.
    :param changed_by: names of those of them that changed it.
    :param withheld: candidates that would have fired by the gate, had the rollout of their edits
        included the conversation.
    :param mentioned: the query only names the subject of the fired facts; they are background.
    """

    query: str
    candidates: tuple[Candidate, ...] = ()
    fired: tuple[Edit, ...] = ()
    route: Route = "base"
    near_misses: tuple[Candidate, ...] = ()
    canonical_query: str = ""
    sub_question: str = ""
    hops: int = 0
    resolvers: tuple[str, ...] = ()
    changed_by: tuple[str, ...] = ()
    mentioned: bool = False
    withheld: tuple[Candidate, ...] = ()

    @property
    def hit(self) -> bool:
        """Whether any edit governs the query."""
        return bool(self.fired)

    @property
    def effective_query(self) -> str:
        """The text that is answered: sub-question, canonical query or query."""
        return self.sub_question or self.canonical_query or self.query

    @property
    def remaining_edits(self) -> tuple[Edit, ...]:
        """The edits by which the effective query is answered, best first."""
        return self.fired[self.hops :]

    renamed = old_attribute("renamed", "canonical_query")
    further = old_attribute("further", "sub_question")
    steps = old_attribute("steps", "hops")
    asked = old_attribute("asked", "effective_query")
    in_force = old_attribute("in_force", "remaining_edits")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a gate would decide on an example of an edit if it were not listed.

    :param text: the example.
    :param listed: the list it is on.
    :param probability: that the edit governs it, by its question and its other examples.
    :param fires: whether that reaches the threshold.
    """

    text: str
    listed: Listed
    probability: float
    fires: bool

    @property
    def correct(self) -> bool:
        """Whether that is what the list says."""
        return self.fires == (self.listed == "fires")


@runtime_checkable
class Gate(Protocol):
    """Decides whether, and how, edits govern queries.

    Contract: calibrated (of the pairs scored p, about p are in scope); pure; a query gets the same
    result alone and in any batch; a query without hits is out of scope.
    """

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return calibrated probabilities of n queries, or texts, each against its edits."""

    def decide_batch(
        self, queries: Sequence[Query], hits: Sequence[Sequence[Hit]]
    ) -> list[Decision]:
        """Return the decisions on n queries, each with its hits from the cache."""
