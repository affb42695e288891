"""Begun secrets: a query that begins a forgotten secret is refused, not gone on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from errata.gates.base import Decision, Route
from errata.pipelines.resolvers.base import ResolverContext


class BegunSecretsResolver:
    """Refuses what a model would answer, where the query has begun a secret of a ``forget`` patch.

    "Jane Roe lives at 12 Elm Street" asks for the rest in no words that a gate could know. The
    guard withholds a secret that such an answer completes; a middle of it said again in other words
    ("The Elm Street in Springfield") only a refusal keeps back. What counts as begun stands in
    :class:`~errata.cache.filters.guard.GuardConfig`.
    """

    name = "begun_secrets"
    routes: frozenset[Route] = frozenset({"base", "reason"})

    def resolve(self, decisions: Sequence[Decision], context: ResolverContext) -> list[Decision]:
        """Return the decisions, those about a begun secret refused by the fact that has it."""
        resolved = list(decisions)
        for row, (decision, edits) in enumerate(zip(decisions, context.scopes, strict=True)):
            secrets = edits.view.text_filter("output", edits.allows)
            begun = secrets.guard.begun(decision.effective_query)
            if begun is not None:
                fired = tuple(fact for fact in secrets.forgotten if fact.id == begun)
                resolved[row] = replace(
                    decision, fired=fired, route="refuse", sub_question="", hops=0
                )
        return resolved
