"""Routing where patches are in force for a share of conversations: row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from errata.cache.encoder import encode_queries
from errata.cache.view import View
from errata.gates.base import Decision
from errata.pipelines.base import (
    EditFilter,
    RoutedBatch,
    RouteRequest,
    ScopedView,
    decide_by_gate,
    may_fire,
    route_batch,
)


def route_by_rollout(request: RouteRequest) -> RoutedBatch:
    """Return the decisions about a batch of queries, by the edits in force for each.

    An edit whose rollout does not include a conversation is for it as if it were not there: it
    fires not, replaces nothing and supersedes nothing. The gate says, all the same, where it would
    have fired: that is noted as ``withheld``.
    """
    rows: dict[frozenset[str], list[int]] = {}
    rolling_out = request.view.rolling_out
    for row, conversation in enumerate(request.conversations):
        held = frozenset(edit.id for edit in rolling_out if not conversation.includes(edit))
        rows.setdefault(held, []).append(row)
    parts: list[RoutedBatch] = []
    for held, at in rows.items():
        turns = request.histories
        part = route_batch(
            replace(
                request,
                texts=[request.texts[row] for row in at],
                selected=_without(held, request.selected),
                histories=None if turns is None else [turns[row] for row in at],
                conversations=[request.conversations[row] for row in at],
            )
        )
        if held:
            waiting = replace(request, selected=_within(held, request.selected))
            decisions = _with_withheld(part.decisions, waiting)
            note = f"{sum(bool(one.withheld) for one in decisions)} withheld by a rollout"
            request.lap("gate", note)
            part = replace(part, decisions=tuple(decisions))
        parts.append(part)
    return _joined(parts, list(rows.values()), request.view)


def _with_withheld(decisions: Sequence[Decision], waiting: RouteRequest) -> list[Decision]:
    """Return the decisions, each with the candidates among the edits held back that would fire.

    :param waiting: the request, with these edits alone selected.
    """
    found = list(decisions)
    view, encoder = waiting.view, waiting.encoder
    queries = encode_queries(encoder, [decision.query for decision in decisions])
    for scoped in waiting.pipelines:
        edits = ScopedView(view, encoder, may_fire(scoped, waiting.selected))
        count = sum(map(edits.allows, view.in_memory))
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


def _joined(parts: Sequence[RoutedBatch], rows: Sequence[Sequence[int]], view: View) -> RoutedBatch:
    """Return parts of a batch as one, each row in its place.

    :param rows: for each part, its rows.
    """
    place = {row: (part, at) for part, some in zip(parts, rows, strict=True)
             for at, row in enumerate(some)}  # fmt: skip
    ordered = [place[row] for row in range(len(place))]
    return RoutedBatch(
        tuple(part.queries[at] for part, at in ordered),
        tuple(part.decisions[at] for part, at in ordered),
        tuple(part.reasoners[at] for part, at in ordered),
        tuple(part.rewrites[at] for part, at in ordered),
        tuple(part.output_filters[at] for part, at in ordered),
        view,
        tuple(part.texts[at] for part, at in ordered),
        tuple(part.conversations[at] for part, at in ordered),
    )
