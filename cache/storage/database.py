"""The SQLite database of edits: one connection a thread, synced before a change returns."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from errata.cache.errors import StoreError

APPLICATION_ID = 0x45525254
SCHEMA_VERSION = 2
BUSY_SECONDS = 30.0

_MIGRATIONS = {1: "ALTER TABLE edits ADD COLUMN seen TEXT NOT NULL DEFAULT '[]'"}
"""By schema version, the statement that makes the next one of it."""

_SCHEMA = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Row:
    """One stored edit.

    :param id: the edit's id.
    :param kind: its kind.
    :param body: its entry as JSON.
    :param seen: JSON list of the digests of the patches in files that it was made over.
    :param position: its place in the order made; 0: not written yet.
    """

    id: str
    kind: str
    body: str
    seen: str = "[]"
    position: int = 0


@dataclass(slots=True)
class _Connection:
    """One thread's connection, the file it is to, and the file's version at its last check."""

    thread: threading.Thread
    connection: sqlite3.Connection
    file: tuple[int, int] | None
    seen: int | None = None


_INHERITED: list[object] = []
"""Connections of a parent process, kept open: closing them would drop the parent's locks."""


class Database:
    """The file ``edits.sqlite3``.

    Where it cannot be written to, such as on a read-only mount, its edits can be read.

    :param path: the file; made with its folder where it is missing.
    :raises StoreError: if it is damaged, foreign or of a newer errata, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_only = False
        self._connections: dict[int, _Connection] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False
        with self._store_errors("opened"):
            self.read_only = path.exists() and not _writable(path)
            if not self.read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._refuse_emptied()
            self._prepare()

    @property
    def segment_home(self) -> Database | None:
        """The file beside which edits may be on disk only: this one."""
        return self

    def close(self) -> None:
        """Close every thread's connection."""
        with self._lock:
            self._closed = True
            if self._process == os.getpid():
                for each in self._connections.values():
                    each.connection.close()
            self._connections.clear()

    def changed(self) -> bool:
        """Return whether another connection changed the file since this thread's last call.

        :raises StoreError: the file was deleted or replaced, or cannot be read.
        """
        self._check_file()
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
        return self.value("fingerprint")

    def set_fingerprint(self, fingerprint: str) -> None:
        """Store the encoder's fingerprint."""
        with self.writing() as connection:
            self.set_value(connection, "fingerprint", fingerprint)

    def value(self, key: str) -> str | None:
        """Return what is noted under a key, or None."""
        with self._store_errors("read"):
            query = "SELECT value FROM meta WHERE key = ?"
            row = self._connection().execute(query, [key]).fetchone()
            return None if row is None else str(row[0])

    def set_value(self, connection: sqlite3.Connection, key: str, value: str) -> None:
        """Note a value under a key, inside :meth:`writing`."""
        with self._store_errors("written"):
            connection.execute(
                "INSERT INTO meta VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [key, value],
            )

    def read(self, after: int = 0, among: Iterable[int] = ()) -> tuple[int, list[Row]]:
        """Return the generation and its edits, in the order they were made.

        :param after: a position; all edits behind it are read.
        :param among: positions up to it that are read, too, where there is an edit.
        """
        with self._store_errors("read"):
            connection = self._connection()
            if connection.in_transaction:
                return self._generation(connection), self._rows(connection, after, among)
            connection.execute("BEGIN")
            try:
                return self._generation(connection), self._rows(connection, after, among)
            finally:
                connection.execute("ROLLBACK")

    def positions(self, ids: Iterable[str]) -> dict[str, int]:
        """Return the positions of edits by id, without those there are none of."""
        query = "SELECT position FROM edits WHERE id = ?"
        with self._store_errors("read"):
            connection = self._connection()
            rows = ((key, connection.execute(query, [key]).fetchone()) for key in ids)
            return {key: int(row[0]) for key, row in rows if row is not None}

    def count(self) -> tuple[int, int]:
        """Return the number of edits, and the last position."""
        with self._store_errors("read"):
            query = "SELECT count(*), coalesce(max(position), 0) FROM edits"
            count, last = self._connection().execute(query).fetchone()
            return int(count), int(last)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open an exclusive transaction; commit at the end, roll back on any exception.

        When the block is left normally, its changes are on disk.
        """
        if self.read_only:
            raise StoreError(
                f"{self.path}: expected a file that can be written to, found it read-only; "
                "nothing was changed: copy the cache folder to another place, or mount it writable"
            )
        with self._store_errors("written"):
            connection = self._connection()
            self._check_file()
            connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            with self._store_errors("written"):
                connection.execute("COMMIT")
            self._check_file()  # what is committed to a deleted file is lost
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def change(
        self,
        connection: sqlite3.Connection,
        insert: Sequence[Row],
        delete: Sequence[str],
        seen: Mapping[str, str] | None = None,
    ) -> int:
        """Write edits inside :meth:`writing`; return the new generation.

        :param connection: the connection of :meth:`writing`.
        :param insert: edits to append.
        :param delete: ids to remove, before that.
        :param seen: new values of the column ``seen``, by id.
        """
        with self._store_errors("written"):
            connection.executemany("DELETE FROM edits WHERE id = ?", [(key,) for key in delete])
            connection.executemany(
                "INSERT INTO edits (id, kind, body, seen) VALUES (?, ?, ?, ?)",
                [(row.id, row.kind, row.body, row.seen) for row in insert],
            )
            connection.executemany(
                "UPDATE edits SET seen = ? WHERE id = ?",
                [(value, key) for key, value in (seen or {}).items()],
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
            connection = self._connect()
            made = _Connection(me, connection, _identity(self.path))
            self._connections[threading.get_ident()] = made
            return made

    def _check_file(self) -> None:
        """Check that the file is still the one that this thread's connection is to.

        :raises StoreError: it was deleted or replaced: what is written to it would be lost.
        """
        current = self._thread_connection()
        if current.file != _identity(self.path):
            raise StoreError(
                f"{self.path}: expected the file that was opened, found it deleted or replaced; "
                "nothing was changed, and its edits are in force as they were read: put the file "
                "back, or close the cache and open it again"
            )

    def _refuse_emptied(self) -> None:
        """Check that an empty file was not emptied.

        :raises StoreError: beside it lies what was derived from its edits.
        """
        beside = [*self.path.parent.glob("index-*.faiss"), *self.path.parent.glob("encodings.*")]
        write_ahead_log = self.path.with_name(f"{self.path.name}-wal")
        if not beside or not self.path.exists() or self.path.stat().st_size:
            return
        if write_ahead_log.exists() and write_ahead_log.stat().st_size:
            return
        raise StoreError(
            f"{self.path}: expected edits, found an empty file beside {beside[0].name}, which was "
            "made of them: restore the file from a backup, or move the whole folder away to begin "
            "an empty cache"
        )

    def _connect(self) -> sqlite3.Connection:
        target = self.path.absolute().as_uri()
        if self.read_only:
            # Without a log beside it the file is whole, and nobody writes to it.
            unused = not self.path.with_name(f"{self.path.name}-wal").exists()
            target += "?mode=ro&immutable=1" if unused else "?mode=ro"
        connection = sqlite3.connect(
            target, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
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
        version = self._check_owner(connection)
        if self.read_only:
            if version < SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path}: expected schema {SCHEMA_VERSION}, found {version} in a file "
                    "that is read-only: open it once where it can be written to"
                )
            self._check_pages(connection)
            return
        self._use_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have made the tables while this one waited.
            version = self._check_owner(connection)
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for old in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
                connection.execute(_MIGRATIONS[old])
            if version != SCHEMA_VERSION:
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        # SQLite makes a new file at its first use
        self._thread_connection().file = _identity(self.path)
        self._check_pages(connection)

    def _check_pages(self, connection: sqlite3.Connection) -> None:
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

    def _rows(self, connection: sqlite3.Connection, after: int, among: Iterable[int]) -> list[Row]:
        query = "SELECT id, kind, body, seen, position FROM edits WHERE position"
        earlier = (connection.execute(f"{query} = ?", [at]).fetchone() for at in sorted(among))
        rows = [Row(*row) for row in earlier if row is not None]
        later = connection.execute(f"{query} > ? ORDER BY position", [after])
        return rows + [Row(*row) for row in later]

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


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and number of a file, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
