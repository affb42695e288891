"""The SQLite file of an audit log, as it is written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from errata.audit.config import AuditConfig
from errata.audit.records import LoggedDecision, LoggedPatch
from errata.cache.errors import StoreError

log = logging.getLogger("errata")

APPLICATION_ID = 0x45525255
SCHEMA_VERSION = 1
TRIM_EVERY = 1000
"""Decisions between two looks at age and size."""
TRIM_SHARE = 0.1
"""Of the decisions, the oldest, deleted at a time where the file is too large."""

_SCHEMA = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")


class AuditDatabase:
    """Writes decisions; opens the file again where it was deleted or replaced.

    Used by one thread.

    :param config: what is kept, and for how long.
    """

    def __init__(self, config: AuditConfig) -> None:
        self.config = config
        self.path = Path(config.path)
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._salt = ""
        self._since_trim = TRIM_EVERY  # looked at with the first decision
        self._patches: dict[LoggedPatch, int] = {}

    def prepare(self) -> None:
        """Make the file where it is missing, and look whether it can be written.

        :raises StoreError: the file is another program's or a newer errata's, or keeps queries in
            another form, or it cannot be opened.
        """
        with store_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        self.close()  # the thread that writes opens its own

    def write(self, decisions: Iterable[LoggedDecision]) -> None:
        """Write decisions, one or more, in one transaction.

        :raises sqlite3.Error: writing fails; nothing was written, and the next call begins anew.
        :raises OSError: the folder is gone.
        :raises StoreError: another file has taken the place.
        """
        try:
            if self._connection is not None and self._inode != _inode(self.path):
                log.warning("%s: the audit log was deleted or replaced: begun again", self.path)
                self.close()
            if self._connection is None:
                self._open()
            connection = cast(sqlite3.Connection, self._connection)
            connection.execute("BEGIN IMMEDIATE")
            rows = [self._row(connection, decision) for decision in decisions]
            columns = ", ".join(rows[0])
            places = ", ".join(f":{name}" for name in rows[0])
            connection.executemany(f"INSERT INTO decisions ({columns}) VALUES ({places})", rows)
            connection.execute("COMMIT")
            self._since_trim += len(rows)
            if self._since_trim >= TRIM_EVERY:
                self._since_trim = 0
                self._trim(connection)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection, self._inode = None, None
        self._patches.clear()

    def _open(self) -> None:
        made = sqlite3.connect(
            self.path, timeout=self.config.busy_seconds, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        try:
            new = check_owner(made, self.path) == 0
            if new:
                made.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only before the first table
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("PRAGMA synchronous = NORMAL")
            made.execute(f"PRAGMA journal_size_limit = {2**24}")
            made.execute("BEGIN IMMEDIATE")
            if check_owner(made, self.path) == 0:  # no other process was quicker
                for statement in _SCHEMA.split(";\n"):
                    made.execute(statement)
                made.executemany(
                    "INSERT INTO meta VALUES (?, ?)",
                    [("salt", secrets.token_hex(16)), ("queries", self.config.queries)],
                )
                made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                made.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            made.execute("COMMIT")
            meta = read_meta(made)
            if meta["queries"] != self.config.queries:
                raise StoreError(
                    f"{self.path}: expected a log that keeps queries as {self.config.queries}, "
                    f"found one that keeps them as {meta['queries']}: name another file"
                )
        except BaseException:
            made.close()
            raise
        self._connection, self._inode, self._salt = made, _inode(self.path), meta["salt"]

    def _row(self, connection: sqlite3.Connection, decision: LoggedDecision) -> dict[str, Any]:
        def numbers(patches: Iterable[LoggedPatch]) -> list[int]:
            return [self._number(connection, patch) for patch in patches]

        hashed = self.config.queries == "hash"
        fired = numbers(decision.fired)
        connection.execute(
            "INSERT OR IGNORE INTO fingerprints (gate, model, patches) VALUES (?, ?, ?)",
            (decision.gate, decision.model, decision.patches),
        )
        (fingerprints,) = connection.execute(
            "SELECT number FROM fingerprints WHERE gate = ? AND model = ? AND patches = ?",
            (decision.gate, decision.model, decision.patches),
        ).fetchone()
        return {
            "time": decision.time,
            "query": self._hash(decision.query) if hashed else _storable(decision.query),
            "effective_query": None if hashed else _storable(decision.effective_query),
            "conversation": (
                self._hash(decision.conversation) if hashed else decision.conversation
            ),
            "route": decision.route,
            "shadow": decision.shadow,
            "hops": decision.hops,
            "patch": fired[0] if fired else None,
            "probability": decision.probability,
            "threshold": decision.threshold,
            "listed": decision.listed,
            "runner_up": (
                None if decision.runner_up is None
                else self._number(connection, decision.runner_up)
            ),
            "runner_up_probability": decision.runner_up_probability,
            "runner_up_threshold": decision.runner_up_threshold,
            "fired": json.dumps(fired),
            "withheld": json.dumps(numbers(decision.withheld)),
            "replaced": json.dumps(numbers(decision.replaced)),
            "decision_ms": round(decision.decision_ms, 3),
            "total_ms": round(decision.total_ms, 3),
            "fingerprints": fingerprints,
        }  # fmt: skip

    def _number(self, connection: sqlite3.Connection, patch: LoggedPatch) -> int:
        """Return a patch's number in the file; it is written where it is new."""
        number = self._patches.get(patch)
        if number is None:
            fields = (patch.id, patch.kind, patch.location, _storable(patch.scope), patch.content)
            connection.execute(
                "INSERT OR IGNORE INTO patches (id, kind, location, scope, content) "
                "VALUES (?, ?, ?, ?, ?)",
                fields,
            )
            (number,) = connection.execute(
                "SELECT number FROM patches WHERE id = ? AND location = ? AND content = ?",
                (patch.id, patch.location, patch.content),
            ).fetchone()
            self._patches[patch] = int(number)
        return int(number)

    def _hash(self, text: str) -> str:
        salted = f"{self._salt}\0{text}".encode(errors="surrogatepass")
        return hashlib.sha256(salted).hexdigest()[:32]

    def _trim(self, connection: sqlite3.Connection) -> None:
        """Delete what is too old, then the oldest until the file is small enough."""
        if self.config.retention_days is not None:
            oldest = time.time() - self.config.retention_days * 86400
            connection.execute("DELETE FROM decisions WHERE time < ?", (oldest,))
        while self._too_large(connection):
            first, last = connection.execute(
                "SELECT min(number), max(number) FROM decisions"
            ).fetchone()
            if first is None or first == last:
                break
            until = first + int((last - first) * TRIM_SHARE)
            connection.execute("DELETE FROM decisions WHERE number <= ?", (until,))
        connection.executescript("PRAGMA incremental_vacuum")  # execute() would free one page

    def _too_large(self, connection: sqlite3.Connection) -> bool:
        if self.config.max_megabytes is None:
            return False
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size > self.config.max_megabytes * 2**20


def check_owner(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a log's schema, 0 of an empty file.

    :param connection: to the file.
    :param path: the file, for messages.
    :raises StoreError: it is another program's, or a newer errata's.
    """
    version, owner = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("user_version", "application_id")
    )
    tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    if tables and owner != APPLICATION_ID:
        raise StoreError(
            f"{path}: expected an audit log of errata, found another SQLite file: name another"
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: expected schema {SCHEMA_VERSION} or older, found {version}: it was written "
            "by a newer errata; upgrade errata"
        )
    return version


def read_meta(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the salt and the form of a log's queries."""
    return dict(connection.execute("SELECT key, value FROM meta"))


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the system as :class:`StoreError`.

    :param path: the file, for messages.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"{path}: the audit log cannot be used ({error}): check that it is an audit log, that "
            "its folder is writable and that the disk has room"
        ) from error


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _storable(text: str | None) -> Any:
    """Return a text as SQLite can store it: half a character is replaced."""
    return None if text is None else text.encode(errors="replace").decode()
