"""Replaying a log: which of its queries would be answered otherwise now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from errata.audit.records import LoggedDecision, LoggedPatch, logged_patch
from errata.cache.rollout import Conversation, Key
from errata.gates.base import Decision

BATCH = 32
"""Queries decided at once."""


class Decider(Protocol):
    """The part of an EditableModel that a replay needs."""

    def decide(self, questions: Sequence[str], /, *, key: Key = None) -> list[Decision]:
        """Return the decision about each question."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one query is answered: what a log says, or what is decided now.

    :param route: how.
    :param patches: those that the answer is by; empty on a miss.
    :param probability: of the first that fired, or None.
    :param effective_query: what is answered.
    """

    route: str
    patches: tuple[LoggedPatch, ...]
    probability: float | None
    effective_query: str

    def same_answer(self, other: Verdict) -> bool:
        """Return whether the same patches, as far as they say anything, answer the same text."""
        return self._answer() == other._answer()

    def _answer(self) -> tuple[object, ...]:
        contents = tuple(patch.content or patch.id for patch in self.patches)
        asked = self.effective_query if self.route in ("base", "reason") else ""
        return (self.route, contents, asked)


@dataclass(frozen=True, slots=True)
class ReplayedQuery:
    """A query of a log, decided again.

    :param query: as it was asked.
    :param count: how often it was asked with the same decision.
    :param before: what the log says.
    :param after: what is decided now.
    """

    query: str
    count: int
    before: Verdict
    after: Verdict

    @property
    def differs(self) -> bool:
        """Whether it is answered otherwise."""
        return not self.before.same_answer(self.after)


def merged(replayed: Iterable[ReplayedQuery]) -> list[ReplayedQuery]:
    """Return what was replayed, conversations of one query and one outcome together.

    :param replayed: as :func:`replay` yields it.
    """
    counts: dict[tuple[str, Verdict, Verdict], int] = {}
    for one in replayed:
        key = (one.query, one.before, one.after)
        counts[key] = counts.get(key, 0) + one.count
    return [ReplayedQuery(q, count, before, after) for (q, before, after), count in counts.items()]


def replay(
    logged: Iterable[LoggedDecision],
    model: Decider,
    *,
    by_conversation: bool,
    batch: int = BATCH,
    progress: Callable[[int], object] = lambda count: None,
) -> Iterator[ReplayedQuery]:
    """Yield each distinct query of a log, decided again, in the order first asked.

    :param logged: the log's decisions.
    :param model: has the patches that are tried.
    :param by_conversation: decide a query again in each of its conversations, as rollouts may
        differ; otherwise once.
    :param batch: queries decided at once.
    :param progress: called with the number of logged decisions that were replayed since its last
        call.
    """
    counts: dict[tuple[str, str, Verdict], int] = {}
    for one in logged:
        key = (one.query, one.conversation if by_conversation else "", logged_verdict(one))
        counts[key] = counts.get(key, 0) + 1
    pairs = list(dict.fromkeys((query, conversation) for query, conversation, _ in counts))
    befores: dict[tuple[str, str], list[tuple[Verdict, int]]] = {}
    for (query, conversation, verdict), count in counts.items():
        befores.setdefault((query, conversation), []).append((verdict, count))
    for start in range(0, len(pairs), batch):
        asked = pairs[start : start + batch]
        decisions = model.decide(
            [query for query, _ in asked], key=[Conversation(digest) for _, digest in asked]
        )
        for pair, decision in zip(asked, decisions, strict=True):
            after = verdict_of(decision)
            for before, count in befores[pair]:
                yield ReplayedQuery(pair[0], count, before, after)
        progress(sum(count for pair in asked for _, count in befores[pair]))


def logged_verdict(logged: LoggedDecision) -> Verdict:
    """Return how a log says that a query was answered."""
    used = _used(logged.fired, logged.route, logged.hops)
    effective = logged.query if logged.effective_query is None else logged.effective_query
    return Verdict(logged.route, used, logged.probability, effective)


def verdict_of(decision: Decision) -> Verdict:
    """Return how a query is answered by a decision."""
    used = _used(tuple(map(logged_patch, decision.fired)), decision.route, decision.hops)
    probabilities = {one.edit_id: one.probability for one in reversed(decision.candidates)}
    probability = probabilities.get(decision.fired[0].id) if decision.fired else None
    return Verdict(decision.route, used, probability, decision.effective_query)


def _used(fired: tuple[LoggedPatch, ...], route: str, hops: int) -> tuple[LoggedPatch, ...]:
    """Return the patches that the answer is by: all for a reasoner, else hops and the next."""
    return fired if route == "reason" else fired[: hops + 1]
