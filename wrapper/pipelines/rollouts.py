"""Routing where patches are in force for a share of conversations: row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from errata.cache.encoder import Encoder, encode_queries
from errata.cache.rollout import Conversation
from errata.cache.view import View
from errata.gates.base import Decision
from errata.pipelines.base import (
    EditFilter,
    History,
    Lap,
    RoutedBatch,
    ScopedPipeline,
    ScopedView,
    decide_by_gate,
    may_fire,
    route_batch,
)
from errata.reasoners.background import BackgroundReasoner


def route_by_rollout(
    texts: Sequence[str],
    view: View,
    encoder: Encoder,
    pipelines: Sequence[ScopedPipeline],
    selected: EditFilter,
    lap: Lap,
    background: BackgroundReasoner | None = None,
    histories: Sequence[History] | None = None,
    conversations: Sequence[Conversation] = (),
) -> RoutedBatch:
    """Return the decisions about a batch of queries, by the edits in force for each.

    An edit whose rollout does not include a conversation is for it as if it were not there: it
    fires not, replaces nothing and supersedes nothing. The gate says, all the same, where it would
    have fired: that is noted as ``withheld``.

    :param conversations: one a query; all other parameters are those of :func:`route_batch`.
    """
    rows: dict[frozenset[str], list[int]] = {}
    for row, conversation in enumerate(conversations):
        held = frozenset(e.id for e in view.rolling_out if not conversation.includes(e))
        rows.setdefault(held, []).append(row)
    parts: list[RoutedBatch] = []
    for held, at in rows.items():
        some = [texts[row] for row in at]
        included = _without(held, selected)
        turns = None if histories is None else [histories[row] for row in at]
        part = route_batch(some, view, encoder, pipelines, included, lap, background, turns)
        if held:
            waiting = _within(held, selected)
            decisions = _with_withheld(part.decisions, view, encoder, pipelines, waiting)
            lap("gate", f"{sum(bool(one.withheld) for one in decisions)} withheld by a rollout")
            part = replace(part, decisions=tuple(decisions))
        parts.append(part)
    return _joined(parts, list(rows.values()), view, conversations)


def _with_withheld(
    decisions: Sequence[Decision],
    view: View,
    encoder: Encoder,
    pipelines: Sequence[ScopedPipeline],
    waiting: EditFilter,
) -> list[Decision]:
    """Return the decisions, each with the candidates among the edits held back that would fire."""
    found = list(decisions)
    queries = encode_queries(encoder, [decision.query for decision in decisions])
    for scoped in pipelines:
        edits = ScopedView(view, encoder, may_fire(scoped, waiting))
        count = sum(map(edits.allows, view.edits))
        gated = decide_by_gate(scoped.pipeline.gate, queries, edits, count) if count else ()
        for row, decision in enumerate(gated):
            fired = {edit.id for edit in decision.fired}
            more = tuple(one for one in decision.candidates if one.edit_id in fired)
            found[row] = replace(found[row], withheld=(*found[row].withheld, *more))
    return found


def _without(held: frozenset[str], selected: EditFilter) -> EditFilter:
    return lambda edit: edit.id not in held and selected(edit)


def _within(held: frozenset[str], selected: EditFilter) -> EditFilter:
    return lambda edit: edit.id in held and selected(edit)


def _joined(
    parts: Sequence[RoutedBatch],
    rows: Sequence[Sequence[int]],
    view: View,
    conversations: Sequence[Conversation],
) -> RoutedBatch:
    """Return parts of a batch as one, each row in its place.

    :param rows: for each part, its rows.
    """
    place = {row: (part, at) for part, some in zip(parts, rows, strict=True)
             for at, row in enumerate(some)}  # fmt: skip
    ordered = [place[row] for row in range(len(conversations))]
    return RoutedBatch(
        tuple(part.queries[at] for part, at in ordered),
        tuple(part.decisions[at] for part, at in ordered),
        tuple(part.reasoners[at] for part, at in ordered),
        tuple(part.rewrites[at] for part, at in ordered),
        tuple(part.output_filters[at] for part, at in ordered),
        view,
        tuple(part.texts[at] for part, at in ordered),
        tuple(conversations),
    )
