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

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from errata.cache.encoder import Encoder, encode_queries
from errata.cache.filters.text_filter import Filter, Replacement
from errata.cache.records import Edit, Fact, Hit, LanguagePatch, Query
from errata.cache.rollout import Conversation
from errata.cache.text.aliases import AliasMatch
from errata.cache.view import View
from errata.gates.base import Decision, Gate, ThresholdGate, enforce_lists
from errata.gates.conditions.parse import is_certain, read_condition
from errata.reasoners.background import BackgroundReasoner
from errata.reasoners.base import Paraphraser, Reasoner
from errata.reasoners.verbatim import VerbatimReasoner

NEAR_MISSES_SHOWN = 3
"""Near misses that the trace of a batch names."""
History = tuple[tuple[str, str], ...]
"""The turns before a query, role and text, the latest last."""
EditFilter = Callable[[Edit], bool]
"""Whether an edit may fire."""
Lap = Callable[[str, str], None]
"""Takes the time of a stage that has ended, by its name and a note on it."""


@dataclass(frozen=True, slots=True)
class ScopedView:
    """A view of the cache, restricted to the edits that may fire.

    :param view: the edits of one moment.
    :param encoder: the cache's encoder.
    :param allows: which edits may fire.
    :param lap: takes the time of a search; None takes none.
    """

    view: View
    encoder: Encoder
    allows: EditFilter
    lap: Lap | None = None

    def restricted(self, allows: EditFilter) -> ScopedView:
        """Return the view restricted further, for a decision about another text."""
        return replace(self, allows=lambda edit: allows(edit) and self.allows(edit), lap=None)

    def encode(self, texts: Sequence[str]) -> list[Query]:
        """Return texts as queries."""
        return encode_queries(self.encoder, texts)

    def search(self, queries: Sequence[Query], k: int) -> list[list[Hit]]:
        """Return for each query the k nearest edits, then the patches whose rule matches it.

        A rule such as "the text is in Chinese" says nothing about meaning, so that no vector
        search finds its patch; nor those of conditions of several clauses, which may be denials.
        """
        found = self.view.search(queries, k=k, only=self.allows)
        for patch in _rules(self.view):
            if not self.allows(patch):
                continue
            rule = read_condition(patch.condition)
            for query, hits in zip(queries, found, strict=True):
                if (not rule.certain or rule.holds(query.text)) and all(
                    hit.edit.id != patch.id for hit in hits
                ):
                    hits.append(self.view.hit(query, patch))
        if self.lap is not None:
            self.lap("cache", f"{len(self.view.edits)} edits")
        return found

    def alias_matches(self, text: str) -> Iterator[AliasMatch]:
        """Yield the text with an alias replaced by the name that edits have, certain ones first."""
        for match in self.view.alias_matches(text):
            if any(map(self.allows, match.edits)):
                yield match


_RULES: WeakKeyDictionary[View, tuple[LanguagePatch, ...]] = WeakKeyDictionary()
"""By view, for as long as it lives."""


def _rules(view: View) -> tuple[LanguagePatch, ...]:
    """Return the patches of a view whose condition is decided by a rule, or has several clauses."""
    found = _RULES.get(view)
    if found is None:
        found = _RULES[view] = tuple(
            edit
            for edit in view.in_memory
            if isinstance(edit, LanguagePatch)
            and (is_certain(edit) or read_condition(edit.condition).parts)
        )
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


@dataclass(frozen=True, slots=True)
class RoutedBatch:
    """A batch of queries and the decisions about them, all as of one moment.

    :param queries: what is answered: the effective query of each decision.
    :param decisions: one a query.
    :param reasoners: for each query the reasoner of the pipeline that hit; None on a miss.
    :param rewrites: for each query, what the query patterns replaced.
    :param output_filters: for each query, the output patterns and secrets of the same moment.
    :param view: the edits of that moment.
    :param texts: the queries as found in the prompts.
    :param conversations: one a query, by which rollouts draw.
    """

    queries: tuple[str, ...] = field(repr=False)
    decisions: tuple[Decision, ...]
    reasoners: tuple[Reasoner | None, ...]
    rewrites: tuple[tuple[Replacement, ...], ...]
    output_filters: tuple[Filter, ...]
    view: View
    texts: tuple[str, ...] = field(repr=False)
    conversations: tuple[Conversation, ...] = ()

    @property
    def affected(self) -> tuple[bool, ...]:
        """For each row, whether a hit or a rewrite keeps the caller's own prompt from the base."""
        return tuple(
            decision.hit or bool(rewrite)
            for decision, rewrite in zip(self.decisions, self.rewrites, strict=True)
        )

    def without_secrets(self) -> RoutedBatch:
        """Return the batch, secrets withheld in the texts of its decisions, which are shown."""
        hide = self.view.without_secrets
        decisions = (
            replace(
                one, query=hide(one.query), canonical_query=hide(one.canonical_query),
                sub_question=hide(one.sub_question),
            )
            for one in self.decisions
        )  # fmt: skip
        return replace(self, decisions=tuple(decisions))

    def row(self, row: int) -> RoutedBatch:
        """Return the batch of one query, as of the same moment."""
        own = slice(row, row + 1)
        return replace(
            self, queries=self.queries[own], decisions=self.decisions[own],
            reasoners=self.reasoners[own], rewrites=self.rewrites[own],
            output_filters=self.output_filters[own], texts=self.texts[own],
            conversations=self.conversations[own],
        )  # fmt: skip

    def by_reasoner(self, verbatim: Reasoner) -> list[tuple[Reasoner, list[int]]]:
        """Return the reasoners, each with the rows it answers; other rows are the base model's.

        :param verbatim: returns stored answers and refusals.
        """
        rows: dict[int, tuple[Reasoner, list[int]]] = {}
        for i, (decision, reasoner) in enumerate(zip(self.decisions, self.reasoners, strict=True)):
            if decision.route in ("verbatim", "refuse"):
                chosen: Reasoner | None = verbatim
            else:
                chosen = reasoner if decision.route == "reason" else None
            if chosen is not None:
                rows.setdefault(id(chosen), (chosen, []))[1].append(i)
        return list(rows.values())


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """A batch of queries to be decided, as of one moment.

    :param texts: the queries as found in the prompts.
    :param view: the edits of that moment.
    :param encoder: the cache's encoder.
    :param pipelines: the pipelines in use; each gets the queries that those before it missed.
    :param selected: which edits the caller wants in force.
    :param lap: takes the time of each stage.
    :param background: answers what no edit governs, but names the subject of facts; None: the base
        model does.
    :param histories: of each query, the turns of the conversation before it; None: there are none.
    :param conversations: one a query, by which rollouts draw; empty: nothing draws.
    """

    texts: Sequence[str]
    view: View
    encoder: Encoder
    pipelines: Sequence[ScopedPipeline]
    selected: EditFilter
    lap: Lap
    background: BackgroundReasoner | None = None
    histories: Sequence[History] | None = None
    conversations: Sequence[Conversation] = ()


