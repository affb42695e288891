"""Base agreement: where the gate is in doubt, the base model is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from errata.cache.records import Edit
from errata.gates.base import Candidate, Decision, route_of
from errata.pipelines.resolvers.base import MISSES, ResolverContext


class BaseAgreementResolver:
    """Makes a miss a hit where the base model answers query and edit's question alike.

    "What is the capital of the land of the Incas?" and "What is the capital of Peru?" both get
    "Lima", so that they are one question. Only candidates from ``agreement_threshold`` up are
    tried.

    It is not among the default resolvers: on people's question pairs it finds as many more as it
    fires falsely (``results/ablation.md``).
    """

    name = "base_agreement"
    routes = MISSES

    def resolve(self, decisions: Sequence[Decision], context: ResolverContext) -> list[Decision]:
        """Return the decisions, misses that the base agrees on as hits."""
        doubtful = {at: candidates_in_doubt(one) for at, one in enumerate(decisions)}
        asked = {at: some for at, some in doubtful.items() if some}
        queries = [decisions[at].query for at in asked]
        agrees = context.agrees(queries, [[c.scope for c in some] for some in asked.values()])
        found = list(decisions)
        for (at, some), yes in zip(asked.items(), agrees, strict=True):
            agreed = {one.edit_id for one, same in zip(some, yes, strict=True) if same}
            by_id = context.edits.view.by_id
            edits = [by_id[key] for key in sorted(agreed) if key in by_id]
            found[at] = fire_agreed(decisions[at], agreed, edits)
        return found


def candidates_in_doubt(decision: Decision) -> tuple[Candidate, ...]:
    """Return the candidates about which the base model is asked.

    :param decision: a miss.
    """
    return tuple(
        one
        for one in decision.candidates
        if one.agreement_threshold is not None and one.probability >= one.agreement_threshold
    )


def fire_agreed(decision: Decision, agreed: set[str], edits: Sequence[Edit]) -> Decision:
    """Return a miss as a hit of the edits that the base model agrees on.

    :param decision: a miss.
    :param agreed: the ids of those edits; without any, the decision stays as it is.
    :param edits: these edits at least.
    """
    rank = {one.edit_id: at for at, one in enumerate(decision.candidates)}
    fired = sorted(
        (edit for edit in edits if edit.id in agreed), key=lambda e: (-e.priority, rank[e.id])
    )
    if not fired:
        return decision
    return replace(
        decision,
        fired=tuple(fired),
        route=route_of(fired[0], "paraphrase"),
        candidates=tuple(
            replace(c, base_agreed=True, relation="paraphrase") if c.edit_id in agreed else c
            for c in decision.candidates
        ),
        near_misses=tuple(c for c in decision.near_misses if c.edit_id not in agreed),
    )
