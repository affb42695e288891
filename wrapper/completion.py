"""Edits of which one completes another, brought together for the reasoner."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from errata.cache.records import Edit, Fact
from errata.cache.spacing import spaced
from errata.gates.base import Decision

IN_FORCE = 8
"""Edits that a reasoner reads at most for one query."""


def completed(
    decision: Decision, edits: Sequence[Edit], wanted: Callable[[Edit], bool]
) -> Decision:
    """Return a decision whose edits can answer together.

    After "X was born in Y" fired, whoever asks one step further also needs "Y lies in Z", though
    the query does not name Y: facts asked about what a fired fact answers come into force behind
    it. Of fired edits with the same question the first stays; the gate has put them in order. Of
    those that join, the higher priority stays, and what another one supersedes does not join.

    :param decision: as the gate made it; unless its route is to reason, it comes back as it is.
    :param edits: all edits of the moment.
    :param wanted: which of them may come into force.
    """
    if decision.route != "reason":
        return decision
    fired = {_question(edit): edit for edit in reversed(decision.fired)}
    first = [edit for edit in decision.fired if fired[_question(edit)] is edit][:IN_FORCE]
    answers = [edit.answer.casefold() for edit in first if isinstance(edit, Fact)]
    words = [re.compile(_apart(answer)) for answer in answers if answer]
    more = [
        edit for edit in edits
        if isinstance(edit, Fact)
        # The plain search is quick and rules out nearly all.
        and any(answer in edit.question.casefold() for answer in answers)
        and any(word.search(edit.question.casefold()) for word in words)
        and _question(edit) not in fired and wanted(edit)
    ]  # fmt: skip
    return replace(decision, fired=tuple((*first, *_settled(more, first))[:IN_FORCE]))


def _settled(more: Sequence[Edit], first: Sequence[Edit]) -> list[Edit]:
    """Return those that join, without what is superseded, one a question, priority first."""
    gone = {old for edit in (*first, *more) for old in edit.supersedes}
    best: dict[str, Edit] = {}
    for edit in sorted(more, key=lambda edit: -edit.priority):
        if edit.id not in gone:
            best.setdefault(_question(edit), edit)
    return list(best.values())


def _apart(answer: str) -> str:
    """Return a pattern that finds an answer as words of their own; Chinese has no spaces."""
    before = r"(?<!\w)" if spaced(" ", answer) else ""
    after = r"(?!\w)" if spaced(answer, " ") else ""
    return f"{before}{re.escape(answer)}{after}"


def _question(edit: Edit) -> str:
    return edit.scope.strip().casefold()
