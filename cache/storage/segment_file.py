"""The SQLite file of edits that are read when they are candidates; derived, and only appended to.

Rows are never changed, so that a view of before sees what it saw: it knows the last position that
it may read, and which ones it must not. What an edit is looked up by (id, texts, names, answer) is
64 bits of a hash each; its words are in an inverted index of FTS5.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import StoreError
from errata.cache.index.inverted_file_config import Codes, Lists, Rows

FORMAT = "1"
_BUSY_SECONDS = 30.0
_CACHE_KIB = 8192
"""Pages that a thread's connection holds at most."""
_AT_ONCE = 500
"""Keys or positions of one query: SQLite has a limit of parameters."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE edits (
    position INTEGER PRIMARY KEY, id TEXT NOT NULL, body TEXT NOT NULL, words INTEGER NOT NULL,
    vectors BLOB NOT NULL
);
CREATE TABLE keys (
    hash INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (hash, position)
) WITHOUT ROWID;
CREATE TABLE parts (
    part INTEGER NOT NULL, name INTEGER NOT NULL, PRIMARY KEY (part, name)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (
    terms, content='', detail=none, columnsize=0, tokenize='ascii'
);
CREATE TABLE apart (position INTEGER PRIMARY KEY);
CREATE TABLE codes (
    batch INTEGER PRIMARY KEY, positions BLOB NOT NULL, lists BLOB NOT NULL, codes BLOB NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """An edit as the file holds it.

    :param position: its row in the database of edits.
    :param id: the edit's id.
    :param body: its entry as JSON.
    :param vectors: of its encoded texts, float16 [n, d].
    :param keys: hashes that it is looked up by.
    :param parts: hashes of parts of its subject's name, each with that of the whole name.
    :param words: how many words its texts have, apart from common ones.
    :param terms: the words, when it is written.
    """

    position: int
    id: str
    body: str
    vectors: NDArray[np.float16]
    keys: tuple[int, ...] = ()
    parts: tuple[tuple[int, int], ...] = ()
    words: int = 0
    terms: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Written:
    """What is written in one transaction.

    :param entries: the edits, in the order of their positions.
    :param positions: of each of their searched vectors, int64 [n].
    :param lists: the list of each, int16 [n].
    :param codes: the code of each, uint8 [n, d].
    :param meta: values of ``meta`` to set.
    :param apart: positions up to the limit that are not in the file.
    """

    entries: Sequence[Entry]
    positions: Rows
    lists: Lists
    codes: Codes
    meta: Mapping[str, str | bytes]
    apart: Iterable[int] = ()


class SegmentFile:
    """The file ``segment.sqlite3``; safe under threads and processes.

    :param path: the file; made at the first write.
    :param dimension: width d of the vectors.
    :param read_only: whether it must not be written to.
    """

    def __init__(self, path: Path, dimension: int, *, read_only: bool = False) -> None:
        self.path, self.dimension, self.read_only = path, dimension, read_only
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []

    def exists(self) -> bool:
        """Return whether there is a file."""
        return self.path.exists()

    def close(self) -> None:
        """Close every thread's connection."""
        while self._open:
            self._open.pop().close()
        self._local = threading.local()

    def discard(self) -> None:
        """Close and delete the file."""
        self.close()
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink()

    def meta(self) -> dict[str, str]:
        """Return the values of ``meta`` by key, centroids left out; none where there is no file."""
        if not self.exists():
            return {}
        rows = self._connection().execute("SELECT key, value FROM meta WHERE key != 'centroids'")
        return {key: str(value) for key, value in rows}

    def limit(self) -> int:
        """Return the last position that belongs to the file; 0 where there is no file."""
        if not self.exists():
            return 0
        query = "SELECT value FROM meta WHERE key = 'limit'"
        row = self._connection().execute(query).fetchone()
        return 0 if row is None else int(row[0])

    def centroids(self) -> bytes:
        """Return the centroids of the index over the vectors."""
        query = "SELECT value FROM meta WHERE key = 'centroids'"
        return bytes(self._connection().execute(query).fetchone()[0])

    def positions(self) -> set[int]:
        """Return the positions of all edits."""
        return {row[0] for row in self._connection().execute("SELECT position FROM edits")}

    def write(self, written: Written) -> None:
        """Append edits and their vectors."""
        entries = written.entries
        keys = sorted((key, one.position) for one in entries for key in one.keys)
        parts = sorted({part for one in entries for part in one.parts})
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO edits VALUES (?, ?, ?, ?, ?)",
                ((e.position, e.id, e.body, e.words, e.vectors.tobytes()) for e in entries),
            )
            connection.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", keys)
            connection.executemany("INSERT OR IGNORE INTO parts VALUES (?, ?)", parts)
            connection.executemany(
                "INSERT INTO words (rowid, terms) VALUES (?, ?)",
                ((one.position, " ".join(one.terms)) for one in entries),
            )
            if len(written.positions):
                rows, lists, codes = written.positions, written.lists, written.codes
                connection.execute(
                    "INSERT INTO codes (positions, lists, codes) VALUES (?, ?, ?)",
                    [rows.tobytes(), lists.tobytes(), codes.tobytes()],
                )
            self._set_apart(connection, written.apart)
            self._set_meta(connection, written.meta)

    def set_apart(self, positions: Iterable[int]) -> None:
        """Take edits out of the file's service, on disk when this returns."""
        with self._transaction() as connection:
            self._set_apart(connection, positions)

    def deal(self, lists: Iterable[tuple[int, Lists]], meta: Mapping[str, str | bytes]) -> None:
        """Replace the lists of every batch of codes, by its number."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE codes SET lists = ? WHERE batch = ?",
                ((each.tobytes(), batch) for batch, each in lists),
            )
            self._set_meta(connection, meta)

    def apart(self) -> frozenset[int]:
        """Return the positions up to the limit that are not served from the file."""
        return frozenset(row[0] for row in self._connection().execute("SELECT position FROM apart"))

    def batches(self, after: int = 0) -> Iterator[tuple[int, Rows, Lists, Codes]]:
        """Yield number, positions, lists and codes of every batch after a number."""
        query = "SELECT batch, positions, lists, codes FROM codes WHERE batch > ? ORDER BY batch"
        for batch, positions, lists, codes in self._connection().execute(query, [after]):
            yield (
                batch,
                np.frombuffer(positions, dtype=np.int64),
                np.frombuffer(lists, dtype=np.int16),
                np.frombuffer(codes, dtype=np.uint8).reshape(-1, self.dimension),
            )

    def lists(self) -> Iterator[Lists]:
        """Yield the lists of every batch."""
        query = "SELECT lists FROM codes ORDER BY batch"
        for (lists,) in self._connection().execute(query):
            yield np.frombuffer(lists, dtype=np.int16)

    def entries(self, positions: Iterable[int]) -> Iterator[Entry]:
        """Yield the edits at positions; keys, parts and terms are left out."""
        query = "SELECT position, id, body, words, vectors FROM edits WHERE position IN "
        for at, key, body, words, blob in self._among(query, list(positions)):
            vectors = np.frombuffer(blob, dtype=np.float16).reshape(-1, self.dimension)
            yield Entry(at, key, body, vectors, words=words)

    def bodies(self, after: int, limit: int, count: int) -> list[tuple[int, str, str]]:
        """Return position, id and body of edits after a position, in order."""
        query = (
            "SELECT position, id, body FROM edits "
            "WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"
        )
        return self._connection().execute(query, [after, limit, count]).fetchall()

    def looked_up(self, keys: Iterable[int], most: int = -1) -> list[int]:
        """Return the positions that any key is of, at most so many a key."""
        connection, found = self._connection(), dict[int, None]()
        query = "SELECT position FROM keys WHERE hash = ? LIMIT ?"
        for key in keys:
            found |= dict.fromkeys(row[0] for row in connection.execute(query, [key, most]))
        return list(found)

    def whole_names(self, parts: Iterable[int]) -> list[int]:
        """Return the names that have one of the parts, where only one name has it."""
        connection, found = self._connection(), list[int]()
        query = "SELECT name FROM parts WHERE part = ? LIMIT 2"
        for part in parts:
            names = connection.execute(query, [part]).fetchall()
            found += [name for (name,) in names if len(names) == 1]
        return found

    def count(self, positions: Iterable[int]) -> int:
        """Return how many of the positions are edits of the file."""
        query = "SELECT 1 FROM edits WHERE position = ?"
        connection = self._connection()
        return sum(connection.execute(query, [at]).fetchone() is not None for at in positions)

    def with_term(self, term: str, most: int) -> list[int]:
        """Return the positions of the edits that have a term, at most so many."""
        query = "SELECT rowid FROM words WHERE words MATCH ? LIMIT ?"
        rows = self._connection().execute(query, [f'"{term}"', most])
        return [row[0] for row in rows]

    def _among(
        self, query: str, values: Sequence[int]
    ) -> Iterator[tuple[int, str, str, int, bytes]]:
        for start in range(0, len(values), _AT_ONCE):
            some = values[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            yield from self._connection().execute(f"{query} ({marks})", some)

    def _set_apart(self, connection: sqlite3.Connection, positions: Iterable[int]) -> None:
        rows = [(position,) for position in positions]
        connection.executemany("INSERT OR IGNORE INTO apart VALUES (?)", rows)

    def _set_meta(self, connection: sqlite3.Connection, values: Mapping[str, str | bytes]) -> None:
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection(make=True)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _connection(self, *, make: bool = False) -> sqlite3.Connection:
        """Return this thread's connection; none crosses a fork.

        :param make: make the file where it is missing.
        """
        known = getattr(self._local, "known", None)
        if known is not None and known[0] == os.getpid():
            connection: sqlite3.Connection = known[1]
            return connection
        making = make and not self.exists()
        if not (making or self.exists()):
            raise StoreError(
                f"{self.path}: expected the file that was opened, found it deleted; nothing is "
                "lost, since it is made of the edits: close the cache and open it again"
            )
        connection = sqlite3.connect(
            self._target(), uri=True, timeout=_BUSY_SECONDS, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        if not self.read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if making:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute("COMMIT")
        self._local.known = (os.getpid(), connection)
        self._open.append(connection)
        return connection

    def _target(self) -> str:
        target = self.path.absolute().as_uri()
        if not self.read_only:
            return target
        unused = not self.path.with_name(f"{self.path.name}-wal").exists()
        return f"{target}?mode=ro&immutable=1" if unused else f"{target}?mode=ro"


def key_of(kind: str, *words: str) -> int:
    """Return 64 bits of a hash of what an edit is looked up by.

    :param kind: keeps ids, texts, names and answers apart.
    :param words: the id, text, or words.
    """
    body = "\0".join((kind, *words)).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(body, digest_size=8).digest(), "big", signed=True)
