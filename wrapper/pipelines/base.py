"""The contract of a pipeline: from queries to decisions, without a change of any weight.

A new pipeline is one module with one class, one line in :mod:`errata.registry` (group
``errata.pipelines``) and one row in ``tests/contracts/test_pipeline.py``::

    class Nearest:
        name = "nearest"

        def __init__(self, base, tokenizer, encoder, *, threshold: float = 0.8) -> None:
            self.gate = CosineGate(encoder, threshold)
            self.reasoner = PromptedReasoner(base, tokenizer)

        def supports(self, edit):
            return isinstance(edit, Fact) and not edit.forget

        def decide(self, queries, edits):
            decisions = decide_by_gate(self.gate, queries, edits, candidates=1)
            return [route_to_reasoner(decision, max_edits=1) for decision in decisions]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from errata.cache.encoder import Encoder, encode_queries
from errata.cache.records import Edit, Hit, LanguagePatch, Query
from errata.cache.text.aliases import AliasMatch
from errata.cache.view import View
from errata.gates.base import Decision, Gate
from errata.gates.conditions.parse import is_certain, read_condition
from errata.gates.routing import enforce_lists
from errata.reasoners.base import Paraphraser, Reasoner
from errata.reasoners.verbatim import VerbatimReasoner
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
        found = self.view.search(queries, k=k, only=self.allows)
        for patch in _rules(self.view):
            if not self.allows(patch):
                continue
            rule = read_condition(patch.condition)
            for query, hits in zip(queries, found, strict=True):
                if rule.holds(query.text) and all(hit.edit.id != patch.id for hit in hits):
                    hits.append(self.view.hit(query, patch))
        if self.watch is not None:
            self.watch.lap("cache", f"{len(self.view.edits)} edits")
        return found

    def alias_matches(self, text: str) -> Iterator[AliasMatch]:
        """Yield the text with an alias replaced by the name that edits have, certain ones first."""
        for match in self.view.alias_matches(text):
            if any(map(self.allows, match.edits)):
                yield match


_RULES: WeakKeyDictionary[View, tuple[LanguagePatch, ...]] = WeakKeyDictionary()
"""By view, for as long as it lives."""


def _rules(view: View) -> tuple[LanguagePatch, ...]:
    """Return the patches of a view whose condition is decided by characters or a rule."""
    found = _RULES.get(view)
    if found is None:
        found = _RULES[view] = tuple(edit for edit in view.edits if is_certain(edit))
    return found


@runtime_checkable
class Pipeline(Protocol):
    """Search, gate and reasoner, put together.

    Contract: the base model is not changed, and a query that misses gets the base model's own ids.
    Made from base model, tokenizer and the cache's encoder; further parameters are keyword
    arguments with defaults.
    """

    name: str
    """As in the registry."""
    gate: Gate
    """Decides."""
    reasoner: Reasoner
    """Answers where the route is ``reason``."""

    def supports(self, edit: Edit) -> bool:
        """Return whether it can make this edit; one that it cannot make stays with the cache."""

    def decide(self, queries: Sequence[Query], edits: ScopedView) -> list[Decision]:
        """Return the final decision about each query.

        :param queries: encoded by the cache's encoder.
        :param edits: the edits that may fire, and the search over them.
        """


@dataclass(frozen=True, slots=True)
class ScopedPipeline:
    """A pipeline and the edits it answers for.

    :param pipeline: the pipeline.
    :param allows: which edits it may fire.
    """

    pipeline: Pipeline
    allows: EditFilter


def decide_by_gate(
    gate: Gate,
    queries: Sequence[Query],
    edits: ScopedView | Sequence[ScopedView],
    candidates: int,
) -> list[Decision]:
    """Return the gate's decision about each query: search, gate, listed sentences.

    :param gate: decides.
    :param queries: encoded by the cache's encoder.
    :param edits: the edits that may fire, the same for all queries or one view each.
    :param candidates: edits that the cache proposes for each query.
    """
    if isinstance(edits, Sequence):
        pairs = zip(queries, edits, strict=True)
        hits = [view.search([query], candidates)[0] for query, view in pairs]
    else:
        hits = edits.search(queries, candidates)
    decisions = gate.decide_batch(queries, hits)
    return [enforce_lists(*each) for each in zip(decisions, queries, hits, strict=True)]


def route_to_reasoner(decision: Decision, max_edits: int) -> Decision:
    """Return a decision whose route is ``reason`` if it hits, stored answers included.

    :param max_edits: the reasoner reads that many of the fired edits, the best ones.
    """
    if not decision.hit:
        return decision
    return replace(decision, route="reason", fired=decision.fired[:max_edits])


def supported(decision: Decision, reasoner: Reasoner) -> Decision:
    """Return a decision restricted to the edits that the reasoner supports, or a miss.

    A paraphrasing reasoner rewords the text of a language patch; an entailed query never gets a
    stored answer.
    """
    if decision.route == "verbatim" and isinstance(decision.fired[0], LanguagePatch):
        if isinstance(reasoner, Paraphraser) and reasoner.paraphrases(decision.fired[0]):
            decision = replace(decision, route="reason")
    if decision.route != "reason":
        return decision
    verbatim = isinstance(reasoner, VerbatimReasoner)
    fired = tuple(edit for edit in decision.fired if not verbatim and reasoner.supports(edit))
    return replace(decision, fired=fired) if fired else _as_miss(decision)


def _as_miss(decision: Decision) -> Decision:
    """Return the decision as a miss, with what fired among the near misses."""
    ids = {edit.id for edit in decision.fired}
    fired = tuple(candidate for candidate in decision.candidates if candidate.edit_id in ids)
    return replace(
        decision,
        fired=(),
        route="base",
        near_misses=(*fired, *decision.near_misses),
        canonical_query="",
    )
