"""The background writer of an audit log: a query never waits for it, nor fails by it."""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from errata.audit.config import AuditConfig
from errata.audit.database import AuditDatabase
from errata.audit.records import (
    AuditedCall,
    LoggedDecision,
    gate_fingerprint,
    logged_decisions,
    patches_fingerprint,
)
from errata.cache.errors import StoreError
from errata.cache.records import Edit

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("errata")

BATCH = 256
"""Calls written in one transaction at most."""


@dataclass(slots=True, eq=False)
class _State:
    """What the writer's thread and the threads of queries share.

    :param config: of the log.
    :param gate: fingerprint of the gate.
    :param model: fingerprint of the base model.
    :param calls: to be written; None ends the thread.
    :param written: decisions in the log.
    :param dropped: decisions that are not.
    :param complained: the present trouble was reported.
    :param digest: the edits of the last call written, and their fingerprint.
    :param closing: do not wait for more.
    :param lock: held while the counts are changed.
    """

    config: AuditConfig
    gate: str
    model: str
    calls: queue.Queue[AuditedCall | None]
    written: int = 0
    dropped: int = 0
    complained: bool = False
    digest: tuple[tuple[Edit, ...], str] | None = None
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def lose(self, count: int, reason: object) -> None:
        """Count decisions that are not logged; the first since a success is reported."""
        with self.lock:
            self.dropped += count
            first, self.complained = not self.complained, True
        if first:
            path = self.config.path
            log.warning("%s: decisions are not logged, only counted: %s", path, reason)


def open_audit(
    audit: str | Path | AuditConfig | None, gate: object, model: nn.Module
) -> AuditWriter | None:
    """Return the writer of an audit log, or None without one.

    :param audit: the file, or the whole configuration.
    :param gate: decides.
    :param model: the base model, without edits in its weights.
    :raises errata.cache.errors.StoreError: the log cannot be opened.
    """
    if audit is None:
        return None
    from errata.generation.fingerprint import fingerprint

    config = audit if isinstance(audit, AuditConfig) else AuditConfig(audit)
    return AuditWriter(config, gate_fingerprint(gate), fingerprint(model)[:16])


class AuditWriter:
    """Writes what was decided to an audit log, by a thread of its own.

    :param config: the log.
    :param gate: fingerprint of the gate.
    :param model: fingerprint of the base model.
    :raises errata.cache.errors.StoreError: the log cannot be opened, to begin with.
    """

    def __init__(self, config: AuditConfig, gate: str, model: str) -> None:
        self.config = config
        self._database = AuditDatabase(config)
        self._fingerprints = gate, model
        self._start()

    @property
    def written(self) -> int:
        """Decisions written."""
        return self._state.written

    @property
    def dropped(self) -> int:
        """Decisions that are not in the log: the queue was full, or writing failed."""
        return self._state.dropped

    def record(self, call: AuditedCall) -> None:
        """Log a call of ``generate`` soon; returns at once, and raises nothing."""
        try:
            if self._process != os.getpid():
                self._start()  # a fork has no thread but its own
            if self._state.closing.is_set():
                raise StoreError("the log is closed")
            self._state.calls.put_nowait(call)
        except queue.Full:
            self._state.lose(len(call.batch.texts), "more are waiting than the queue holds")
        except Exception as error:
            self._state.lose(len(call.batch.texts), error)

    def flush(self, seconds: float = 30.0) -> bool:
        """Wait until everything recorded so far is written or dropped.

        :param seconds: the longest wait.
        :return: whether it is.
        """
        calls = self._state.calls
        with calls.all_tasks_done:
            return calls.all_tasks_done.wait_for(lambda: not calls.unfinished_tasks, seconds)

    def close(self) -> None:
        """Write what is waiting, and end the thread."""
        self._finalizer()

    def _start(self) -> None:
        self._process = os.getpid()
        calls: queue.Queue[AuditedCall | None] = queue.Queue(self.config.queue)
        self._state = _State(self.config, *self._fingerprints, calls)
        database = AuditDatabase(self.config) if hasattr(self, "_thread") else self._database
        self._thread = threading.Thread(
            target=_write_all, args=(self._state, database), name="errata-audit", daemon=True
        )
        self._thread.start()
        # also at exit, when daemon threads still run
        self._finalizer = weakref.finalize(self, _finish, self._state, self._thread, self._process)


def _finish(state: _State, thread: threading.Thread, process: int) -> None:
    if process != os.getpid():
        return  # a fork's copy
    state.closing.set()
    try:
        state.calls.put(None, timeout=state.config.close_seconds)
    except queue.Full:
        return
    if thread is not threading.current_thread():
        thread.join(state.config.close_seconds)


def _write_all(state: _State, database: AuditDatabase) -> None:
    """Write calls until the queue yields None."""
    while True:
        calls: list[AuditedCall | None] = [state.calls.get()]
        if calls[0] is not None:
            state.closing.wait(state.config.flush_seconds)  # one transaction for many
        try:
            while len(calls) < BATCH:
                calls.append(state.calls.get_nowait())
        except queue.Empty:
            pass
        _write(state, database, [call for call in calls if call is not None])
        for _ in calls:
            state.calls.task_done()
        if None in calls:
            database.close()
            return
        del calls


def _write(state: _State, database: AuditDatabase, calls: Sequence[AuditedCall]) -> None:
    """Write calls; failing is counted."""
    decisions: list[LoggedDecision] = []
    for call in calls:
        try:
            patches = _digest(state, call.batch.view.edits)
            decisions += logged_decisions(call, state.gate, state.model, patches)
        except Exception as error:
            state.lose(len(call.batch.texts), error)
    try:
        if decisions:
            database.write(decisions)
    except (sqlite3.Error, OSError) as error:
        what = f"the log cannot be written ({error}): check folder, rights and disk"
        state.lose(len(decisions), what)
    except Exception as error:
        state.lose(len(decisions), error)
    else:
        with state.lock:
            state.written += len(decisions)
            state.complained &= not decisions


def _digest(state: _State, edits: tuple[Edit, ...]) -> str:
    """Return the fingerprint of the edits in force, computed once for each view."""
    if state.digest is None or state.digest[0] is not edits:
        state.digest = (edits, patches_fingerprint(edits))
    return state.digest[1]
