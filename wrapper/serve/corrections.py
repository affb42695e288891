"""What administrators do: list, add, change, retract and try edits, and read the audit log."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from errata.audit.log import LogFilter
from errata.audit.opening import DecisionLog, open_log
from errata.audit.replay import ReplayedQuery, replay
from errata.audit.triage import TriageCase, TriageConfig, triage_cases
from errata.cache.errors import EditError, ErrataError, PatchError, UnknownEdit
from errata.cache.patches import file_change
from errata.cache.patches.examples import example_added
from errata.cache.patches.file_change import FileChange
from errata.cache.patches.kinds import parse_edit
from errata.cache.precedence import in_force
from errata.cache.records import Edit, Listed
from errata.gates.base import Decision
from errata.output import Answer
from errata.patch_tests.records import Problem, TestResult, where
from errata.patch_tests.review import review
from errata.patch_tests.run import run_tests, test_cases
from errata.router import EditRouter
from errata.serve.engine import Engine

Action = Literal["add", "change", "retract", "example"]
DEFAULT_FILE = "patches.yaml"


@dataclass(frozen=True, slots=True)
class Correction:
    """What is to be done about one edit.

    :param action: what.
    :param entry: the patch, as an entry of a patch file; of ``add`` and ``change``.
    :param id: of the edit that is there.
    :param file: name of the patch file that a new patch goes to; None: the cache of this server.
    :param listed: the list that an example goes to.
    :param query: the example.
    """

    action: Action
    entry: Mapping[str, Any] | None = None
    id: str = ""
    file: str | None = None
    listed: Listed = "fires"
    query: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a draft would change in the log.

    :param decisions: decisions that were decided again.
    :param changed: those that would be others.
    """

    decisions: int
    changed: tuple[ReplayedQuery, ...]


class ReadOnly(ErrataError):
    """The server may not write patch files."""


