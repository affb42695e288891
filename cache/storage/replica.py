"""A local copy of the edits in PostgreSQL, which follows every change of them.

The copy is an ordinary ``edits.sqlite3``, and a thread of this process is to its readers what
another process is to those of a folder. So nothing that answers a query waits for the network.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import StoreError
from errata.cache.storage.database import Database, Row
from errata.cache.storage.postgres_edits import CHANNEL, Position, PostgresEdits, Session

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
"""Changes are read that often also without a notification: a dead connection is noticed."""
LONGEST_WAIT = 1.0
"""Seconds between two attempts to connect; the first follows after a tenth of one."""
CLOSE_SECONDS = 5.0


class ReplicaDatabase(Database):
    """The edits of PostgreSQL, read from a local copy. A change is made there first.

    :param edits: the edits of all replicas.
    :param folder: of the copy; None: a temporary one.
    :raises StoreError: the server or the folder cannot be used.
    """

    def __init__(self, edits: PostgresEdits, folder: Path | None = None) -> None:
        self.edits = edits
        self._session: Session | None = None
        # Held by who changes the copy. Taken after the writers' row, never before.
        self._copying = threading.Lock()
        self._closing = threading.Event()
        self._listening: psycopg.Connection[tuple[Any, ...]] | None = None
        self._remove: weakref.finalize[..., ReplicaDatabase] | None = None
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="errata-replica-"))
            self._remove = weakref.finalize(self, _remove, folder, os.getpid())
        super().__init__(folder / "edits.sqlite3")
        try:
            self._catch_up()
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def segment_home(self) -> Database | None:
        """None: all edits are in memory, whose encodings the replicas share in PostgreSQL."""
        return None

    def fingerprint(self) -> str | None:
        """Return the encoder's fingerprint, or None where none was set."""
        return self.edits.fingerprint()

    def set_fingerprint(self, fingerprint: str) -> None:
        """Store the encoder's fingerprint."""
        self.edits.set_fingerprint(fingerprint)

    def changed(self) -> bool:
        """Return whether the copy changed since this thread's last call."""
        self._notice_fork()
        return super().changed()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open the transaction of the one writer among all replicas; the copy is up to date in it.

        When the block is left normally, its changes are in PostgreSQL.
        """
        self._notice_fork()
        with self.edits.writing() as session, self._copying, super().writing() as connection:
            self._copy(session, session.head(), connection)
            self._session = session
            yield connection
            if session.written is not None:
                self.edits.commit(session)
                self._set_position(connection, session.written)

    def change(
        self,
        connection: sqlite3.Connection,
        insert: Sequence[Row],
        delete: Sequence[str],
        seen: Mapping[str, str] | None = None,
    ) -> int:
        """Write edits inside :meth:`writing`; return the copy's new generation."""
        if self._session is None:
            raise StoreError(f"{self.edits.server.name}: expected a change inside writing()")
        self._session.change(insert, delete, seen or {})
        return super().change(connection, insert, delete, seen)

    def close(self) -> None:
        """Close every connection, and end the thread that follows."""
        self._closing.set()
        if self._process_of_thread == os.getpid():
            if (listening := self._listening) is not None:
                _interrupt(listening)
            self._thread.join(CLOSE_SECONDS)
        self.edits.server.close()
        super().close()
        if self._remove is not None:
            self._remove()

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.execute("PRAGMA synchronous = OFF")  # what is lost is copied again
        return connection

    # -- the copy ----------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Copy the changes of other replicas."""
        with self._copying, self.edits.reading() as session:
            head = session.head()
            if head != self._position(self._connection()):
                with super().writing() as connection:
                    self._copy(session, head, connection)

    def _copy(self, session: Session, head: Position, connection: sqlite3.Connection) -> None:
        mine = self._position(connection)
        if head == mine:
            return
        if not session.has(mine):
            _LOG.warning(
                "%s: the last change that was copied is not there any more; the database was "
                "restored, or made anew: its edits are copied again",
                self.edits.server.name,
            )
            held = connection.execute("SELECT id FROM edits").fetchall()
            super().change(connection, (), [key for (key,) in held])
            mine = Position()
        for part in session.changes(mine):
            super().change(connection, part.insert, part.delete, part.seen)
        self._set_position(connection, head)

    def _position(self, connection: sqlite3.Connection) -> Position:
        query = "SELECT key, value FROM meta WHERE key IN ('copied', 'token')"
        found = dict(connection.execute(query).fetchall())
        return Position(int(found.get("copied", 0)), str(found.get("token", "")))

    def _set_position(self, connection: sqlite3.Connection, position: Position) -> None:
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [("copied", str(position.generation)), ("token", position.token)],
        )

    # -- following ---------------------------------------------------------------------------

    _process_of_thread = 0

    def _notice_fork(self) -> None:
        """Begin anew in a fork: it has no thread but its own, and locks of others stay taken."""
        if self._process_of_thread != os.getpid() and not self._closing.is_set():
            self._copying, self._listening = threading.Lock(), None
            self._start()

    def _start(self) -> None:
        self._process_of_thread = os.getpid()
        self._thread = threading.Thread(target=self._follow, name="errata-replica", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        """Copy changes as they are made; connect again where the connection is lost."""
        wait = 0.1
        complained = False
        while not self._closing.is_set():
            try:
                for _ in self._notifications():
                    self._catch_up()
                    wait, complained = 0.1, False
            except Exception as error:
                if self._closing.is_set():
                    return
                if not complained:
                    _LOG.warning(
                        "%s: changes of other replicas are not seen for the moment (%s); the edits "
                        "that were read stay in force, and the connection is tried again",
                        self.edits.server.name,
                        self.edits.server.text(error),
                    )
                complained = True
                self._closing.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    def _notifications(self) -> Iterator[None]:
        """Yield once listening, and then at every change, and from time to time without one."""
        with contextlib.closing(self.edits.server.connect()) as connection:
            connection.execute(f"LISTEN {CHANNEL}".encode())
            self._listening = connection
            try:
                while not self._closing.is_set():
                    yield
                    for _ in connection.notifies(timeout=HEARTBEAT_SECONDS, stop_after=1):
                        pass
            finally:
                self._listening = None


def _interrupt(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """End the wait of the thread that listens."""
    with contextlib.suppress(Exception):
        with socket.socket(fileno=os.dup(connection.fileno())) as other:
            other.shutdown(socket.SHUT_RDWR)


def _remove(folder: Path, process: int) -> None:
    if process == os.getpid():  # not a fork's copy
        shutil.rmtree(folder, ignore_errors=True)
