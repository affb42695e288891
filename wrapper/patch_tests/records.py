"""Problems, tests and their results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from errata.cache.records import Edit, SourceLocation
from errata.gates.base import Decision

if TYPE_CHECKING:
    from errata.output import Answer

Severity = Literal["error", "warning", "note"]
Expectation = Literal["fires", "silent", "answer"]


class PatchedModel(Protocol):
    """The part of an EditableModel that patch tests need."""

    def decide(self, questions: Sequence[str], /) -> list[Decision]:
        """Return the decisions about several questions."""

    def ask_many(self, questions: Sequence[str], /) -> list[Answer]:
        """Return the answers to several questions."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, a warning or a note about a patch.

    :param severity: an error fails the check, a warning and a note do not.
    :param where: ``file:line``, or the id of an edit without a file.
    :param message: what is wrong and how to correct it.
    :param patch: ``file:line`` of the patch, where ``where`` is a line inside it.
    :param advice: what to do, where the message does not say it.
    """

    severity: Severity
    where: str
    message: str
    patch: str = ""
    advice: str = ""

    def __str__(self) -> str:
        """Return ``where: message``, and what to do."""
        return f"{self.where}: {self.message}{f'; {self.advice}' if self.advice else ''}"


@dataclass(frozen=True, slots=True)
class TestCase:
    """One test of one patch.

    :param edit: the patch.
    :param query: the question.
    :param fires: whether the patch has to fire on it.
    :param answer: a text that the answer has to contain, whatever fires; None for any.
    :param line: the test's line in the patch's file; 0 where it is in none.
    """

    __test__ = False  # no class of pytest's

    edit: Edit
    query: str
    fires: bool = True
    answer: str | None = None
    line: int = 0

    @property
    def expectation(self) -> Expectation:
        """What is tested."""
        if self.answer is not None:
            return "answer"
        return "fires" if self.fires else "silent"

    @property
    def where(self) -> str:
        """``file:line`` of the test, or the patch's id."""
        place = self.edit.location
        if place is None or not self.line:
            return where(self.edit)
        return str(SourceLocation(place.path, self.line))


@dataclass(frozen=True, slots=True)
class TestResult:
    """What a test showed.

    :param case: the test.
    :param failure: what was found instead of what was expected; empty where it passed.
    :param advice: what to do about it.
    :param fired: ``file:line`` of the patches that fired.
    :param probability: that the patch governs the query; None where it was no candidate.
    :param threshold: the probability from which it fires.
    """

    __test__ = False

    case: TestCase
    failure: str = ""
    advice: str = ""
    fired: tuple[str, ...] = ()
    probability: float | None = None
    threshold: float | None = None

    def problem(self) -> Problem | None:
        """Return the failure as an error, None where the test passed."""
        if not self.failure:
            return None
        case = self.case
        return Problem("error", case.where, self.failure, where(case.edit), self.advice)


@dataclass(slots=True)
class Report:
    """What a check of one folder found.

    :param folder: the folder.
    :param patches: number of its patches.
    :param problems: in order of file and line.
    :param results: of the tests that were run.
    :param unlisted: problems beyond those listed.
    :param scopes: question, condition or pattern of each patch with a problem, by ``file:line``.
    """

    folder: str
    patches: int = 0
    problems: list[Problem] = field(default_factory=list)
    results: list[TestResult] = field(default_factory=list)
    unlisted: int = 0
    scopes: dict[str, str] = field(default_factory=dict)

    def count(self, severity: Severity) -> int:
        """Return the number of problems of a severity."""
        return count(self.problems, severity) + (self.unlisted if severity == "error" else 0)

    def by_patch(self) -> dict[str, list[Problem]]:
        """Return the problems by the patch that they are about."""
        found: dict[str, list[Problem]] = {}
        for problem in self.problems:
            found.setdefault(problem.patch or problem.where, []).append(problem)
        return found


def where(edit: Edit) -> str:
    """Return ``file:line`` of an edit, or its id if it is in no file."""
    return str(edit.location) if edit.location is not None else f"edit {edit.id}"


def count(problems: Iterable[Problem], severity: Severity) -> int:
    """Return the number of problems of a severity."""
    return sum(problem.severity == severity for problem in problems)
