"""Rewrite a batch of queries and run it through the pipelines in use, up to the decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from errata.cache.encoder import Encoder, encode_queries
from errata.cache.filters.text_filter import Filter, Replacement
from errata.cache.records import Fact, Query
from errata.cache.rollout import Conversation
from errata.cache.view import View
from errata.gates.base import Decision
from errata.pipelines.base import EditFilter, ScopedPipeline, ScopedView, decide_by_gate
from errata.reasoners.background import BackgroundReasoner
from errata.reasoners.base import Reasoner
from errata.trace import StopWatch

NEAR_MISSES_SHOWN = 3
"""Near misses that the trace of a batch names."""


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
    :param conversations: one a query, by which rollouts draw; without any, all are included.
    """

    queries: tuple[str, ...]
    decisions: tuple[Decision, ...]
    reasoners: tuple[Reasoner | None, ...]
    rewrites: tuple[tuple[Replacement, ...], ...]
    output_filters: tuple[Filter, ...]
    view: View
    texts: tuple[str, ...] = ()
    conversations: tuple[Conversation, ...] = ()

    @property
    def affected(self) -> tuple[bool, ...]:
        """For each row, whether a hit or a rewrite keeps the caller's own prompt from the base."""
        return tuple(
            decision.hit or bool(rewrite)
            for decision, rewrite in zip(self.decisions, self.rewrites, strict=True)
        )

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


def route_batch(
    texts: Sequence[str],
    view: View,
    encoder: Encoder,
    pipelines: Sequence[ScopedPipeline],
    selected: EditFilter,
    watch: StopWatch,
    background: BackgroundReasoner | None = None,
    conversations: Sequence[Conversation] = (),
) -> RoutedBatch:
    """Return the decisions about a batch of queries.

    :param texts: the queries as found in the prompts.
    :param view: the edits of one moment.
    :param encoder: the cache's encoder.
    :param pipelines: the pipelines in use; each gets the queries that those before it missed.
    :param selected: which edits the caller wants in force.
    :param watch: takes the time of each stage.
    :param background: answers what no edit governs, but names the subject of facts; None: the base
        model does.
    :param conversations: one a query, by which rollouts draw; without any, all are included.
    """
    router = _Router(view, encoder, pipelines, watch, background)
    rows: dict[frozenset[str], list[int]] = {}
    for i, conversation in enumerate(conversations if view.rolling_out else ()):
        held = frozenset(e.id for e in view.rolling_out if not conversation.includes(e))
        rows.setdefault(held, []).append(i)
    if len(rows) < 2:
        batch = router.route(texts, selected, next(iter(rows), frozenset()))
    else:
        parts = (router.route([texts[i] for i in at], selected, h) for h, at in rows.items())
        batch = _joined(list(zip(rows.values(), parts, strict=True)))
    return replace(batch, texts=tuple(texts), conversations=tuple(conversations))


@dataclass(frozen=True, slots=True)
class _Router:
    """Routes queries that are in the same rollouts; the parameters of :func:`route_batch`."""

    view: View
    encoder: Encoder
    pipelines: Sequence[ScopedPipeline]
    watch: StopWatch
    background: BackgroundReasoner | None

    def route(self, texts: Sequence[str], wanted: EditFilter, held: frozenset[str]) -> RoutedBatch:
        """Return the decisions about queries.

        :param wanted: which edits the caller wants in force.
        :param held: ids of the edits whose rollout does not include them.
        """
        selected = _without(held, wanted) if held else wanted
        view = self.view.restricted(selected)
        query_filter = Filter("query", [p for p in view.regexes("query") if selected(p)])
        filtered = [query_filter.apply(text) for text in texts]
        queries = [text for text, _ in filtered]
        rewrites = tuple(replacements for _, replacements in filtered)
        self.watch.lap("rewrite", f"{sum(map(bool, rewrites))} of {len(texts)}")
        active = [one for one in self.pipelines if any(map(_may_fire(one, selected), view.edits))]
        encoded = encode_queries(self.encoder, queries) if active or held else []
        decisions = [Decision(query) for query in queries]
        reasoners: list[Reasoner | None] = [None] * len(queries)
        for scoped in active:
            missed = [i for i, decision in enumerate(decisions) if not decision.hit]
            if not missed:
                break
            edits = ScopedView(view, self.encoder, _may_fire(scoped, selected), self.watch)
            made = scoped.pipeline.decide([encoded[i] for i in missed], edits)
            self.watch.lap("gate", _gate_note(made))
            for i, decision in zip(missed, made, strict=True):
                decisions[i] = _merged(decisions[i], decision)
                reasoners[i] = scoped.pipeline.reasoner if decision.hit else None
        if self.background is not None:
            for i, decision in enumerate(decisions):
                if not decision.hit:
                    most = self.background.max_facts
                    decisions[i] = with_mentioned(decision, view, selected, most)
                    reasoners[i] = self.background if decisions[i].hit else None
        if held:
            decisions = self._with_withheld(decisions, encoded, wanted, held)
        output_filter = Filter(
            "output",
            [patch for patch in view.regexes("output") if selected(patch)],
            [fact for fact in view.secrets if selected(fact)],
        )
        effective = tuple(decision.effective_query for decision in decisions)
        return RoutedBatch(
            effective, tuple(decisions), tuple(reasoners), rewrites,
            (output_filter,) * len(texts), self.view,
        )  # fmt: skip

    def _with_withheld(
        self,
        decisions: Sequence[Decision],
        queries: Sequence[Query],
        wanted: EditFilter,
        held: frozenset[str],
    ) -> list[Decision]:
        """Return the decisions, each with what the gate would let fire of the edits held back."""
        found = list(decisions)
        for scoped in self.pipelines:
            may_fire = _may_fire(scoped, lambda edit: edit.id in held and wanted(edit))
            if not any(map(may_fire, self.view.edits)):
                continue
            edits = ScopedView(self.view, self.encoder, may_fire)
            gated = decide_by_gate(scoped.pipeline.gate, queries, edits, max(len(held), 1))
            for i, decision in enumerate(gated):
                fired = {edit.id for edit in decision.fired}
                more = tuple(c for c in decision.candidates if c.edit_id in fired)
                found[i] = replace(found[i], withheld=(*found[i].withheld, *more))
        self.watch.lap("gate", f"{sum(bool(one.withheld) for one in found)} withheld by a rollout")
        return found


def _without(held: frozenset[str], wanted: EditFilter) -> EditFilter:
    return lambda edit: edit.id not in held and wanted(edit)


def _joined(parts: Sequence[tuple[Sequence[int], RoutedBatch]]) -> RoutedBatch:
    """Return parts of a batch as one, each row in its place."""
    place = {row: (part, at) for rows, part in parts for at, row in enumerate(rows)}
    rows = [place[row] for row in sorted(place)]
    return RoutedBatch(
        tuple(part.queries[at] for part, at in rows),
        tuple(part.decisions[at] for part, at in rows),
        tuple(part.reasoners[at] for part, at in rows),
        tuple(part.rewrites[at] for part, at in rows),
        tuple(part.output_filters[at] for part, at in rows),
        parts[0][1].view,
    )


def _may_fire(scoped: ScopedPipeline, selected: EditFilter) -> EditFilter:
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
    if not earlier.candidates:
        return decision
    candidates = sorted((*earlier.candidates, *decision.candidates), key=lambda c: -c.probability)
    near_misses = (*earlier.near_misses, *decision.near_misses)
    return replace(decision, candidates=tuple(candidates), near_misses=near_misses)
