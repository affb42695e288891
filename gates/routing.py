"""From scores to a decision; shared by every gate.

What an author listed decides first: a patch's own question and its ``fires`` always fire, its
``silent`` never, and neither does a query that is nearer to a ``silent`` example than to any other
of that patch. Everything else is a matter of probability and threshold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from errata.cache.records import Edit, Fact, Hit, LanguagePatch, Query
from errata.cache.text.spelling import compare
from errata.cache.text.then_clause import verbatim_answer
from errata.gates.base import Candidate, Decision, LeftOut, Listed, Relation, Route, Scores
from errata.gates.examples import listed, listed_at
from errata.gates.text import asks_yes_no


def route_of(edit: Edit, relation: Relation) -> Route:
    """Return the route of a query that an edit governs.

    Secrets are refused, entailed queries included. The stored answer is given verbatim where the
    query paraphrases the edit's question, or a language patch quotes what to say; all else goes to
    the reasoner.
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
        unused for facts with a threshold of their own or tests that must stay silent.
    :param edit_thresholds: thresholds of single edits, by id.
    """
    thresholds = edit_thresholds or {}
    agreement = agreement_threshold if base_can_agree(query.text) else None
    judged = []
    for hit, probability, entailed in zip(
        hits, scores.probability.tolist(), scores.entailed.tolist(), strict=True
    ):
        edit_threshold = thresholds.get(hit.edit.id, threshold)
        # a threshold of its own, or a test that must stay silent, leaves nothing to agreement
        has_default = edit_threshold == threshold and not hit.edit.tests.silent
        candidate = _candidate(
            query,
            hit,
            probability,
            edit_threshold,
            relation="entailed" if entailed >= 0.5 else "paraphrase",
            agreement_threshold=agreement if has_default and isinstance(hit.edit, Fact) else None,
        )
        judged.append((candidate, hit.edit))
    judged.sort(key=lambda pair: (-pair[0].probability, pair[0].listed != "fires"))
    claiming = [pair for pair in judged if claims(pair[0])]
    claiming.sort(key=lambda pair: -pair[1].priority)
    candidates = tuple(candidate for candidate, _ in judged)
    return Decision(
        query=query.text,
        candidates=candidates,
        fired=tuple(edit for _, edit in claiming),
        route=route_of(claiming[0][1], claiming[0][0].relation) if claiming else "base",
        near_misses=tuple(
            candidate
            for candidate in candidates
            if near * candidate.threshold <= candidate.probability and not claims(candidate)
        ),
    )


def _candidate(
    query: Query,
    hit: Hit,
    probability: float,
    threshold: float,
    *,
    relation: Relation,
    agreement_threshold: float | None,
) -> Candidate:
    """Return the candidate that a hit is, with the probability that the lists leave to it."""
    edit = hit.edit
    on_list, near_silent = listed(edit, query.text), _near_silent(query, hit)
    return Candidate(
        edit_id=edit.id,
        kind=edit.kind,
        scope=edit.scope,
        probability=_decided(on_list, near_silent, probability),
        threshold=threshold,
        relation=relation,
        location=edit.location,
        agreement_threshold=agreement_threshold,
        listed=on_list,
        listed_at=listed_at(edit, query.text) if on_list else None,
        near_silent=near_silent and on_list is None,
    )


def claims(candidate: Candidate) -> bool:
    """Return whether a candidate fires, as far as the gate decides."""
    return candidate.listed == "fires" or candidate.probability >= candidate.threshold


def enforce_lists(decision: Decision, query: Query, hits: Sequence[Hit]) -> Decision:
    """Return a decision in which what an author listed decides, whatever the gate.

    Gates that decide by :func:`make_decision` need nothing changed; another gate's decision may.

    :param decision: of any gate.
    :param query: what it is about.
    :param hits: the candidates it was made from.
    """
    on_list = {hit.edit.id: listed(hit.edit, query.text) for hit in hits}
    against = {hit.edit.id for hit in hits if _near_silent(query, hit)}
    fired = {edit.id for edit in decision.fired}
    fires = {key for key, which in on_list.items() if which == "fires"}
    silent = {
        k for k, which in on_list.items() if which == "silent" or (not which and k in against)
    }
    if fires <= fired and not silent & fired:
        return decision
    edits = {hit.edit.id: hit.edit for hit in hits if hit.edit.id in (fired | fires) - silent}
    places = {hit.edit.id: listed_at(hit.edit, query.text) for hit in hits}
    candidates = tuple(
        replace(
            one,
            probability=_decided(on_list[one.edit_id], one.edit_id in silent, one.probability),
            listed=on_list[one.edit_id],
            listed_at=places[one.edit_id] if on_list[one.edit_id] else None,
        )
        if one.edit_id in on_list
        else one
        for one in decision.candidates
    )
    order = sorted(edits.values(), key=lambda edit: (-edit.priority, edit.id not in fires))
    relations = {one.edit_id: one.relation for one in candidates}
    return replace(
        decision,
        fired=tuple(order),
        route=route_of(order[0], relations.get(order[0].id, "paraphrase")) if order else "base",
        candidates=candidates,
        near_misses=tuple(one for one in decision.near_misses if one.edit_id not in fires | silent),
    )


def _near_silent(query: Query, hit: Hit) -> bool:
    """Return whether a query is nearer to a counterexample than to any example, as far as known."""
    if not hit.examples:
        return False
    cosines = (score for text, score in hit.examples if compare(text, query.text) != "other")
    return hit.counterexample > max(cosines, default=-1.0)


def _decided(on_list: Listed | None, near_silent: bool, probability: float) -> float:
    """Return the probability, where the lists leave it to the gate."""
    if on_list is not None:
        return float(on_list == "fires")
    return 0.0 if near_silent else probability


def base_can_agree(query: str) -> bool:
    """Return whether the base model's answer can show that a query paraphrases a question.

    Yes-or-no questions cannot: a base model that answers them with a name has misread them.
    """
    return not asks_yes_no(query)


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
        unlisted = self.score_unlisted(queries, rest)
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
                edit_thresholds=self._thresholds(found),
            )
            for query, found, scores in zip(
                queries, hits, self.score_batch(queries, hits), strict=True
            )
        ]

    def leave_one_out(self, edit: Edit) -> tuple[LeftOut, ...]:
        """Return what would be decided on each example of an edit if it were not listed.

        :param edit: a fact or a language patch; its own question stays.
        """
        tests = edit.tests
        others: list[tuple[str, Listed, Edit]] = []
        for which, texts in (("fires", tests.fires), ("silent", tests.silent)):
            for text in texts:
                rest = tuple(other for other in texts if other != text)
                lists: dict[str, Any] = {"lines": (), which: rest}
                others.append((text, which, replace(edit, tests=replace(tests, **lists))))  # type: ignore[arg-type]
        scores = self.score_batch([text for text, _, _ in others], [[e] for _, _, e in others])
        found = []
        for (text, which, left), one in zip(others, scores, strict=True):
            probability = float(one.probability[0])
            hit = Hit(left, 0.0, np.zeros(0, np.float32))
            threshold = self._thresholds([hit]).get(left.id, self.threshold)
            found.append(LeftOut(text, which, probability, probability >= threshold))
        return tuple(found)

    def score(self, query: Query | str, edits: Sequence[Edit | Hit]) -> Scores:
        """Return probabilities of one query against each of n edits."""
        return self.score_batch([query], [edits])[0]

    def decide(self, query: Query, hits: Sequence[Hit]) -> Decision:
        """Return the decision on one query, given what the cache found."""
        return self.decide_batch([query], [hits])[0]

    def _thresholds(self, hits: Sequence[Hit]) -> Mapping[str, float]:
        """Return thresholds of single edits, by id."""
        return self._edit_thresholds
