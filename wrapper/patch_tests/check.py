"""Check a folder of patches: read it, review it, and run its tests."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from errata.cache.errors import PatchFolderError
from errata.cache.index.terms import WordIndex
from errata.cache.patches.folder import PatchFolder
from errata.cache.precedence import effect, in_force
from errata.cache.records import Edit, Fact
from errata.patch_tests.changed import changed_since
from errata.patch_tests.contradictions import GateContradictions
from errata.patch_tests.examples import propose, review_examples
from errata.patch_tests.leaks import ProbedModel, leak_problems
from errata.patch_tests.records import PatchedModel, Problem, Report, TestCase, where
from errata.patch_tests.review import bulk_untested, review, untested
from errata.patch_tests.run import run_tests, test_cases

if TYPE_CHECKING:
    from errata.cache.encoder import Encoder
    from errata.gates.base import Gate


class CheckedModel(ProbedModel, PatchedModel, Protocol):
    """The part of an EditableModel that a check needs."""

    rollouts: bool
    """Whether it keeps to the patches' rollouts."""

    @property
    def gate(self) -> Gate:
        """Decides whether a patch fires."""

    @property
    def encoder(self) -> Encoder:
        """Encodes the patches' texts."""

    def close(self) -> None:
        """Save what makes the next start quick."""


class ShowProgress(Protocol):
    """Shows how much of a step is done, as :func:`errata.commands.progress.progress`."""

    def __call__(self, what: str, total: int, /) -> AbstractContextManager[Callable[[int], object]]:
        """Return the context in which the step is done, and what counts."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The patches to test; contradictions are sought among all.

    :param files: names of files in the folder; None for all.
    :param changed_since: a revision of git: only what changed since; empty for all.
    """

    files: frozenset[str] | None = None
    changed_since: str = ""

    def of(self, folder: Path, edits: Sequence[Edit]) -> Collection[str]:
        """Return the ids of the selected patches of a folder.

        :raises ErrataError: there is no such revision.
        """
        chosen = [edit for edit in edits if self.files is None or _file(edit) in self.files]
        if not self.changed_since:
            return {edit.id for edit in chosen}
        return {edit.id for edit in chosen} & changed_since(folder, self.changed_since, edits)


def check_folder(
    folder: Path,
    open_model: Callable[[PatchFolder], CheckedModel] | None,
    selection: Selection | None = None,
    *,
    today: datetime.date | None = None,
    leaks: bool = False,
    training_text: Callable[[], Iterable[str]] = tuple,
    progress: ShowProgress = lambda what, total: nullcontext(lambda count: None),
) -> Report:
    """Return what is wrong with a folder of patches.

    :param folder: the folder.
    :param open_model: opens the model with the patches that were read; None runs no tests.
    :param selection: the patches to test; all unless given.
    :param today: the day on which patches are in force; the present one unless given.
    :param leaks: probe the model for the secrets of the selected patches.
    :param training_text: returns texts that the model was trained on, for these probes.
    :param progress: shows how much of a step is done.
    :raises ErrataError: the model cannot be opened, or there is no such revision.
    """
    day = today or datetime.date.today()
    report = Report(str(folder))
    try:
        files = PatchFolder(folder)
    except PatchFolderError as error:
        report.problems = [
            Problem("error", str(p.where or folder), p.message.removeprefix(f"{folder}: "))
            for p in error.problems
        ]
        report.unlisted = error.unlisted
        return report
    edits = files.edits
    ids = (selection or Selection()).of(folder, edits)
    chosen = [edit for edit in edits if edit.id in ids]
    report.patches = len(edits)
    places = {where(edit) for edit in chosen}
    reviewed = review(edits, day, lambda edit: edit.id in ids)
    found = [one for one in reviewed if one.severity == "error" or one.where in places]
    found += _untested(chosen, edits)
    live = in_force(edits, day)
    if open_model is not None and ids:
        probe = partial(leak_problems, training_text=training_text) if leaks else None
        found += _tested(report, live, ids, open_model, files, day, progress, probe)
    order = {where(edit): at for at, edit in enumerate(edits)}
    found.sort(key=lambda one: order.get(one.patch or one.where, -1))
    report.problems = found
    report.scopes = {where(edit): edit.scope for edit in edits}
    return report


def _tested(
    report: Report,
    live: Sequence[Edit],
    ids: Collection[str],
    open_model: Callable[[PatchFolder], CheckedModel],
    files: PatchFolder,
    day: datetime.date,
    progress: ShowProgress,
    probe: Callable[[ProbedModel, Sequence[Edit]], list[Problem]] | None,
) -> list[Problem]:
    """Run the tests of the selected patches; return what they and the gate show."""
    cases = test_cases(live, day, lambda edit: edit.id in ids)
    chosen = [edit for edit in live if edit.id in ids]
    if not cases and not chosen:
        return []
    with closing(open_model(files)) as model:
        model.rollouts = False  # a patch is tested as it is where it is in force
        found = _run(report, model, cases, chosen, GateContradictions(live, ids), progress)
        return found if probe is None else found + probe(model, chosen)


def _run(
    report: Report,
    model: CheckedModel,
    cases: Sequence[TestCase],
    chosen: Sequence[Edit],
    contradictions: GateContradictions,
    progress: ShowProgress,
) -> list[Problem]:
    """Run tests; return what they and the gate show of the selected patches."""
    with progress("testing", len(cases)) as advance:
        results = run_tests(model, cases, advance, contradictions.add)
    report.results = list(results)
    found = [problem for one in results if (problem := one.problem()) is not None]
    with progress("comparing", contradictions.unasked()) as advance:
        found += contradictions.problems(model.gate, model.encoder, advance)
    with progress("reviewing the examples", len(chosen)) as advance:
        for edit in chosen:
            found += review_examples(model.gate, model.encoder, [edit])
            advance(1)
    return found


def _untested(chosen: Sequence[Edit], edits: Sequence[Edit]) -> Iterable[Problem]:
    """Return warnings of patches without tests, with questions to try."""
    bulk = bulk_untested(chosen)
    single = [e for e in untested(chosen) if not _file(e).lower().endswith(".jsonl")]
    if not single:
        return bulk
    neighbours = Neighbours(edits)
    return [*bulk, *(propose(edit, neighbours) for edit in single)]


class Neighbours:
    """Finds questions of other patches by the words that they share.

    :param edits: all patches.
    """

    def __init__(self, edits: Sequence[Edit]) -> None:
        self._facts = {edit.question: edit for edit in edits if isinstance(edit, Fact)}
        self._index = WordIndex()
        self._index.add(self._facts)

    def __call__(self, edit: Edit, count: int) -> list[str]:
        """Return at most so many questions with another answer, the nearest first."""
        found = self._index.search(edit.scope, 4 * count)
        others = [text for text, _ in found if effect(self._facts[text]) != effect(edit)]
        return others[:count]


def _file(edit: Edit) -> str:
    return Path(edit.location.path).name if edit.location is not None else ""
