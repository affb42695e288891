"""The last stage of a decision: its route, given what the reasoner can do."""

from __future__ import annotations

from dataclasses import replace

from errata.cache.records import Edit
from errata.gates.base import Decision
from errata.reasoners.base import Paraphraser, Reasoner
from errata.reasoners.verbatim import VerbatimReasoner

MAX_EDITS = 8
"""Edits that a reasoner reads at most for one query."""


def route(decision: Decision, reasoner: Reasoner) -> Decision:
    """Return the final decision: edits that the reasoner supports, the best of each question.

    :param decision: as the resolvers left it; of one that was decomposed the last hop is final.
    :param reasoner: answers where the route is ``reason``.
    """
    if decision.hops:
        return decision
    decision = supported(decision, reasoner)
    if decision.route != "reason":
        return decision
    best: dict[str, Edit] = {}
    for edit in decision.fired:
        best.setdefault(edit.scope.strip().casefold(), edit)
    return replace(decision, fired=tuple(best.values())[:MAX_EDITS])


def supported(decision: Decision, reasoner: Reasoner) -> Decision:
    """Return a decision restricted to the edits that the reasoner supports, or a miss.

    A paraphrasing reasoner rewords a stored text; an entailed query never gets it verbatim.
    """
    if decision.route == "verbatim" and isinstance(reasoner, Paraphraser):
        if reasoner.paraphrases(decision.fired[0]):
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
