"""The gate protocol, its scores, and how they become a decision by thresholds.

What an author listed decides first: a patch's own question and its ``fires`` always fire, its
``silent`` never, and neither does a query that is nearer to a ``silent`` example than to any other
of that patch. Everything else is a matter of probability and threshold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from errata.cache.records import Edit, Fact, Hit, LanguagePatch, Listed, Query, SourceLocation
from errata.cache.text.normalize import compare
from errata.cache.text.then_clause import verbatim_answer
from errata.deprecation import old_attribute
from errata.gates.compound import score_clauses
from errata.gates.examples import listed, listed_at, listed_or_near
from errata.gates.text import asks_yes_no

Route = Literal["verbatim", "reason", "refuse", "base"]
Relation = Literal["paraphrase", "entailed"]


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
    :param overruled: edits that are silent because a fired one of the same scope is later, or has a
        higher priority.
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
    overruled: tuple[Edit, ...] = ()
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


def route_of(edit: Edit, relation: Relation) -> Route:
    """Return the route of a query that an edit governs.

    Secrets are refused. The stored answer is given verbatim where the query paraphrases the edit's
    question, or a language patch quotes what to say; all else goes to the reasoner.
    """
    if isinstance(edit, Fact):
        if edit.forget:
            return "refuse"
        return "verbatim" if relation == "paraphrase" else "reason"
    if isinstance(edit, LanguagePatch):
        return "verbatim" if verbatim_answer(edit.consequence) is not None else "reason"
    return "base"


def make_decision(
    query: Query,
    hits: Sequence[Hit],
    scores: Scores,
    *,
    threshold: float,
    near: float,
    agreement_threshold: float | None = None,
    edit_thresholds: Mapping[str, float] | None = None,
) -> Decision:
    """Return the decision on one query.

    Where several edits claim the query, the higher priority wins, then the higher probability,
    then the order of the cache.

    :param scores: the scores of the hits, [n].
    :param threshold: the probability from which an edit fires.
    :param near: the share of its threshold from which a candidate that does not fire is a near
        miss, 0 to 1.
    :param agreement_threshold: the probability from which a fact fires if the base model agrees;
        unused for facts with a threshold of their own or tests that must stay silent, and for
        yes-or-no questions: a base model that answers these with a name has misread them.
    :param edit_thresholds: thresholds of single edits, by id.
    """
    agreement = None if asks_yes_no(query.text) else agreement_threshold
    judged = []
    for hit, probability, entailed in zip(
        hits, scores.probability.tolist(), scores.entailed.tolist(), strict=True
    ):
        edit, edit_threshold = hit.edit, (edit_thresholds or {}).get(hit.edit.id, threshold)
        on_list, near_silent = listed_or_near(query, hit)
        agrees = edit_threshold == threshold and isinstance(edit, Fact) and not edit.tests.silent
        candidate = Candidate(
            edit_id=edit.id,
            kind=edit.kind,
            scope=edit.scope,
            probability=float(on_list == "fires") if on_list or near_silent else probability,
            threshold=edit_threshold,
            relation="entailed" if entailed >= 0.5 else "paraphrase",
            location=edit.location,
            agreement_threshold=agreement if agrees else None,
            listed=on_list,
            listed_at=listed_at(edit, query.text) if on_list else None,
            near_silent=near_silent,
        )
        fires = on_list == "fires" or candidate.probability >= edit_threshold
        judged.append((candidate, edit, fires))
    judged.sort(key=lambda one: (-one[0].probability, one[0].listed != "fires"))
    claiming = sorted((one for one in judged if one[2]), key=lambda one: -one[1].priority)
    return Decision(
        query=query.text,
        candidates=tuple(candidate for candidate, _, _ in judged),
        fired=tuple(edit for _, edit, _ in claiming),
        route=route_of(claiming[0][1], claiming[0][0].relation) if claiming else "base",
        near_misses=tuple(
            candidate
            for candidate, _, fires in judged
            if not fires and near * candidate.threshold <= candidate.probability
        ),
    )


def enforce_lists(decision: Decision, query: Query, hits: Sequence[Hit]) -> Decision:
    """Return a decision in which what an author listed decides, whatever the gate.

    Decisions of :func:`make_decision` need nothing changed; another gate's may.

    :param decision: of any gate.
    :param query: what it is about.
    :param hits: the candidates it was made from.
    """
    found = {hit.edit.id: listed_or_near(query, hit) for hit in hits}
    fires = {key for key, (which, _) in found.items() if which == "fires"}
    silent = {key for key, (which, near) in found.items() if which == "silent" or near}
    fired = {edit.id for edit in decision.fired}
    if fires <= fired and not silent & fired:
        return decision
    edits = {hit.edit.id: hit.edit for hit in hits}
    order = sorted(
        (edit for key, edit in edits.items() if key in (fired | fires) - silent),
        key=lambda edit: (-edit.priority, edit.id not in fires),
    )
    candidates = tuple(
        replace(
            one,
            probability=float(one.edit_id in fires),
            listed=found[one.edit_id][0],
            listed_at=listed_at(edits[one.edit_id], query.text) if found[one.edit_id][0] else None,
        )
        if one.edit_id in fires | silent
        else one
        for one in decision.candidates
    )
    relations = {one.edit_id: one.relation for one in candidates}
    return replace(
        decision,
        fired=tuple(order),
        route=route_of(order[0], relations.get(order[0].id, "paraphrase")) if order else "base",
        candidates=candidates,
        near_misses=tuple(one for one in decision.near_misses if one.edit_id not in fires | silent),
    )


class ThresholdGate(ABC):
    """The decisions of a gate with thresholds; a subclass scores.

    :param threshold: the probability from which an edit fires.
    :param near: share of the threshold from which a candidate is a near miss.
    :param edit_thresholds: thresholds of single edits, by id.
    """

    agreement_threshold: float | None = None

    def __init__(
        self, threshold: float, near: float, edit_thresholds: Mapping[str, float] | None = None
    ) -> None:
        self.threshold = threshold
        self._near = near
        self._edit_thresholds = dict(edit_thresholds or {})

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return probabilities of each query against its edits, those that lists decide 1 or 0."""
        left: list[list[int]] = []
        scores: list[Scores] = []
        for query, some in zip(queries, edits, strict=True):
            text = query if isinstance(query, str) else query.text
            probability = np.zeros(len(some))
            undecided = []
            for at, one in enumerate(some):
                edit = one.edit if isinstance(one, Hit) else one
                on_list = listed(edit, text)
                probability[at] = float(on_list == "fires")
                if on_list == "silent" or (on_list and compare(edit.scope, text) == "same"):
                    continue
                undecided.append(at)
            left.append(undecided)
            scores.append(Scores(probability, np.zeros(len(some))))
        rest = [[some[at] for at in places] for some, places in zip(edits, left, strict=True)]
        unlisted = score_clauses(self, queries, rest)
        for known, places, scored in zip(scores, left, unlisted, strict=True):
            are_listed = known.probability[places] == 1.0
            known.probability[places] = np.where(are_listed, 1.0, scored.probability)
            # a listed query is entailed only where the gate itself takes it for governed
            known.entailed[places] = scored.entailed * np.where(are_listed, scored.probability, 1.0)
        return scores

    @abstractmethod
    def score_unlisted(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return probabilities of each query against its edits, without regard to their lists."""

    def decide_batch(
        self, queries: Sequence[Query], hits: Sequence[Sequence[Hit]]
    ) -> list[Decision]:
        """Return the decision on each query, given what the cache found."""
        return [
            make_decision(
                query,
                found,
                scores,
                threshold=self.threshold,
                near=self._near,
                agreement_threshold=self.agreement_threshold,
                edit_thresholds={hit.edit.id: self.threshold_of(hit.edit) for hit in found},
            )
            for query, found, scores in zip(
                queries, hits, self.score_batch(queries, hits), strict=True
            )
        ]

    def leave_one_out(self, edit: Edit) -> tuple[LeftOut, ...]:
        """Return what would be decided on each example of an edit if it were not listed.

        :param edit: a fact or a language patch; its own question stays.
        """
        lists: tuple[tuple[Listed, tuple[str, ...]], ...]
        lists = (("fires", edit.tests.fires), ("silent", edit.tests.silent))
        others: list[tuple[str, Listed, Edit]] = []
        for which, texts in lists:
            for text in texts:
                rest: dict[str, Any] = {which: tuple(one for one in texts if one != text)}
                tests = replace(edit.tests, lines=(), **rest)
                others.append((text, which, replace(edit, tests=tests)))
        scores = self.score_batch([text for text, _, _ in others], [[e] for _, _, e in others])
        found = []
        for (text, which, left), one in zip(others, scores, strict=True):
            probability = float(one.probability[0])
            found.append(LeftOut(text, which, probability, probability >= self.threshold_of(left)))
        return tuple(found)

    def score(self, query: Query | str, edits: Sequence[Edit | Hit]) -> Scores:
        """Return probabilities of one query against each of n edits."""
        return self.score_batch([query], [edits])[0]

    def decide(self, query: Query, hits: Sequence[Hit]) -> Decision:
        """Return the decision on one query, given what the cache found."""
        return self.decide_batch([query], [hits])[0]

    def threshold_of(self, edit: Edit) -> float:
        """Return the probability from which an edit fires."""
        return self._edit_thresholds.get(edit.id, self.threshold)
