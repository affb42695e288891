"""The background writer of an audit log: a query never waits for it, nor fails by it."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from errata.audit.config import AuditConfig
from errata.audit.opening import DecisionWriter, audit_database
from errata.audit.records import (
    AuditedCall,
    LoggedDecision,
    gate_fingerprint,
    logged_decisions,
    patches_fingerprint,
)
from errata.cache.records import Edit

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("errata")

BATCH = 64
"""Calls written in one transaction at most."""
UNYIELDING = 4
"""Decisions or edits that the writer works through before it lets queries have the interpreter:
about a quarter of a millisecond's work, which is how long a query waits for it at most; one that
is not let have it waits for 5 ms."""
YIELD_SECONDS = 1e-4
SHORTEST_WAIT = 0.01
"""Seconds between two looks at the queue, at least."""

_T = TypeVar("_T")
_Queued = AuditedCall | threading.Event | None
"""A call; an event to set once all before it is written; None ends the thread."""


@dataclass(slots=True, eq=False)
class _State:
    """What the writer's thread and the threads of queries share.

    :param config: of the log.
    :param gate: fingerprint of the gate.
    :param model: fingerprint of the base model.
    :param calls: to be written. The writer's thread looks for them from time to time and never
        waits for one: to wake it costs a query the processor, where others want it.
    :param wake: set where it should look at once.
    :param written: decisions in the log.
    :param lost: decisions that could not be written; counted by the writer's thread.
    :param refused: decisions that found the queue full; counted by the threads of queries.
    :param reported: of the refused ones, those that a warning has counted.
    :param complained: the present trouble was reported.
    :param digest: the edits of the last call written, and their fingerprint.
    :param closing: no more calls are taken, and no query is waited for.
    :param lock: held by the threads of queries while they count.
    """

    config: AuditConfig
    gate: str
    model: str
    calls: queue.SimpleQueue[_Queued] = field(default_factory=queue.SimpleQueue)
    written: int = 0
    lost: int = 0
    refused: int = 0
    reported: int = 0
    complained: bool = False
    digest: tuple[Sequence[Edit], str] | None = None
    wake: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def refuse(self, count: int) -> None:
        """Count decisions of a query that are not logged; the writer's thread reports them."""
        with self.lock:
            self.refused += count

    def lose(self, count: int, reason: object) -> None:
        """Count decisions that are not logged; the first since a success is reported."""
        self.lost += count
        self._complain(reason)

    def report(self) -> None:
        """Report refused decisions, if there are new ones."""
        if self.refused > self.reported:
            self.reported = self.refused
            self._complain("more are waiting than the queue holds")

    def _complain(self, reason: object) -> None:
        if not self.complained:
            path = self.config.name
            log.warning("%s: decisions are not logged, only counted: %s", path, reason)
        self.complained = True


def open_audit(
    audit: str | Path | AuditConfig | None, gate: object, model: nn.Module | str
) -> AuditWriter | None:
    """Return the writer of an audit log, or None without one.

    :param audit: the file, or the whole configuration.
    :param gate: decides.
    :param model: the base model, without edits in its weights; a name where it is in no process
        of ours.
    :raises errata.cache.errors.StoreError: the log cannot be opened.
    """
    if audit is None:
        return None
    from errata.generation.fingerprint import fingerprint

    config = audit if isinstance(audit, AuditConfig) else AuditConfig(audit)
    name = model if isinstance(model, str) else fingerprint(model)[:16]
    return AuditWriter(config, gate_fingerprint(gate), name)


