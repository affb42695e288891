"""The first half of a query's way: rewrite, cache.search, gate.decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from errata.cache.encoder import Encoder
from errata.cache.queries import make_queries
from errata.cache.records import Edit, Hit, LanguagePatch, Query
from errata.cache.store import View
from errata.completion import completed
from errata.filters import Filter
from errata.gates.base import Decision, Gate
from errata.gates.conditions import is_certain, read_condition
from errata.trace import Replacement, StopWatch

CANDIDATES = 16
"""Edits that the cache proposes to the gate for each query."""
NEAR_MISSES_TOLD = 3
"""Near misses that the trace of a batch names."""


@dataclass(frozen=True, slots=True)
class Way:
    """What was found and decided about a batch of queries, all as of one moment.

    :param queries: the queries, rewritten.
    :param decisions: one a query.
    :param rewrites: for each query, what the query patterns replaced.
    :param output: the output filter of the same moment.
    """

    queries: tuple[str, ...]
    decisions: tuple[Decision, ...]
    rewrites: tuple[tuple[Replacement, ...], ...]
    output: Filter

    @property
    def touched(self) -> tuple[bool, ...]:
        """For each row, whether it is answered by anything but the caller's own prompt."""
        return tuple(
            decision.hit or bool(rewrite)
            for decision, rewrite in zip(self.decisions, self.rewrites, strict=True)
        )


def prepare(
    texts: Sequence[str],
    view: View,
    encoder: Encoder,
    gate: Gate,
    wanted: Callable[[Edit], bool],
    reasoned: Callable[[Edit], bool],
    watch: StopWatch,
    phrased: Callable[[Edit], bool] = lambda edit: False,
) -> Way:
    """Take queries as far as the decision.

    :param texts: the queries as found in the prompts.
    :param view: the edits of one moment.
    :param encoder: the cache's encoder.
    :param gate: decides.
    :param wanted: which edits may come into force.
    :param reasoned: by which edits somebody can answer what only follows from them.
    :param watch: takes the time of each stage.
    :param phrased: which edits are said in the reasoner's own words, not as they stand.
    """
    patterns = Filter("query", [p for p in view.regexes("query") if wanted(p)])
    rewritten = [patterns.apply(text) for text in texts]
    queries = tuple(text for text, _ in rewritten)
    watch.lap("rewrite", f"{sum(bool(r) for _, r in rewritten)} of {len(texts)}")
    if any(edit.kind != "regex" for edit in view.edits):
        encoded = make_queries(encoder, queries)

        def in_context(edit: Edit) -> bool:
            return wanted(edit) and reasoned(edit)

        certain = [edit for edit in view.edits if is_certain(edit) and wanted(edit)]
        found = [
            [*hits, *_by_rule(query, hits, certain, view)]
            for query, hits in zip(
                encoded, view.search(encoded, k=CANDIDATES, only=wanted), strict=True
            )
        ]
        watch.lap("cache", f"{len(view.edits)} edits")
        decisions = tuple(
            completed(
                _answerable(_worded(gate.decide(query, hits), phrased), reasoned),
                view.edits, in_context,
            )
            for query, hits in zip(encoded, found, strict=True)
        )  # fmt: skip
        watch.lap("gate", _told(decisions))
    else:
        decisions = tuple(Decision(query) for query in queries)
    output = Filter(
        "output",
        [p for p in view.regexes("output") if wanted(p)],
        [fact for fact in view.secrets if wanted(fact)],
    )
    return Way(queries, decisions, tuple(r for _, r in rewritten), output)


def _worded(decision: Decision, phrased: Callable[[Edit], bool]) -> Decision:
    """Return the decision, to be reasoned about where the words of what is said are left open."""
    if decision.route == "verbatim" and phrased(decision.fired[0]):
        return replace(decision, route="reason")
    return decision


def _by_rule(
    query: Query, hits: Sequence[Hit], certain: Sequence[LanguagePatch], view: View
) -> list[Hit]:
    """Return the patches whose condition a rule decides and that hold, but were not found.

    That a text is in Chinese has nothing to do with what it means, so no search finds it.
    """
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


def _answerable(decision: Decision, reasoned: Callable[[Edit], bool]) -> Decision:
    """Return the decision, a miss where nobody can reason by what fired."""
    if decision.route != "reason":
        return decision
    fired = tuple(edit for edit in decision.fired if reasoned(edit))
    if fired:
        return replace(decision, fired=fired)
    ids = {edit.id for edit in decision.fired}
    unanswered = tuple(c for c in decision.candidates if c.edit_id in ids)
    return replace(decision, fired=(), route="base", near_misses=unanswered + decision.near_misses)
