"""Decisions, edits and replays as JSON: what commands print and the server returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from errata.audit.replay import ReplayedQuery, Verdict
    from errata.cache.filters.text_filter import Replacement
    from errata.cache.records import Edit
    from errata.gates.base import Candidate, Decision


def location_of(item: Edit | Candidate | Replacement) -> str | None:
    """Return ``file:line``, or None if no patch file holds it."""
    return str(item.location) if item.location is not None else None


def edit_json(edit: Edit) -> dict[str, Any]:
    """Return the fields that identify an edit."""
    return {"id": edit.id, "kind": edit.kind, "scope": edit.scope, "location": location_of(edit)}


def candidate_json(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate's fields."""
    return {
        "id": candidate.edit_id,
        "kind": candidate.kind,
        "scope": candidate.scope,
        "probability": round(candidate.probability, 6),
        "threshold": round(candidate.threshold, 6),
        "relation": candidate.relation,
        "agreement_threshold": _rounded(candidate.agreement_threshold),
        "base_agreed": candidate.base_agreed,
        "listed": candidate.listed,
        "listed_at": None if candidate.listed_at is None else str(candidate.listed_at),
        "near_silent": candidate.near_silent,
        "location": location_of(candidate),
    }


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return a decision's fields."""
    return {
        "query": decision.query,
        "route": decision.route,
        "mentioned": decision.mentioned,
        "fired": [edit_json(edit) for edit in decision.fired],
        "overruled": [edit_json(edit) for edit in decision.overruled],
        "canonical_query": decision.canonical_query or None,
        "sub_question": decision.sub_question or None,
        "hops": decision.hops,
        "resolvers": list(decision.resolvers),
        "changed_by": list(decision.changed_by),
        # the names of version 0.1, until 0.3
        "renamed": decision.canonical_query or None,
        "further": decision.sub_question or None,
        "steps": decision.hops,
        "candidates": [candidate_json(c) for c in decision.candidates],
        "near_misses": [candidate_json(c) for c in decision.near_misses],
        "withheld": [candidate_json(c) for c in decision.withheld],
    }


def replayed_json(one: ReplayedQuery) -> dict[str, Any]:
    """Return a query of a log, as it was answered and as it would be."""
    return {
        "query": one.query,
        "count": one.count,
        "before": _verdict_json(one.before),
        "after": _verdict_json(one.after),
    }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "route": verdict.route,
        "patches": [
            {"id": patch.id, "location": patch.location or None, "scope": patch.scope}
            for patch in verdict.patches
        ],
        "probability": verdict.probability,
        "effective_query": verdict.effective_query,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
