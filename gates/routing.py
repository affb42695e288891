"""From what a gate says of the candidates to a decision; shared by every gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from errata.cache.records import Edit, Fact, Hit, LanguagePatch, Query
from errata.cache.text.then_clause import verbatim_answer
from errata.gates.base import Candidate, Decision, Relation, Route, Scores
from errata.gates.text import asks_yes_no


def route_of(edit: Edit, relation: Relation) -> Route:
    """Return who answers when an edit fires.

    A secret is refused, also where the query only follows from it; a stored answer is said as it
    stands where the query is the edit's own question, or the patch says what to say; otherwise
    somebody has to think.
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

    Where several edits claim the query, an edit that another one supersedes stands back; then the
    higher priority wins, then the higher probability, then the cache's own order.

    :param scores: probability and follows of each hit, [n].
    :param threshold: the probability from which an edit fires.
    :param near: the share of its threshold from which a candidate that does not fire is a near
        miss, 0 to 1.
    :param agreement_threshold: the probability from which a fact fires that the base model agrees to; not
        where its threshold is one of its own, or its tests say when it is to be silent.
    :param edit_thresholds: thresholds of single edits, by id.
    """
    own = edit_thresholds or {}

    def candidate(edit: Edit, probability: float, follows: float) -> Candidate:
        bar = own.get(edit.id, threshold)
        usual = isinstance(edit, Fact) and bar == threshold and not edit.tests.silent
        asked = usual and base_can_agree(query.text)
        return _candidate(edit, probability, follows, bar, agreement_threshold if asked else None)

    judged = [
        (candidate(hit.edit, probability, follows), hit.edit)
        for hit, probability, follows in zip(
            hits, scores.probability.tolist(), scores.entailed.tolist(), strict=True
        )
    ]
    judged.sort(key=lambda pair: -pair[0].probability)
    claiming = [pair for pair in judged if pair[0].probability >= pair[0].threshold]
    replaced = {gone for _, edit in claiming for gone in edit.supersedes}
    claiming = [pair for pair in claiming if pair[1].id not in replaced]
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
            if near * candidate.threshold <= candidate.probability < candidate.threshold
        ),
    )


def base_can_agree(query: str) -> bool:
    """Tell whether what the base model says to a query can show that it is an edit's own question.

    Who answers a yes-or-no question with a name has not understood it.
    """
    return not asks_yes_no(query)


def _candidate(
    edit: Edit,
    probability: float,
    follows: float,
    threshold: float,
    agreement_threshold: float | None,
) -> Candidate:
    return Candidate(
        edit_id=edit.id,
        kind=edit.kind,
        scope=edit.scope,
        probability=probability,
        threshold=threshold,
        relation="entailed" if follows >= 0.5 else "paraphrase",
        location=edit.location,
        agreement_threshold=agreement_threshold,
    )
