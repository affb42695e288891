"""The default pipeline: calibrated gate, resolvers, stored answers, and a reasoner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

from errata.cache.records import Edit, Query
from errata.gates.base import Decision, Gate
from errata.pipelines.base import decide_by_gate
from errata.pipelines.resolvers.aliases import AliasResolver
from errata.pipelines.resolvers.base import Resolver, ResolverContext, ScopedView
from errata.pipelines.resolvers.base_agreement import BaseAgreementResolver
from errata.pipelines.resolvers.decompose import DecomposeResolver
from errata.pipelines.resolvers.routing import route
from errata.reasoners.base import Reasoner
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.verbatim import VerbatimReasoner

CACHE = "cache"
"""Its name."""

CANDIDATES = 16
"""Edits that the cache proposes to the gate for each query."""

DEFAULT_RESOLVERS: tuple[Resolver, ...] = (
    BaseAgreementResolver(),
    AliasResolver(),
    DecomposeResolver(),
)
"""In the order in which they are applied."""


class CachePipeline:
    """Returns the stored answer for an edit's own question, and reasons about what it entails.

    :param gate: decides.
    :param reasoner: answers what is entailed by an edit.
    :param base_consistency: asks the base model where the gate is in doubt; None: never asked.
    :param resolvers: what is applied to the gate's decisions, in order.
    :param candidates: edits that the cache proposes to the gate for each query.
    """

    name = CACHE

    def __init__(
        self,
        gate: Gate,
        reasoner: Reasoner,
        base_consistency: BaseConsistency | None = None,
        *,
        resolvers: Sequence[Resolver] = DEFAULT_RESOLVERS,
        candidates: int = CANDIDATES,
    ) -> None:
        self.gate, self.reasoner, self.base_consistency = gate, reasoner, base_consistency
        self.resolvers, self.candidates = tuple(resolvers), candidates
        self._verbatim = VerbatimReasoner()

    def supports(self, edit: Edit) -> bool:
        """Return whether the edit has a text to return, or the reasoner supports it."""
        return self._verbatim.supports(edit) or self.reasoner.supports(edit)

    def decide(self, queries: Sequence[Query], edits: ScopedView) -> list[Decision]:
        """Return the decision about each query: search, gate, resolvers, route."""
        decisions = self._resolve(queries, edits, self.resolvers)
        return [route(decision, self.reasoner) for decision in decisions]

    def _resolve(
        self, queries: Sequence[Query], edits: ScopedView, resolvers: Iterable[Resolver]
    ) -> list[Decision]:
        decisions = decide_by_gate(self.gate, queries, edits, self.candidates)
        context = ResolverContext(
            edits, self.gate, self.reasoner, self.base_consistency, self._decide_text
        )
        for resolver in resolvers:
            decisions = resolver.resolve(decisions, context)
        return decisions

    def _decide_text(
        self, text: str, edits: ScopedView, before: Resolver | None = None
    ) -> Decision:
        queries = edits.encode([text])
        if before is None:
            return self.decide(queries, edits)[0]
        resolvers = takewhile(lambda resolver: resolver is not before, self.resolvers)
        return self._resolve(queries, edits, resolvers)[0]
