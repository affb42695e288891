"""Base agreement: where the gate is in doubt, the base model is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from errata.cache.records import Edit
from errata.gates.base import Candidate, Decision
from errata.gates.routing import route_of
from errata.pipelines.resolvers.base import MISSES, ResolverContext
from errata.reasoners.base_consistency import BaseConsistency


class BaseAgreementResolver:
    """Makes a miss a hit where the base model answers query and edit's question alike.

    "What is the capital of the land of the Incas?" and "What is the capital of Peru?" both get
    "Lima", so that they are one question. Only candidates from ``agreement_threshold`` up are
    tried.
    """

    name = "base_agreement"
    routes = MISSES

    def resolve(self, decisions: Sequence[Decision], context: ResolverContext) -> list[Decision]:
        """Return the decisions, misses that the base agrees on as hits."""
        base = context.base
        if base is None:
            return list(decisions)
        edits = context.edits.view.edits
        return [resolve_by_agreement(d, edits, base) for d in decisions]


def resolve_by_agreement(
    decision: Decision, edits: Sequence[Edit], base: BaseConsistency
) -> Decision:
    """Return a miss as a hit of the edits that the base model agrees on.

    :param decision: a miss.
    :param edits: all edits of the moment.
    :param base: asks the base model.
    """
    doubtful = [candidate for candidate in decision.candidates if _in_doubt(candidate)]
    if not doubtful:
        return decision
    agrees = base.agrees(decision.query, [candidate.scope for candidate in doubtful])
    agreed = {one.edit_id for one, yes in zip(doubtful, agrees, strict=True) if yes}
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


def _in_doubt(candidate: Candidate) -> bool:
    threshold = candidate.agreement_threshold
    return threshold is not None and candidate.probability >= threshold
