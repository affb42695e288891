"""The default pipeline: calibrated gate, resolvers, stored answers, and a reasoner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from errata.cache.records import Edit, Query
from errata.gates.base import Decision, Gate
from errata.pipelines.base import History, ScopedView, decide_by_gate, supported
from errata.pipelines.resolvers.aliases import AliasResolver
from errata.pipelines.resolvers.base import Resolver, ResolverContext
from errata.pipelines.resolvers.begun_secrets import BegunSecretsResolver
from errata.pipelines.resolvers.decompose import DecomposeResolver
from errata.reasoners.base import Reasoner
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.verbatim import stored_answer
from errata.registry import make

CACHE = "cache"
"""Its name."""

DEFAULT_RESOLVERS: tuple[Resolver, ...] = (
    AliasResolver(),
    DecomposeResolver(),
    BegunSecretsResolver(),
)
"""In the order in which they are applied; ``results/ablation.md`` says what each is worth, and why
``base_agreement`` is not among them; ``follow_up`` is for conversations, and is measured by
``benchmarks/follow_ups.py``."""


@dataclass(frozen=True, slots=True)
class CachePipelineConfig:
    """How much of the cache a query gets to see.

    :param candidates: edits that the cache proposes to the gate for each query. Most of a query's
        time is the gate's, which grows with them.
    :param max_edits: edits that a reasoner reads at most for one query; more than a few seldom
        fire, and a prompt of more would leave a small model little room for the question.
    """

    candidates: int = 16
    max_edits: int = 8


class CachePipeline:
    """Returns the stored answer for an edit's own question, and reasons about what it entails.

    :param gate: decides.
    :param reasoner: answers what is entailed by an edit.
    :param base_consistency: asks the base model where the gate is in doubt; None: never asked.
    :param resolvers: what is applied to the gate's decisions, in order.
    :param config: how much of the cache a query gets to see.
    """

    name = CACHE

    def __init__(
        self,
        gate: Gate,
        reasoner: Reasoner,
        base_consistency: BaseConsistency | None = None,
        *,
        resolvers: Sequence[Resolver] = DEFAULT_RESOLVERS,
        config: CachePipelineConfig | None = None,
    ) -> None:
        self.gate, self.reasoner, self.base_consistency = gate, reasoner, base_consistency
        self.resolvers, self.config = tuple(resolvers), config or CachePipelineConfig()

    def supports(self, edit: Edit) -> bool:
        """Return whether the edit has a text to return, or the reasoner supports it."""
        return stored_answer(edit) is not None or self.reasoner.supports(edit)

    def decide(self, queries: Sequence[Query], edits: ScopedView) -> list[Decision]:
        """Return the decision about each query: search, gate, resolvers, route."""
        decisions = decide_by_gate(self.gate, queries, edits, self.config.candidates)
        histories = [query.history for query in queries]
        return self._resolve(decisions, [edits] * len(queries), None, histories)

    def _resolve(
        self,
        decisions: Sequence[Decision],
        scopes: Sequence[ScopedView],
        before: Resolver | None,
        histories: Sequence[History],
    ) -> list[Decision]:
        """Return the decisions after the resolvers before one; after all of them, with routes."""
        resolved = list(decisions)
        for resolver in takewhile(lambda one: one is not before, self.resolvers):
            rows = [i for i, decision in enumerate(resolved) if decision.route in resolver.routes]
            if not rows:
                continue
            context = ResolverContext(
                scopes[0], [scopes[i] for i in rows],
                self.gate, self.reasoner, self.base_consistency, self._decide_texts,
                [histories[i] for i in rows],
            )  # fmt: skip
            found = resolver.resolve([resolved[i] for i in rows], context)
            for i, decision in zip(rows, found, strict=True):
                resolved[i] = _noted(resolver, resolved[i], decision)
        if before is not None:
            return resolved
        return [route(one, self.reasoner, self.config.max_edits) for one in resolved]

    def _decide_texts(
        self, texts: Sequence[str], scopes: Sequence[ScopedView], before: Resolver | None = None
    ) -> list[Decision]:
        if not texts:
            return []
        queries = scopes[0].encode(texts)
        decisions = decide_by_gate(self.gate, queries, scopes, self.config.candidates)
        return self._resolve(decisions, scopes, before, [()] * len(texts))


def route(decision: Decision, reasoner: Reasoner, max_edits: int) -> Decision:
    """Return the final decision: edits that the reasoner supports, the best of each question.

    :param decision: as the resolvers left it; of one that was decomposed the last hop is final.
    :param reasoner: answers where the route is ``reason``.
    :param max_edits: edits that it reads at most.
    """
    if decision.hops:
        return decision
    decision = supported(decision, reasoner)
    if decision.route != "reason":
        return decision
    best: dict[str, Edit] = {}
    for edit in decision.fired:
        best.setdefault(edit.scope.strip().casefold(), edit)
    return replace(decision, fired=tuple(best.values())[:max_edits])


def choose_resolvers(chosen: Iterable[Resolver | str] | None) -> tuple[Resolver, ...]:
    """Return resolvers by name, the default ones for None, or the instances.

    :param chosen: in the order in which they are applied.
    :raises errata.cache.errors.ErrataError: there is no resolver of a name; lists those there are.
    """
    if chosen is None:
        return DEFAULT_RESOLVERS
    return tuple(make("errata.resolvers", o) if isinstance(o, str) else o for o in chosen)


def _noted(resolver: Resolver, before: Decision, after: Decision) -> Decision:
    """Return a decision that names the resolver, and whether it changed the decision."""
    names = dict.fromkeys((*before.resolvers, *after.resolvers, resolver.name))
    changed_by = after.changed_by if after == before else (*after.changed_by, resolver.name)
    return replace(after, resolvers=tuple(names), changed_by=changed_by)
