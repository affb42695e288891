"""The SQLite database of edits: one connection a thread, synced before a change returns."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from errata.cache.errors import StoreError

APPLICATION_ID = 0x45525254
SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0

_SCHEMA = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Row:
    """One stored edit.

    :param id: the edit's id.
    :param kind: its kind.
    :param body: its entry as JSON.
    """

    id: str
    kind: str
    body: str


@dataclass(slots=True)
class _Connection:
    """One thread's connection, and the file's version at its last check."""

    thread: threading.Thread
    connection: sqlite3.Connection
    seen: int | None = None


_INHERITED: list[object] = []
"""Connections of a parent process, kept open: closing them would drop the parent's locks."""


class Database:
    """The file ``edits.sqlite3``.

    :param path: the file; made with its folder where it is missing.
    :raises StoreError: if it is damaged, foreign or of a newer errata, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connections: dict[int, _Connection] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False
        with self._store_errors("opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._prepare()

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            self._closed = True
            if self._process == os.getpid():
                for each in self._connections.values():
                    each.connection.close()
            self._connections.clear()

    def changed(self) -> bool:
        """Return whether another connection changed the file since this thread's last call."""
        with self._store_errors("read"):
            current = self._thread_connection()
            version = int(current.connection.execute("PRAGMA data_version").fetchone()[0])
            changed, current.seen = version != current.seen, version
            return changed

    def generation(self) -> int:
        """Return the number of changes made so far, by any process."""
        with self._store_errors("read"):
            return self._generation(self._connection())

    def fingerprint(self) -> str | None:
        """Return the encoder's fingerprint, or None where none was set."""
        with self._store_errors("read"):
            query = "SELECT value FROM meta WHERE key = 'fingerprint'"
            row = self._connection().execute(query).fetchone()
            return None if row is None else str(row[0])

    def set_fingerprint(self, fingerprint: str) -> None:
        """Store the encoder's fingerprint."""
        with self.writing() as connection, self._store_errors("written"):
            connection.execute(
                "INSERT INTO meta VALUES ('fingerprint', ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [fingerprint],
            )

    def read(self) -> tuple[int, list[Row]]:
        """Return the generation and its edits, in the order they were made."""
        with self._store_errors("read"):
            connection = self._connection()
            if connection.in_transaction:
                return self._generation(connection), self._rows(connection)
            connection.execute("BEGIN")
            try:
                return self._generation(connection), self._rows(connection)
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open an exclusive transaction; commit at the end, roll back on any exception.

        When the block is left normally, its changes are on disk.
        """
        with self._store_errors("written"):
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            with self._store_errors("written"):
                connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def change(
        self, connection: sqlite3.Connection, insert: Sequence[Row], delete: Sequence[str]
    ) -> int:
        """Write edits inside :meth:`writing`; return the new generation.

        :param connection: the connection of :meth:`writing`.
        :param insert: edits to append.
        :param delete: ids to remove.
        """
        with self._store_errors("written"):
            connection.executemany("DELETE FROM edits WHERE id = ?", [(key,) for key in delete])
            connection.executemany(
                "INSERT INTO edits (id, kind, body) VALUES (?, ?, ?)",
                [(row.id, row.kind, row.body) for row in insert],
            )
            generation = self._generation(connection) + 1
            update = "UPDATE meta SET value = ? WHERE key = 'generation'"
            connection.execute(update, [str(generation)])
            return generation

    def _connection(self) -> sqlite3.Connection:
        return self._thread_connection().connection

    def _thread_connection(self) -> _Connection:
        with self._lock:
            if self._closed:
                raise StoreError(f"{self.path}: the cache is closed: open it again")
            if self._process != os.getpid():
                # A connection must not cross a fork; the parent still uses these.
                _INHERITED.append(self._connections)
                self._process, self._connections = os.getpid(), {}
            me = threading.current_thread()
            known = self._connections.get(threading.get_ident())
            if known is not None and known.thread is me:
                return known
            for ident, other in list(self._connections.items()):
                if not other.thread.is_alive():
                    other.connection.close()
                    del self._connections[ident]
            made = _Connection(me, self._connect())
            self._connections[threading.get_ident()] = made
            return made

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self) -> None:
        connection = self._connection()
        self._check_owner(connection)
        self._use_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have made the tables while this one waited.
            if self._check_owner(connection) == 0:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        state = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        if state != "ok":
            raise sqlite3.DatabaseError(state)

    def _check_owner(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
        tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
        if tables and owner != APPLICATION_ID:
            raise StoreError(
                f"{self.path}: expected a cache of errata, found another program's SQLite file: "
                "name another folder as cache"
            )
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: expected schema {SCHEMA_VERSION} or older, found {version}: it was "
                "written by a newer errata; upgrade errata"
            )
        return version

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        # SQLite does not wait here where two processes make the same file.
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _generation(self, connection: sqlite3.Connection) -> int:
        query = "SELECT value FROM meta WHERE key = 'generation'"
        return int(connection.execute(query).fetchone()[0])

    def _rows(self, connection: sqlite3.Connection) -> list[Row]:
        query = "SELECT id, kind, body FROM edits ORDER BY position"
        return [Row(*row) for row in connection.execute(query)]

    @contextlib.contextmanager
    def _store_errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise StoreError(
                f"{self.path}: cannot be {verb} ({error}): check that the folder is writable, the "
                "disk has room and no other program holds the file; nothing was changed"
            ) from error
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            if isinstance(error, sqlite3.ProgrammingError) and not self._closed:
                raise
            raise StoreError(
                f"{self.path}: damaged ({error}). Nothing was deleted: restore the file from a "
                "backup, recover it with sqlite3's .recover, or move it away to begin an empty "
                "cache"
            ) from error
