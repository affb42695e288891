"""Edits of which one completes another, brought together for the reasoner."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from errata.cache.errors import EditError
from errata.cache.records import Edit, Fact
from errata.cache.text.spacing import word_pattern
from errata.cache.text.subject import subject_of
from errata.gates.base import Decision

IN_FORCE = 8
"""Edits that a reasoner reads at most for one query."""


Bears = Callable[[str, Sequence[Edit]], Sequence[bool]]
"""Tells of each of n edits whether it bears on a query."""


def completed(
    decision: Decision,
    edits: Sequence[Edit],
    wanted: Callable[[Edit], bool],
    bears: Bears | None = None,
) -> Decision:
    """Return a decision whose edits can answer together.

    After "X was born in Y" fired, whoever asks one step further also needs "Y lies in Z", though
    the query does not name Y: facts asked about what a fired fact answers come into force behind
    it. Not all: "X speaks which language?", put a step further, is "Y speaks which language?", and
    only what bears on that is read; where the query names Y itself, no step is asked. Of fired
    edits with the same question the first stays; the gate has put them in order. Of
    those that join, the higher priority stays, and what another one supersedes does not join.

    :param decision: as the gate made it; unless its route is to reason, it comes back as it is.
    :param edits: all edits of the moment.
    :param wanted: which of them may come into force.
    :param bears: tells which bear on a query put a step further; None takes all.
    """
    if decision.route != "reason":
        return decision
    fired = {_question(edit): edit for edit in reversed(decision.fired)}
    first = [edit for edit in decision.fired if fired[_question(edit)] is edit][:IN_FORCE]
    facts = [edit for edit in first if isinstance(edit, Fact) and edit.answer]
    more: dict[str, Edit] = {}
    for fact in facts:
        found = _about(fact.answer, edits)
        found = [edit for edit in found if _question(edit) not in fired and wanted(edit)]
        more |= {edit.id: edit for edit in _bearing(decision.effective_query, fact, found, bears)}
    joined = (*first, *_settled(list(more.values()), first))
    return replace(decision, fired=joined[:IN_FORCE])


def _about(answer: str, edits: Sequence[Edit]) -> list[Fact]:
    """Return the facts whose question names an answer."""
    name = answer.casefold()
    word = re.compile(word_pattern(name))
    # The plain search is quick and rules out nearly all.
    facts = [e for e in edits if isinstance(e, Fact) and name in e.question.casefold()]
    return [edit for edit in facts if word.search(edit.question.casefold())]


def _bearing(query: str, fact: Fact, found: Sequence[Fact], bears: Bears | None) -> Sequence[Edit]:
    """Return those that bear on a query once a fact has been taken for granted in it."""
    if bears is None or not found:
        return found
    if re.search(word_pattern(fact.answer.casefold()), query.casefold()):
        return ()
    further = _step_further(query, fact)
    if further is None:
        return found
    return [edit for edit, does in zip(found, bears(further, found), strict=True) if does]


def _step_further(query: str, fact: Fact) -> str | None:
    """Return a query about what a fact answers, None where it does not name the fact's subject."""
    try:
        subject = subject_of(fact)
    except EditError:
        return None
    told, count = re.subn(word_pattern(subject), lambda _: fact.answer, query, flags=re.IGNORECASE)
    return told if count else None


def _settled(more: Sequence[Edit], first: Sequence[Edit]) -> list[Edit]:
    """Return those that join, without what is superseded, one a question, priority first."""
    gone = {old for edit in (*first, *more) for old in edit.supersedes}
    best: dict[str, Edit] = {}
    for edit in sorted(more, key=lambda edit: -edit.priority):
        if edit.id not in gone:
            best.setdefault(_question(edit), edit)
    return list(best.values())


def _question(edit: Edit) -> str:
    return edit.scope.strip().casefold()
