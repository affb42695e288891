"""The contract of a resolver, and what it may use.

A resolver takes the gate's decisions and returns them, some of them changed: a miss that is a hit
by another name, a hit that is one hop. A new one is one module with one class, and a line in
:mod:`errata.registry` or an entry point of the group ``errata.resolvers``::

    class Insistent:
        name = "insistent"
        routes = frozenset({"base"})  # it is given misses

        def resolve(self, decisions, context):
            texts = [decision.query.removesuffix("!") for decision in decisions]
            found = context.decide(texts, context.scopes, before=self)
            return [replace(new, query=old.query) for old, new in zip(decisions, found)]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Protocol, runtime_checkable

from errata.cache.text.language import is_english
from errata.deprecation import forward
from errata.gates.base import Candidate, Decision, Gate, Route
from errata.pipelines.base import History, ScopedView
from errata.reasoners.base import Reasoner
from errata.reasoners.base_consistency import BaseConsistency

__getattr__ = forward(__name__)

MISSES: frozenset[Route] = frozenset({"base"})
"""The route of a decision that no edit governs."""


class DecideTexts(Protocol):
    """Decides about other texts than the queries, in one batch."""

    def __call__(
        self, texts: Sequence[str], scopes: Sequence[ScopedView], before: Resolver | None = None
    ) -> list[Decision]:
        """Return the decision about each text.

        :param texts: as queries.
        :param scopes: of each text, the edits that may fire.
        :param before: only the resolvers before this one take part; None: all, and the routes are
            final.
        """


@dataclass(frozen=True, slots=True)
class ResolverContext:
    """What a resolver may use.

    :param edits: the edits of the moment, and the search over them.
    :param scopes: of each decision, the edits that may fire.
    :param gate: the pipeline's gate.
    :param reasoner: the pipeline's reasoner.
    :param base: asks the base model whether two questions are one; None: the base is not asked.
    :param decide: decides about other texts.
    :param histories: of each decision, the turns before its query.
    """

    edits: ScopedView
    scopes: Sequence[ScopedView]
    gate: Gate
    reasoner: Reasoner
    base: BaseConsistency | None
    decide: DecideTexts
    histories: Sequence[History] = ()

    def agrees(
        self, queries: Sequence[str], questions: Sequence[Sequence[str]]
    ) -> list[tuple[bool, ...]]:
        """Return for each query which of its questions the base model answers as the query.

        The base is asked about texts in English only: the probability from which it is asked was
        chosen on them, and 长城有多长？ and 长城有多高？ may get the same wrong answer.

        :param queries: n queries.
        :param questions: of each query, those it is compared with.
        """
        texts = list(dict.fromkeys([*queries, *(one for some in questions for one in some)]))
        if self.base is None or not texts:
            return [(False,) * len(some) for some in questions]
        shares = dict(zip(texts, self.edits.encoder.unknown_share(texts).tolist(), strict=True))
        most = self.edits.view.config.unreadable_share
        readable = [
            [
                max(shares[query], shares[one]) <= most and is_english(query) and is_english(one)
                for one in some
            ]
            for query, some in zip(queries, questions, strict=True)
        ]
        rows = [row for row, some in enumerate(readable) if any(some)]
        asked = [list(compress(questions[row], readable[row])) for row in rows]
        agrees = self.base.agrees_batch([queries[row] for row in rows], asked) if rows else []
        found = {row: iter(agreed) for row, agreed in zip(rows, agrees, strict=True)}
        return [
            tuple(reads and next(found[row]) for reads in some) for row, some in enumerate(readable)
        ]


@runtime_checkable
class Resolver(Protocol):
    """One stage between the gate's decisions and the final ones.

    Contract: as many decisions as were given, in order; the same in any batch.
    """

    @property
    def name(self) -> str:
        """As in the registry."""

    @property
    def routes(self) -> Collection[Route]:
        """The routes of the decisions it is given; it never sees the others."""

    def resolve(self, decisions: Sequence[Decision], context: ResolverContext) -> list[Decision]:
        """Return the decisions, those that the resolver applies to changed.

        :param decisions: of a batch, those with one of its routes; never empty.
        :param context: what it may use.
        """


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
