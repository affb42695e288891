"""What is logged about a decision, as written and as read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from errata.cache.patches.kinds import dump_edit
from errata.cache.records import Edit
from errata.cache.view import View
from errata.gates.base import Candidate, Decision
from errata.output import Trace
from errata.pipelines.base import RoutedBatch

DECIDING = frozenset({"rewrite", "cache", "gate"})
"""Stages of a trace in which it is decided, rather than answered."""

_NOT_DECIDING = frozenset({"id", "source", "author"})
"""Keys of a patch that decide nothing."""


@dataclass(frozen=True, slots=True)
class LoggedPatch:
    """A patch as it was when a decision named it.

    :param id: its id.
    :param kind: its kind.
    :param location: ``file:line``; empty for an edit without a file.
    :param scope: its question, condition or pattern.
    :param content: the id that it would have by its content; empty where it is not known.
    """

    id: str
    kind: str
    location: str
    scope: str
    content: str = ""

    @property
    def name(self) -> str:
        """``file:line``, or the id of an edit without a file."""
        return self.location or self.id


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """What was decided about one query.

    :param time: seconds since 1970.
    :param query: the query as it was asked, secrets withheld, or its hash.
    :param route: how it was answered.
    :param fired: the patches that fired, best first.
    :param probability: of the first of them, or None.
    :param threshold: from which that one fires.
    :param listed: whether that one's lists decided.
    :param runner_up: the most probable candidate that did not fire.
    :param runner_up_probability: of that one.
    :param runner_up_threshold: from which that one fires.
    :param hops: fired patches whose answers were filled in.
    :param effective_query: what was answered; None: the query as it was asked.
    :param conversation: digest of the conversation's key, by which a rollout draws.
    :param withheld: patches that would have fired, if their rollout included the conversation.
    :param replaced: patterns and secrets that replaced text.
    :param shadow: the base model answered, whatever the route.
    :param decision_ms: milliseconds until it was decided, of the whole batch.
    :param total_ms: milliseconds until it was answered, of the whole batch.
    :param gate: fingerprint of the gate.
    :param model: fingerprint of the base model.
    :param patches: fingerprint of the edits in force.
    """

    time: float
    query: str
    route: str
    fired: tuple[LoggedPatch, ...] = ()
    probability: float | None = None
    threshold: float | None = None
    listed: bool = False
    runner_up: LoggedPatch | None = None
    runner_up_probability: float | None = None
    runner_up_threshold: float | None = None
    hops: int = 0
    effective_query: str | None = None
    conversation: str = ""
    withheld: tuple[LoggedPatch, ...] = ()
    replaced: tuple[LoggedPatch, ...] = ()
    shadow: bool = False
    decision_ms: float = 0.0
    total_ms: float = 0.0
    gate: str = ""
    model: str = ""
    patches: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class AuditedCall:
    """One call of ``generate``, to be logged.

    :param time: seconds since 1970.
    :param trace: how the batch was answered.
    :param batch: the same batch: its texts and conversations, and the edits of that moment.
    :param shadow: the base model answered.
    """

    time: float
    trace: Trace
    batch: RoutedBatch
    shadow: bool


def logged_decisions(
    call: AuditedCall, gate: str, model: str, patches: str
) -> list[LoggedDecision]:
    """Return what is logged about each query of a call.

    :param call: the call.
    :param gate: fingerprint of the gate.
    :param model: fingerprint of the base model.
    :param patches: fingerprint of the edits in force.
    """
    steps = call.trace.steps
    deciding = sum(step.seconds for step in steps if step.stage in DECIDING) * 1000
    total = sum(step.seconds for step in steps) * 1000
    found, view = [], call.batch.view
    for row, decision in enumerate(call.trace.decisions):
        first, second = _best(decision)
        replaced = call.trace.replacements[row] if row < len(call.trace.replacements) else ()
        query = view.without_secrets(call.batch.texts[row])
        asked = decision.effective_query
        found.append(
            LoggedDecision(
                time=call.time,
                query=query,
                route=decision.route,
                fired=tuple(map(logged_patch, decision.fired)),
                probability=None if first is None else first.probability,
                threshold=None if first is None else first.threshold,
                listed=first is not None and first.listed is not None,
                runner_up=None if second is None else _candidate(second, view),
                runner_up_probability=None if second is None else second.probability,
                runner_up_threshold=None if second is None else second.threshold,
                hops=decision.hops,
                effective_query=None if asked == query else asked,
                conversation=call.batch.conversations[row].digest,
                withheld=tuple(_candidate(one, view) for one in decision.withheld),
                replaced=tuple(_named(one.edit_id, view) for one in replaced),
                shadow=call.shadow,
                decision_ms=deciding,
                total_ms=total,
                gate=gate,
                model=model,
                patches=patches,
            )
        )
    return found


def logged_patch(edit: Edit) -> LoggedPatch:
    """Return an edit as it is logged."""
    location = "" if edit.location is None else str(edit.location)
    return LoggedPatch(edit.id, edit.kind, location, edit.scope, edit.content_hash())


def patches_fingerprint(edits: Iterable[Edit]) -> str:
    """Return a digest of edits: of all that may decide, in any order.

    :return: 16 hex digits.
    """
    total = 0
    for edit in edits:
        deciding = {key: v for key, v in dump_edit(edit).items() if key not in _NOT_DECIDING}
        part = json.dumps([edit.id, deciding], ensure_ascii=False).encode(errors="surrogatepass")
        total += int.from_bytes(hashlib.sha256(part).digest(), "big")  # a sum has no order
    return f"{total % 2**64:016x}"


def gate_fingerprint(gate: object) -> str:
    """Return a gate's class and a digest of its threshold and of the cards of all that was trained.

    :param gate: any gate; of one without a card the class alone.
    """
    trained = (getattr(gate, name, None) for name in ("artifact", "reader"))
    cards = [part.card for part in trained if part is not None]
    state = [cards, getattr(gate, "threshold", None)]
    digest = hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()
    return f"{type(gate).__name__} {digest[:16]}"


def _best(decision: Decision) -> tuple[Candidate | None, Candidate | None]:
    """Return the candidate of the first edit that fired, and the best that did not."""
    fired = {edit.id for edit in decision.fired}
    by_id: dict[str, Candidate] = {}
    for candidate in decision.candidates:
        by_id.setdefault(candidate.edit_id, candidate)
    first = by_id.get(decision.fired[0].id) if decision.fired else None
    others = [one for one in decision.candidates if one.edit_id not in fired]
    return first, max(others, key=lambda one: one.probability, default=None)


def _candidate(candidate: Candidate, view: View) -> LoggedPatch:
    edit = view.by_id.get(candidate.edit_id)
    if edit is not None:
        return logged_patch(edit)
    location = "" if candidate.location is None else str(candidate.location)
    return LoggedPatch(candidate.edit_id, candidate.kind, location, candidate.scope)


def _named(edit_id: str, view: View) -> LoggedPatch:
    edit = view.by_id.get(edit_id)
    return LoggedPatch(edit_id, "", "", "") if edit is None else logged_patch(edit)