class Corrections:
    """The administrators' operations on one server; they block.

    :param engine: has the edits, and answers.
    :param writable: whether patch files may be written.
    """

    def __init__(self, engine: Engine, *, writable: bool = False) -> None:
        self.engine, self.writable = engine, writable

    @property
    def router(self) -> EditRouter:
        """The edits, and what decides by them."""
        return self.engine.router

    @property
    def folder(self) -> Path | None:
        """The folder of patch files."""
        return self.router.patches

    # -- changes -----------------------------------------------------------------------------

    def plan(self, correction: Correction) -> FileChange:
        """Return the change of a patch file that a correction is.

        :raises PatchError: the entry is wrong, or the file cannot be changed.
        :raises UnknownEdit: there is no edit of that id.
        :raises EditError: it is in no file.
        """
        if correction.action == "add":
            return file_change.added([_parsed(correction)], self._file(correction.file))
        edit = self._edit(correction.id)
        if edit.location is None:
            raise EditError(f"edit {edit.id} is in no file: it is changed without a diff")
        if correction.action == "example":
            return example_added(edit, correction.listed, correction.query.strip())
        if correction.action == "retract":
            return file_change.removed(edit)
        return file_change.replaced(edit, _parsed(correction))

    def apply(self, correction: Correction) -> Edit:
        """Carry out a correction; it is in force on return. Return the edit that it is about.

        :raises ReadOnly: it would change a patch file, and the server may not.
        :raises ErrataError: as of :meth:`plan`.
        """
        before = None if correction.action == "add" else self._edit(correction.id)
        in_file = correction.file is not None if before is None else before.location is not None
        if in_file:
            change = self.plan(correction)
            if not self.writable:
                raise ReadOnly(
                    "expected a server that may write patch files, found one that may not: start "
                    "it with --write, or apply the diff that it proposes"
                )
            change.write()
            self.router.reload()
            return self._after(correction, before)
        if before is None:
            return self.router.edit(_parsed(correction))
        if correction.action == "retract":
            return self.router.retract(before.id)
        new = _parsed(correction) if correction.action == "change" else _taught(before, correction)
        self.router.retract(before.id)
        try:
            return self.router.edit(new)
        except ErrataError:
            self.router.edit(before)
            raise

    def _after(self, correction: Correction, before: Edit | None) -> Edit:
        """Return the edit of a file after a correction."""
        if before is not None and correction.action in ("retract", "example"):
            return before if correction.action == "retract" else self._edit(before.id)
        return self._edit(_parsed(correction).id)

    def _edit(self, edit_id: str) -> Edit:
        for edit in self.router.cache.all_edits:
            if edit.id == edit_id:
                return edit
        raise UnknownEdit(f"expected the id of an edit, found {edit_id!r}: list them anew")

    def _file(self, name: str | None) -> Path:
        """Return a file of the folder.

        :raises PatchError: there is no folder, or the name is not one of a file in it.
        """
        name = name or DEFAULT_FILE
        if self.folder is None:
            raise PatchError("expected a folder of patches, found none: start with --patches")
        if Path(name).name != name or name.startswith((".", "_")):
            raise PatchError(f"expected the name of a file in {self.folder}, found {name!r}")
        return self.folder / name

    # -- trials ------------------------------------------------------------------------------

    def _with_draft(self, correction: Correction) -> tuple[EditRouter, Edit]:
        """Return a router in which a draft is in force, and the draft."""
        draft = _parsed(correction)
        edits = [
            one for one in self.router.cache.all_edits if one.id not in (correction.id, draft.id)
        ]
        return self.router.trial([*edits, draft]), draft

    def test(self, correction: Correction) -> tuple[list[TestResult], list[Problem]]:
        """Return the results of a draft's own tests, and its conflicts with other edits.

        What an answer has to contain is not tested: the draft is in force nowhere yet.
        """
        trial, draft = self._with_draft(correction)
        try:
            cases = test_cases(trial.edits, datetime.date.today(), lambda edit: edit.id == draft.id)
            cases = tuple(case for case in cases if case.answer is None)
            results = [] if draft.kind == "regex" else list(run_tests(_Decisions(trial), cases))
            return results, self.conflicts(draft, trial)
        finally:
            trial.close()

    def run(self, edit_id: str) -> list[TestResult]:
        """Return the results of the tests of an edit in force, answers among them."""
        edit = self._edit(edit_id)
        cases = test_cases([edit], datetime.date.today())
        model = _Tested(self.router, self.engine)
        return list(run_tests(model, cases))

    def conflicts(
        self, edit: Edit | None = None, router: EditRouter | None = None
    ) -> list[Problem]:
        """Return the conflicts among the edits, or those of one edit."""
        edits = (router or self.router).cache.all_edits
        found = review(edits, datetime.date.today())
        if edit is None:
            return [one for one in found if one.severity == "error"]
        place = where(edit)
        return [one for one in found if place in (one.where, one.patch) or place in one.message]

    def preview(self, correction: Correction, days: float) -> Preview:
        """Return what a draft would change in the log of the last days.

        :raises errata.cache.errors.StoreError: there is no log, or it keeps no texts.
        """
        trial, _ = self._with_draft(correction)
        try:
            with self._log() as log:
                log.require_text()
                logged = list(log.read(LogFilter(since=time.time() - days * 86400)))
            found = replay(logged, trial, by_conversation=bool(trial.cache.view().rolling_out))
            return Preview(len(logged), tuple(one for one in found if one.differs))
        finally:
            trial.close()

    def triage(self, days: float, config: TriageConfig | None = None) -> tuple[TriageCase, ...]:
        """Return near misses and narrow hits of the last days, the most doubtful first.

        :raises errata.cache.errors.StoreError: there is no log, or it keeps no texts.
        """
        with self._log() as log:
            log.require_text()
            logged = list(log.read(LogFilter(since=time.time() - days * 86400)))
        edits = in_force(self.router.cache.all_edits, datetime.date.today())
        return triage_cases(logged, edits, config)

    def _log(self) -> DecisionLog:
        writer = self.router.audit
        if writer is None:
            raise ErrataError("expected an audit log, found none: start with --audit FILE")
        writer.flush(5.0)
        return open_log(writer.config.path)


@dataclass(frozen=True, slots=True)
class _Decisions:
    """Decides; has no answers."""

    router: EditRouter

    def decide(self, questions: Sequence[str], /) -> list[Decision]:
        """Return the decision about each question."""
        return self.router.decide(questions)

    def ask_many(self, questions: Sequence[str], /) -> list[Answer]:
        """Raise: a draft answers nothing."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _Tested(_Decisions):
    """Decides and answers."""

    engine: Engine

    def ask_many(self, questions: Sequence[str], /) -> list[Answer]:
        """Return the answers to several questions."""
        return self.engine.ask_many(questions)


def _parsed(correction: Correction) -> Edit:
    if correction.entry is None:
        raise PatchError("expected a patch, found none: give its entry")
    return parse_edit(correction.entry)


def _taught(edit: Edit, correction: Correction) -> Edit:
    """Return an edit with one example more."""
    tests, text = edit.tests, correction.query.strip()
    lists: dict[str, Any] = {correction.listed: (*getattr(tests, correction.listed), text)}
    return replace(edit, tests=replace(tests, lines=(), **lists))