class AuditWriter:
    """Writes what was decided to an audit log, by a thread of its own.

    :param config: the log.
    :param gate: fingerprint of the gate.
    :param model: fingerprint of the base model.
    :raises errata.cache.errors.StoreError: the log cannot be opened, to begin with.
    """

    def __init__(self, config: AuditConfig, gate: str, model: str) -> None:
        self.config = config
        self._fingerprints = gate, model
        database = audit_database(config)
        database.prepare()
        self._start(database)

    @property
    def written(self) -> int:
        """Decisions written."""
        return self._state.written

    @property
    def dropped(self) -> int:
        """Decisions that are not in the log: the queue was full, or writing failed."""
        return self._state.lost + self._state.refused

    def record(self, call: AuditedCall) -> None:
        """Log a call of ``generate`` soon; returns at once, and raises nothing."""
        try:
            if self._forked:  # a fork has no thread but its own
                self._start(audit_database(self.config))
            state = self._state
            if state.closing.is_set() or state.calls.qsize() >= self.config.queue:
                state.refuse(len(call.batch.texts))
            else:
                state.calls.put(call)
        except Exception:  # no thread can be started
            self._state.refuse(len(call.batch.texts))

    def flush(self, seconds: float = 30.0) -> bool:
        """Wait until everything recorded so far is written or dropped.

        :param seconds: the longest wait.
        :return: whether it is.
        """
        if not self._thread.is_alive():
            return self._state.calls.empty()
        done = threading.Event()
        self._state.calls.put(done)
        self._state.wake.set()
        return done.wait(seconds)

    def close(self) -> None:
        """Write what is waiting, and end the thread."""
        self._finalizer()

    def _start(self, database: DecisionWriter) -> None:
        self._forked, process = False, os.getpid()
        self._state = _State(self.config, *self._fingerprints)
        self._thread = threading.Thread(
            target=_write_all, args=(self._state, database), name="errata-audit", daemon=True
        )
        self._thread.start()
        # also at exit, when daemon threads still run
        self._finalizer = weakref.finalize(self, _finish, self._state, self._thread, process)
        _WRITERS.add(self)


_WRITERS: weakref.WeakSet[AuditWriter] = weakref.WeakSet()


def _mark_forked() -> None:
    for writer in list(_WRITERS):
        writer._forked = True


if hasattr(os, "register_at_fork"):  # a query need not ask the system for its process each time
    os.register_at_fork(after_in_child=_mark_forked)


def _finish(state: _State, thread: threading.Thread, process: int) -> None:
    if process != os.getpid():
        return  # a fork's copy
    state.closing.set()
    state.calls.put(None)
    state.wake.set()
    if thread is not threading.current_thread():
        thread.join(state.config.close_seconds)


def _write_all(state: _State, database: DecisionWriter) -> None:
    """Write calls until the queue yields None."""
    going_on = True
    while going_on:
        state.wake.wait(max(SHORTEST_WAIT, state.config.flush_seconds))  # one transaction for many
        state.wake.clear()
        while going_on and not state.calls.empty():
            going_on = _write_some(state, database)
    database.close()


def _write_some(state: _State, database: DecisionWriter) -> bool:
    """Write what is waiting, a batch at most; return whether to go on."""
    found: list[_Queued] = []
    with contextlib.suppress(queue.Empty):
        while len(found) < BATCH:
            found.append(state.calls.get_nowait())
    _write(state, database, [one for one in found if isinstance(one, AuditedCall)])
    state.report()
    for one in found:
        if isinstance(one, threading.Event):
            one.set()
    return None not in found


def _write(state: _State, database: DecisionWriter, calls: Sequence[AuditedCall]) -> None:
    """Write calls; failing is counted."""
    decisions: list[LoggedDecision] = []
    for call in _yielding(calls, state):
        try:
            patches = _digest(state, call.batch.view.edits)
            decisions += logged_decisions(call, state.gate, state.model, patches)
        except Exception as error:
            state.lose(len(call.batch.texts), error)
    if not decisions:
        return
    try:
        database.write(_yielding(decisions, state))
    except (sqlite3.Error, OSError) as error:
        what = f"the log cannot be written ({error}): check folder, rights and disk"
        state.lose(len(decisions), what)
    except Exception as error:
        state.lose(len(decisions), error)
    else:
        state.written += len(decisions)
        state.complained = False


def _yielding(items: Iterable[_T], state: _State) -> Iterator[_T]:
    """Yield items, and from time to time the interpreter, so that no query waits long for it."""
    for at, item in enumerate(items, start=1):
        yield item
        if at % UNYIELDING == 0 and not state.closing.is_set():
            time.sleep(YIELD_SECONDS)


def _digest(state: _State, edits: Sequence[Edit]) -> str:
    """Return the fingerprint of the edits in force, computed once for each view."""
    if state.digest is None or state.digest[0] is not edits:
        state.digest = (edits, patches_fingerprint(_yielding(edits, state)))
    return state.digest[1]
