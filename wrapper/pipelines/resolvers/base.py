"""The contract of a resolver, and what it may use.

A resolver takes the gate's decisions and returns them, some of them changed: a miss that is a hit
by another name, a hit that is one hop. A new one is one module here with one class, and a place in
``DEFAULT_RESOLVERS`` of :mod:`errata.pipelines.cache`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from errata.cache.encoder import Encoder, encode_queries
from errata.cache.records import Edit, Hit, LanguagePatch, Query
from errata.cache.text.aliases import AliasMatch
from errata.cache.view import View
from errata.gates.base import Candidate, Decision, Gate
from errata.gates.conditions.parse import is_certain, read_condition
from errata.reasoners.base import Reasoner
from errata.reasoners.base_consistency import BaseConsistency
from errata.trace import StopWatch

EditFilter = Callable[[Edit], bool]
"""Whether an edit may fire."""


@dataclass(frozen=True, slots=True)
class ScopedView:
    """A view of the cache, restricted to the edits that may fire.

    :param view: the edits of one moment.
    :param encoder: the cache's encoder.
    :param allows: which edits may fire.
    :param watch: takes the time of a search; None takes none.
    """

    view: View
    encoder: Encoder
    allows: EditFilter
    watch: StopWatch | None = None

    def restricted(self, allows: EditFilter) -> ScopedView:
        """Return the view restricted further, for a decision about another text."""
        return replace(self, allows=lambda edit: allows(edit) and self.allows(edit), watch=None)

    def encode(self, texts: Sequence[str]) -> list[Query]:
        """Return texts as queries."""
        return encode_queries(self.encoder, texts)

    def search(self, queries: Sequence[Query], k: int) -> list[list[Hit]]:
        """Return for each query the k nearest edits, then the patches whose rule matches it.

        A rule such as "the text is in Chinese" says nothing about meaning, so that no vector
        search finds its patch.
        """
        rules = [edit for edit in self.view.edits if is_certain(edit) and self.allows(edit)]
        nearest = self.view.search(queries, k=k, only=self.allows)
        found = [
            [*hits, *self._matching_rules(query, hits, rules)]
            for query, hits in zip(queries, nearest, strict=True)
        ]
        if self.watch is not None:
            self.watch.lap("cache", f"{len(self.view.edits)} edits")
        return found

    def alias_matches(self, text: str) -> Iterator[AliasMatch]:
        """Yield the text with an alias replaced by the name that edits have, certain ones first."""
        for match in self.view.alias_matches(text):
            if any(map(self.allows, match.edits)):
                yield match

    def _matching_rules(
        self, query: Query, hits: Sequence[Hit], rules: Sequence[LanguagePatch]
    ) -> list[Hit]:
        found = {hit.edit.id for hit in hits}
        return [
            self.view.hit(query, patch)
            for patch in rules
            if patch.id not in found and read_condition(patch.condition).holds(query.text)
        ]


class DecideText(Protocol):
    """Decides about another text than the query."""

    def __call__(self, text: str, edits: ScopedView, before: Resolver | None = None) -> Decision:
        """Return the decision about a text.

        :param text: as a query.
        :param edits: what may fire.
        :param before: only the resolvers before this one take part; None: all, and the route is
            final.
        """


@dataclass(frozen=True, slots=True)
class ResolverContext:
    """What a resolver may use.

    :param edits: the edits that may fire, and the search over them.
    :param gate: the pipeline's gate.
    :param reasoner: the pipeline's reasoner.
    :param base: asks the base model whether two questions are one; None: the base is not asked.
    :param decide: decides about another text.
    """

    edits: ScopedView
    gate: Gate
    reasoner: Reasoner
    base: BaseConsistency | None
    decide: DecideText


class Resolver(Protocol):
    """One stage between the gate's decisions and the final ones.

    Contract: as many decisions as were given, in order; the same in any batch.
    """

    name: str

    def resolve(self, decisions: Sequence[Decision], context: ResolverContext) -> list[Decision]:
        """Return the decisions, those that the resolver applies to changed."""


def with_candidates(decision: Decision, other: Decision) -> Decision:
    """Return a decision that also lists the candidates and near misses of another one."""
    known = {candidate.edit_id for candidate in decision.candidates}

    def unseen(candidates: Sequence[Candidate]) -> list[Candidate]:
        return [candidate for candidate in candidates if candidate.edit_id not in known]

    return replace(
        decision,
        candidates=(*decision.candidates, *unseen(other.candidates)),
        near_misses=(*decision.near_misses, *unseen(other.near_misses)),
    )