def route_batch(request: RouteRequest) -> RoutedBatch:
    """Return the decisions about a batch of queries, the same edits for all."""
    texts, selected, lap = request.texts, request.selected, request.lap
    encoder, background, histories = request.encoder, request.background, request.histories
    whole, view = request.view, request.view.restricted(selected)
    rewrite = view.text_filter("query", selected)
    filtered = [rewrite.apply(text) for text in texts]
    queries = [text for text, _ in filtered]
    rewrites = tuple(replacements for _, replacements in filtered)
    lap("rewrite", f"{sum(map(bool, rewrites))} of {len(texts)}")
    pipelines = [(one, may_fire(one, selected)) for one in request.pipelines]
    active = [(one, allows) for one, allows in pipelines if view.may_have(allows)]
    encoded = encode_queries(encoder, queries) if active else []
    if histories is not None:
        encoded = [replace(q, history=h) for q, h in zip(encoded, histories, strict=False)]
    decisions = [Decision(query) for query in queries]
    reasoners: list[Reasoner | None] = [None] * len(queries)
    for scoped, allows in active:
        # An empty query is one that could not be read.
        missed = [i for i, one in enumerate(decisions) if not one.hit and one.query.strip()]
        if not missed:
            break
        edits = ScopedView(view, encoder, allows, lap)
        made = scoped.pipeline.decide([encoded[i] for i in missed], edits)
        lap("gate", _gate_note(made))
        for i, decision in zip(missed, made, strict=True):
            earlier = decisions[i]
            if overruled := view.overrules(decision.fired):
                decision = replace(decision, overruled=overruled)
            decisions[i] = _merged(earlier, decision) if earlier.candidates else decision
            reasoners[i] = scoped.pipeline.reasoner if decision.hit else None
    if background is not None:
        for i, decision in enumerate(decisions):
            if not decision.hit:
                decisions[i] = with_mentioned(decision, view, selected, background.max_facts)
                reasoners[i] = background if decisions[i].hit else None
    effective = tuple(decision.effective_query for decision in decisions)
    filters = (view.text_filter("output", selected),) * len(queries)
    return RoutedBatch(
        effective, tuple(decisions), tuple(reasoners), rewrites, filters, whole, tuple(texts),
        tuple(request.conversations),
    )  # fmt: skip


def may_fire(scoped: ScopedPipeline, selected: EditFilter) -> EditFilter:
    """Return the filter of the edits of a pipeline that the caller wants and it supports."""
    return lambda edit: selected(edit) and scoped.allows(edit) and scoped.pipeline.supports(edit)


def with_mentioned(
    decision: Decision, view: View, selected: EditFilter, max_facts: int
) -> Decision:
    """Return a miss with the facts whose subject its query names as background, if there are any.

    :param decision: a miss.
    :param view: the edits of one moment.
    :param selected: which edits the caller wants in force.
    :param max_facts: how many at most.
    """
    facts = [e for e in view.named(decision.query) if selected(e) and isinstance(e, Fact)]
    named = tuple(fact for fact in facts if not fact.forget)[:max_facts]
    return replace(decision, fired=named, route="reason", mentioned=True) if named else decision


def _gate_note(decisions: Sequence[Decision]) -> str:
    """Return how many queries hit, what resolvers changed, and the first near misses."""
    text = f"{sum(decision.hit for decision in decisions)} of {len(decisions)} hit"
    changed = Counter(name for decision in decisions for name in decision.changed_by)
    resolved = [f"{name} changed {count}" for name, count in changed.items()]
    near = [c for decision in decisions if not decision.hit for c in decision.near_misses]
    shown = [
        f"near miss: {c.location or c.edit_id} ({c.probability:.3f}, from {c.threshold:.3f} on)"
        for c in near[:NEAR_MISSES_SHOWN]
    ]
    return "; ".join((text, *resolved, *shown))


def _merged(earlier: Decision, decision: Decision) -> Decision:
    """Return a decision that also lists the candidates of the pipelines before."""
    candidates = sorted((*earlier.candidates, *decision.candidates), key=lambda c: -c.probability)
    near_misses = (*earlier.near_misses, *decision.near_misses)
    return replace(decision, candidates=tuple(candidates), near_misses=near_misses)


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
    if isinstance(gate, ThresholdGate):  # whose decisions heed the lists
        return decisions
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
