"""What can be said against a set of patches: what looks wrong, and which of their tests fail."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from errata.cache.filters.regex import lint_pattern
from errata.cache.patches.conflicts import conflicts
from errata.cache.records import Edit, Fact, LanguagePatch, RegexPatch
from errata.cache.text.normalize import Words, plain_words
from errata.cache.text.then_clause import verbatim_answer
from errata.cache.view import in_force

if TYPE_CHECKING:
    from errata.gates.base import Decision
    from errata.trace import Answer

Severity = Literal["error", "warning"]

BATCH = 8
"""Questions answered at a time."""


class Asked(Protocol):
    """The part of an EditableModel that the tests of patches need."""

    def explain(self, question: str, /) -> Decision:
        """Return what is decided about a question."""

    def ask_many(self, questions: Sequence[str], /) -> list[Answer]:
        """Return the answers to several questions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a patch that a person should look at.

    :param severity: an error fails the check, a warning does not.
    :param where: ``file:line``, or the id of an edit that no file holds.
    :param message: what is wrong and how to mend it.
    """

    severity: Severity
    where: str
    message: str

    def __str__(self) -> str:
        """Return ``where: message``."""
        return f"{self.where}: {self.message}"


@dataclass(frozen=True, slots=True)
class TestCase:
    """One test of one patch.

    :param edit: the patch.
    :param query: the question that is asked.
    :param fires: whether the patch has to fire on it.
    """

    __test__ = False  # no class of pytest's

    edit: Edit
    query: str
    fires: bool


def review(edits: Sequence[Edit], today: datetime.date) -> tuple[Problem, ...]:
    """Return conflicts and warnings, in order of file and line; no model is needed.

    :param edits: all edits, in force or not.
    :param today: the day to judge dates by.
    """
    problems = [*_conflicts(edits, today)]
    for edit in edits:
        problems += [Problem("warning", where(edit), text) for text in _warnings(edit)]
    problems += _shared_aliases(in_force(edits, today))
    places = {where(edit): edit.location for edit in edits}

    def order(problem: Problem) -> tuple[str, int]:
        place = places.get(problem.where)
        return (place.path, place.line) if place is not None else ("", 0)

    return tuple(sorted(problems, key=order))


def test_cases(edits: Sequence[Edit], today: datetime.date) -> tuple[TestCase, ...]:
    """Return every test of the patches in force; a fact's own question is one of its tests.

    :param edits: all edits, in force or not.
    :param today: the day to judge dates by.
    """
    return tuple(case for edit in in_force(edits, today) for case in _cases(edit))


test_cases.__test__ = False  # type: ignore[attr-defined]


def run_tests(
    model: Asked,
    cases: Sequence[TestCase],
    done: Callable[[int], object] = lambda count: None,
) -> tuple[Problem, ...]:
    """Return an error for every test that fails.

    Facts and language patches are tested on the decision alone; regex patches on the answer,
    for it is the answer that they change.

    :param model: an EditableModel with the patches in force.
    :param cases: the tests.
    :param done: told, now and then, how many more tests have been run.
    """
    problems: list[Problem] = []
    decided = [case for case in cases if not isinstance(case.edit, RegexPatch)]
    answered = [case for case in cases if isinstance(case.edit, RegexPatch)]
    for case in decided:
        problems += _judge_decision(case, model.explain(case.query))
        done(1)
    for start in range(0, len(answered), BATCH):
        batch = answered[start : start + BATCH]
        answers = model.ask_many([case.query for case in batch])
        for case, answer in zip(batch, answers, strict=True):
            problems += _judge_answer(case, answer)
        done(len(batch))
    return tuple(problems)


def where(edit: Edit) -> str:
    """Return ``file:line`` of an edit, or its id where no file holds it."""
    return str(edit.location) if edit.location is not None else f"edit {edit.id}"


def _conflicts(edits: Sequence[Edit], today: datetime.date) -> Iterator[Problem]:
    for conflict in conflicts(edits, today):
        # the message begins with the place of the edit it is about
        place = next(
            (where(e) for e in conflict.edits if conflict.message.startswith(f"{where(e)}: ")), ""
        )
        severity: Severity = "error" if conflict.kind == "two answers" else "warning"
        yield Problem(severity, place, conflict.message.removeprefix(f"{place}: "))


def _warnings(edit: Edit) -> Iterator[str]:
    if isinstance(edit, RegexPatch):
        yield from lint_pattern(edit)
        if edit.tests.silent and not edit.tests.fires:
            yield "has silent tests and no fires: nothing shows that the pattern ever matches"
    elif isinstance(edit, LanguagePatch):
        if verbatim_answer(edit.consequence) is None:
            yield (
                f"{edit.consequence!r} says nothing word for word, so it needs a reasoner: quote "
                'the answer (then: say "...") or wrap the model with a reasoner'
            )
    elif isinstance(edit, Fact) and edit.forget and not (edit.secret or edit.secret_hash):
        yield (
            "forgets without a secret: only the question is refused, and the model may still "
            "tell the answer elsewhere; add secret_hash (errata hash-secret TEXT) or secret"
        )


def _shared_aliases(edits: Sequence[Edit]) -> Iterator[Problem]:
    """Yield a warning for each alias that patches on another subject have, too."""
    first: dict[Words, Fact] = {}
    for edit in (edit for edit in edits if isinstance(edit, Fact)):
        for alias in edit.aliases:
            other = first.setdefault(plain_words(alias), edit)
            if plain_words(other.subject or "") != plain_words(edit.subject or ""):
                yield Problem(
                    "warning",
                    where(edit),
                    f"alias {alias!r} is also one of {other.subject!r} ({where(other)}), so "
                    "neither fires by it unless the model knows which is meant: keep one",
                )


def _cases(edit: Edit) -> Iterator[TestCase]:
    own = (edit.question,) if isinstance(edit, Fact) else ()
    for query in dict.fromkeys((*own, *edit.tests.fires)):
        yield TestCase(edit, query, fires=True)
    for query in edit.tests.silent:
        yield TestCase(edit, query, fires=False)


def _judge_decision(case: TestCase, decision: Decision) -> Iterator[Problem]:
    edit = case.edit
    if not case.fires:
        if edit.id in {other.id for other in decision.fired}:
            yield _failed(case, f"fires on {case.query!r}, a silent test{_chance(edit, decision)}")
        return
    # a reasoner is given all that fired; verbatim the first one speaks, behind those put in
    heard = decision.fired if decision.route == "reason" else decision.fired[: decision.hops + 1]
    if edit.id not in {other.id for other in heard}:
        others = ", ".join(where(other) for other in decision.fired)
        instead = f"; {others} fires instead" if others else ""
        yield _failed(case, f"does not fire on {case.query!r}{_chance(edit, decision)}{instead}")


def _judge_answer(case: TestCase, answer: Answer) -> Iterator[Problem]:
    changed = {r.edit_id for row in answer.trace.replacements for r in row}
    if case.fires and case.edit.id not in changed:
        yield _failed(case, f"changes nothing on {case.query!r}: the answer is {answer.text!r}")
    if not case.fires and case.edit.id in changed:
        yield _failed(case, f"fires on {case.query!r}, a silent test: it gives {answer.text!r}")


def _chance(edit: Edit, decision: Decision) -> str:
    for candidate in decision.candidates:
        if candidate.edit_id == edit.id:
            return f" (probability {candidate.probability:.3f}, from {candidate.threshold:.3f} on)"
    return " (not among the candidates)"


def _failed(case: TestCase, message: str) -> Problem:
    return Problem("error", where(case.edit), message)


def count(problems: Iterable[Problem], severity: Severity) -> int:
    """Return the number of problems of a severity."""
    return sum(problem.severity == severity for problem in problems)
