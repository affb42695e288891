"""Review a set of patches and run their tests."""

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
from errata.gates.base import ThresholdGate

if TYPE_CHECKING:
    from errata.cache.encoder import Encoder
    from errata.gates.base import Decision
    from errata.output import Answer

Severity = Literal["error", "warning", "note"]

BATCH = 8
"""Questions answered in one batch."""


class PatchedModel(Protocol):
    """The part of an EditableModel that patch tests need."""

    def explain(self, question: str, /) -> Decision:
        """Return the decision about a question."""

    def ask_many(self, questions: Sequence[str], /) -> list[Answer]:
        """Return the answers to several questions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error or a warning about a patch.

    :param severity: an error fails the check, a warning and a note do not.
    :param where: ``file:line``, or the id of an edit without a file.
    :param message: what is wrong and how to correct it.
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
    :param query: the question.
    :param fires: whether the patch has to fire on it.
    """

    __test__ = False  # no class of pytest's

    edit: Edit
    query: str
    fires: bool


def review(edits: Sequence[Edit], today: datetime.date) -> tuple[Problem, ...]:
    """Return conflicts and warnings, sorted by file and line. No model is needed.

    :param edits: all edits, in force or not.
    :param today: the day on which edits are in force.
    """
    problems = [*_conflicts(edits, today)]
    for edit in edits:
        problems += [Problem("warning", where(edit), text) for text in _warnings(edit)]
    problems += _shared_aliases(in_force(edits, today))
    locations = {where(edit): edit.location for edit in edits}

    def position(problem: Problem) -> tuple[str, int]:
        location = locations.get(problem.where)
        return (location.path, location.line) if location is not None else ("", 0)

    return tuple(sorted(problems, key=position))


def test_cases(edits: Sequence[Edit], today: datetime.date) -> tuple[TestCase, ...]:
    """Return every test of the patches in force, each fact's question among them.

    :param edits: all edits, in force or not.
    :param today: the day on which edits are in force.
    """
    return tuple(case for edit in in_force(edits, today) for case in _cases(edit))


test_cases.__test__ = False  # type: ignore[attr-defined]


def run_tests(
    model: PatchedModel,
    cases: Sequence[TestCase],
    progress: Callable[[int], object] = lambda count: None,
) -> tuple[Problem, ...]:
    """Return an error for every test that fails.

    Facts and language patches are tested on the decision, regex patches on the answer.

    :param model: an EditableModel with the patches in force.
    :param cases: the tests.
    :param progress: called with the number of tests run since its last call.
    """
    problems: list[Problem] = []
    decided = [case for case in cases if not isinstance(case.edit, RegexPatch)]
    answered = [case for case in cases if isinstance(case.edit, RegexPatch)]
    for case in decided:
        problems += _judge_decision(case, model.explain(case.query))
        progress(1)
    for start in range(0, len(answered), BATCH):
        batch = answered[start : start + BATCH]
        answers = model.ask_many([case.query for case in batch])
        for case, answer in zip(batch, answers, strict=True):
            problems += _judge_answer(case, answer)
        progress(len(batch))
    return tuple(problems)


def review_examples(
    gate: object, encoder: Encoder, edits: Sequence[Edit], max_unknown_share: float = 0.2
) -> tuple[Problem, ...]:
    """Return notes on what the gate makes of the examples of patches.

    :param gate: of the model that the patches are for; one that cannot leave examples out gives
        no notes on them.
    :param encoder: that model's.
    :param edits: the patches in force.
    :param max_unknown_share: share of unknown tokens up to which a text is readable.
    """
    found = []
    facts = [edit for edit in edits if isinstance(edit, Fact)]
    shares = encoder.unknown_share([edit.question for edit in facts])
    for fact, share in zip(facts, shares.tolist(), strict=True):
        if share > max_unknown_share:
            text = "the encoder cannot read this, so it fires on its question and `fires` only"
            found.append(Problem("warning", where(fact), text))
    if not isinstance(gate, ThresholdGate):
        return tuple(found)
    for edit in edits:
        if edit.tests.fires and not isinstance(edit, RegexPatch):
            left = [one for one in gate.leave_one_out(edit) if one.listed == "fires"]
            fires = sum(one.fires for one in left)
            if fires < len(left):
                text = f"fires without being listed: {fires} of {len(left)}"
                found.append(Problem("note", where(edit), text))
    return tuple(found)


def where(edit: Edit) -> str:
    """Return ``file:line`` of an edit, or its id if it is in no file."""
    return str(edit.location) if edit.location is not None else f"edit {edit.id}"


def _conflicts(edits: Sequence[Edit], today: datetime.date) -> Iterator[Problem]:
    for conflict in conflicts(edits, today):
        # the message begins with the location of one of the edits
        location = next(
            (where(e) for e in conflict.edits if conflict.message.startswith(f"{where(e)}: ")), ""
        )
        severity: Severity = (
            "error" if conflict.kind in ("two answers", "shared example") else "warning"
        )
        yield Problem(severity, location, conflict.message.removeprefix(f"{location}: "))


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
    question = (edit.question,) if isinstance(edit, Fact) else ()
    for query in dict.fromkeys((*question, *edit.tests.fires)):
        yield TestCase(edit, query, fires=True)
    for query in edit.tests.silent:
        yield TestCase(edit, query, fires=False)


def _judge_decision(case: TestCase, decision: Decision) -> Iterator[Problem]:
    edit = case.edit
    if not case.fires:
        if edit.id in {other.id for other in decision.fired}:
            yield _failed(
                case, f"fires on {case.query!r}, a silent test{_probability(edit, decision)}"
            )
        return
    # a reasoner reads all edits that fired; else the edits of the hops and the first one answer
    used = decision.fired if decision.route == "reason" else decision.fired[: decision.hops + 1]
    if edit.id not in {other.id for other in used}:
        others = ", ".join(where(other) for other in decision.fired)
        instead = f"; {others} fires instead" if others else ""
        yield _failed(
            case, f"does not fire on {case.query!r}{_probability(edit, decision)}{instead}"
        )


def _judge_answer(case: TestCase, answer: Answer) -> Iterator[Problem]:
    changed = {r.edit_id for row in answer.trace.replacements for r in row}
    if case.fires and case.edit.id not in changed:
        yield _failed(case, f"changes nothing on {case.query!r}: the answer is {answer.text!r}")
    if not case.fires and case.edit.id in changed:
        yield _failed(case, f"fires on {case.query!r}, a silent test: it gives {answer.text!r}")


def _probability(edit: Edit, decision: Decision) -> str:
    for candidate in decision.candidates:
        if candidate.edit_id == edit.id:
            return f" (probability {candidate.probability:.3f}, from {candidate.threshold:.3f} on)"
    return " (not among the candidates)"


def _failed(case: TestCase, message: str) -> Problem:
    return Problem("error", where(case.edit), message)


def count(problems: Iterable[Problem], severity: Severity) -> int:
    """Return the number of problems of a severity."""
    return sum(problem.severity == severity for problem in problems)
