"""The first half of a query's way: rewrite, cache.search, gate.decide_batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from errata.cache.encoder import Encoder, encode_queries
from errata.cache.filters.text_filter import Filter, Replacement
from errata.cache.records import Edit, Hit, LanguagePatch, Query
from errata.cache.store import View
from errata.cache.text.aliases import AliasMatch
from errata.gates.base import Decision
from errata.gates.conditions.parse import is_certain, read_condition
from errata.pipelines.base import EditFilter, ScopedPipeline
from errata.reasoners.base import Reasoner
from errata.trace import StopWatch

NEAR_MISSES_TOLD = 3
"""Near misses that the trace of a batch names."""


@dataclass(frozen=True, slots=True)
class RoutedBatch:
    """What was found and decided about a batch of queries, all as of one moment.

    :param queries: the queries, rewritten, renamed and put further: what is answered.
    :param decisions: one a query.
    :param reasoners: for each query who answers it where the route is to reason; None on a miss.
    :param rewrites: for each query, what the query patterns replaced.
    :param output: the output filter of the same moment.
    """

    queries: tuple[str, ...]
    decisions: tuple[Decision, ...]
    reasoners: tuple[Reasoner | None, ...]
    rewrites: tuple[tuple[Replacement, ...], ...]
    output: Filter

    @property
    def touched(self) -> tuple[bool, ...]:
        """For each row, whether it is answered by anything but the caller's own prompt."""
        return tuple(
            decision.hit or bool(rewrite)
            for decision, rewrite in zip(self.decisions, self.rewrites, strict=True)
        )

    def answering(self, verbatim: Reasoner) -> list[tuple[Reasoner, list[int]]]:
        """Return who answers, each with the rows that are his; the others are the base's.

        :param verbatim: says what is stored, and refuses.
        """
        rows: dict[int, tuple[Reasoner, list[int]]] = {}
        for i, (decision, reasoner) in enumerate(zip(self.decisions, self.reasoners, strict=True)):
            stored = decision.route in ("verbatim", "refuse")
            who = verbatim if stored else reasoner if decision.route == "reason" else None
            if who is not None:
                rows.setdefault(id(who), (who, []))[1].append(i)
        return list(rows.values())


def route_batch(
    texts: Sequence[str],
    view: View,
    encoder: Encoder,
    turns: Sequence[ScopedPipeline],
    chosen: Callable[[Edit], bool],
    watch: StopWatch,
) -> RoutedBatch:
    """Take queries as far as the decision.

    :param texts: the queries as found in the prompts.
    :param view: the edits of one moment.
    :param encoder: the cache's encoder.
    :param turns: the pipelines in use; a query that one lets pass is the next one's.
    :param chosen: which edits the caller wants in force.
    :param watch: takes the time of each stage.
    """
    view = view.restricted(chosen)
    patterns = Filter("query", [p for p in view.regexes("query") if chosen(p)])
    rewritten = [patterns.apply(text) for text in texts]
    queries = tuple(text for text, _ in rewritten)
    watch.lap("rewrite", f"{sum(bool(r) for _, r in rewritten)} of {len(texts)}")
    asked = [turn.restricted(chosen) for turn in turns]
    asked = [turn for turn in asked if any(map(turn.allows, view.edits))]
    encoded = encode_queries(encoder, queries) if asked else []
    decisions = [Decision(query) for query in queries]
    reasoners: list[Reasoner | None] = [None] * len(queries)
    for turn in asked:
        left = [i for i, decision in enumerate(decisions) if not decision.hit]
        made = _decided([encoded[i] for i in left], view, encoder, turn, watch)
        for i, decision in zip(left, made, strict=True):
            decisions[i] = _joined(decisions[i], decision)
            reasoners[i] = turn.pipeline.reasoner if decision.hit else None
    output = Filter(
        "output",
        [p for p in view.regexes("output") if chosen(p)],
        [fact for fact in view.secrets if chosen(fact)],
    )
    replaced = tuple(told for _, told in rewritten)
    answered = tuple(decision.effective_query for decision in decisions)
    return RoutedBatch(answered, tuple(decisions), tuple(reasoners), replaced, output)


def _decided(
    queries: Sequence[Query], view: View, encoder: Encoder, turn: ScopedPipeline, watch: StopWatch
) -> list[Decision]:
    """Return one pipeline's decisions on the queries that are left."""
    if not queries:
        return []
    found = _proposed(queries, view, turn)
    watch.lap("cache", f"{len(view.edits)} edits")
    pipeline, again = turn.pipeline, _Redecide(view, encoder, turn)
    made = [
        pipeline.settled(decision, view.edits, turn.allows, again)
        for decision in pipeline.gate.decide_batch(queries, found)
    ]
    watch.lap("gate", _told(made))
    return made


@dataclass(frozen=True, slots=True)
class _Redecide:
    """Asks about other texts as of the same moment."""

    view: View
    encoder: Encoder
    turn: ScopedPipeline

    def __call__(self, text: str, wanted: EditFilter) -> Decision:
        [query] = encode_queries(self.encoder, [text])
        [hits] = _proposed([query], self.view, replace(self.turn, allows=wanted))
        return self.turn.pipeline.gate.decide_batch([query], [hits])[0]

    def alias_matches(self, text: str) -> Iterable[AliasMatch]:
        return self.view.alias_matches(text)


def _proposed(queries: Sequence[Query], view: View, turn: ScopedPipeline) -> list[list[Hit]]:
    """Return for each query the edits that are near, and those whose condition holds by a rule.

    That a text is in Chinese has nothing to do with what it means, so no search finds it.
    """
    certain = [edit for edit in view.edits if is_certain(edit) and turn.allows(edit)]
    near = view.search(queries, k=turn.pipeline.candidates, only=turn.allows)
    return [
        [*hits, *_by_rule(query, hits, certain, view)]
        for query, hits in zip(queries, near, strict=True)
    ]


def _by_rule(
    query: Query, hits: Sequence[Hit], certain: Sequence[LanguagePatch], view: View
) -> list[Hit]:
    """Return the patches whose condition a rule decides and that hold, but were not found."""
    there = {hit.edit.id for hit in hits}
    return [
        view.hit(query, patch)
        for patch in certain
        if patch.id not in there and read_condition(patch.condition).holds(query.text)
    ]


def _told(decisions: Sequence[Decision]) -> str:
    """Return how many hit and what nearly did, in a few words."""
    text = f"{sum(decision.hit for decision in decisions)} of {len(decisions)} hit"
    near = [c for decision in decisions if not decision.hit for c in decision.near_misses]
    told = [
        f"near miss: {c.location or c.edit_id} ({c.probability:.3f}, from {c.threshold:.3f} on)"
        for c in near[:NEAR_MISSES_TOLD]
    ]
    return "; ".join((text, *told))


def _joined(before: Decision, now: Decision) -> Decision:
    """Return a decision that also tells what the pipelines asked before have considered."""
    if not before.candidates:
        return now
    candidates = sorted((*before.candidates, *now.candidates), key=lambda c: -c.probability)
    near = (*before.near_misses, *now.near_misses)
    return replace(now, candidates=tuple(candidates), near_misses=near)
