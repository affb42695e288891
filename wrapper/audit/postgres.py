"""An audit log in PostgreSQL: written by many processes, read as one."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from errata.audit.config import AuditConfig, Queries
from errata.audit.log import LogFilter, texts_required
from errata.audit.records import LoggedDecision, LoggedPatch
from errata.cache.errors import StoreError
from errata.cache.storage.postgres import PostgresServer, Schema

TRIM_EVERY = 1000
"""Decisions that a process writes between two looks at their age."""

_SCHEMA = Schema(
    "errata_audit_meta", 1, Path(__file__).with_name("postgres.sql").read_text("utf-8")
)
_PATCHES = ("fired", "withheld", "replaced")
_FIELDS = frozenset(one.name for one in dataclasses.fields(LoggedDecision))


class PostgresDecisionWriter:
    """Writes decisions to a database. Used by one thread.

    :param config: what is kept, and for how long; its size is not limited.
    :raises MissingExtra: psycopg is not installed.
    :raises StoreError: the URL cannot be read.
    """

    def __init__(self, config: AuditConfig) -> None:
        self.config = config
        self._server = PostgresServer(str(config.path))
        self._link = self._server.link()
        self._salt = ""
        self._since_trim = TRIM_EVERY  # looked at with the first decision

    def prepare(self) -> None:
        """Make the tables where they are missing.

        :raises StoreError: the log keeps queries in another form, or cannot be used.
        """
        self._server.prepare(_SCHEMA)
        with self._server.errors("opened"), self._link.use() as connection:
            for key, value in (("salt", secrets.token_hex(16)), ("queries", self.config.queries)):
                connection.execute(
                    "INSERT INTO errata_audit_meta VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    [key, value],
                )
        meta = _read_meta(self._server)
        self._salt = meta["salt"]
        if meta["queries"] != self.config.queries:
            self.close()
            raise StoreError(
                f"{self._server.name}: expected a log that keeps queries as {self.config.queries}, "
                f"found one that keeps them as {meta['queries']}: name another database or schema"
            )

    def write(self, decisions: Iterable[LoggedDecision]) -> None:
        """Write decisions in one transaction.

        :raises StoreError: writing fails; nothing was written, and the next call begins anew.
        """
        if not self._salt:  # in a fork, or not prepared
            self.prepare()
        rows = [self._row(decision) for decision in decisions]
        with self._server.errors("written"), self._link.use() as connection:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO errata_decisions "
                    "(time, route, probability, ids, locations, decision) "
                    "VALUES (%s, %s, %s, %s, %s, %s)",
                    rows,
                )
            self._since_trim += len(rows)
            if self._since_trim >= TRIM_EVERY and self.config.retention_days is not None:
                self._since_trim = 0
                oldest = time.time() - self.config.retention_days * 86400
                connection.execute("DELETE FROM errata_decisions WHERE time < %s", [oldest])

    def close(self) -> None:
        """Close the connection."""
        self._server.close()

    def _row(self, decision: LoggedDecision) -> list[Any]:
        if self.config.queries == "hash":
            decision = dataclasses.replace(
                decision,
                query=self._hash(decision.query),
                conversation=self._hash(decision.conversation),
                effective_query=None,
            )
        best, runner_up = decision.probability, decision.runner_up_probability
        named = [*decision.fired, *([decision.runner_up] if decision.runner_up else [])]
        return [
            decision.time,
            decision.route,
            runner_up if best is None else best,
            [_storable(patch.id) for patch in named],
            [_storable(patch.location) for patch in named],
            json.dumps(dataclasses.asdict(decision)),  # ASCII, so that any text can be stored
        ]

    def _hash(self, text: str) -> str:
        salted = f"{self._salt}\0{text}".encode(errors="surrogatepass")
        return hashlib.sha256(salted).hexdigest()[:32]


class PostgresDecisionLog:
    """Reads an audit log in PostgreSQL, also while it is written.

    :param url: of the database.
    :raises MissingExtra: psycopg is not installed.
    :raises StoreError: it cannot be reached, has no log, or one of a newer errata.
    """

    def __init__(self, url: str) -> None:
        self._server = PostgresServer(url)
        self._link = self._server.link()
        self.queries = cast(Queries, _read_meta(self._server)["queries"])

    def __enter__(self) -> PostgresDecisionLog:
        """Return the log; it is closed at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the connection."""
        self._server.close()

    def require_text(self) -> None:
        """Raise where the log keeps hashes of queries, which cannot be asked again.

        :raises StoreError: in that case.
        """
        texts_required(self._server.name, self.queries)

    def count(self, wanted: LogFilter | None = None) -> int:
        """Return the number of decisions."""
        where, values = _where(wanted or LogFilter())
        query = f"SELECT count(*) FROM errata_decisions WHERE {where}"
        with self._server.errors("read"), self._link.use() as connection:
            row = connection.execute(query.encode(), values).fetchone()
            return 0 if row is None else int(row[0])

    def read(
        self, wanted: LogFilter | None = None, last: int | None = None
    ) -> Iterator[LoggedDecision]:
        """Yield decisions, oldest first.

        :param wanted: which; all unless given.
        :param last: only that many, the newest.
        """
        where, values = _where(wanted or LogFilter())
        query = f"SELECT number, decision FROM errata_decisions WHERE {where} ORDER BY number"
        if last is not None:
            query = f"SELECT * FROM ({query} DESC LIMIT {int(last)}) AS newest ORDER BY number"
        with self._server.errors("read"), self._link.use() as connection:
            with connection.transaction(), connection.cursor(name="errata_log") as cursor:
                cursor.execute(query.encode(), values)
                for _, text in cursor:
                    yield _decision(json.loads(text))


def _read_meta(server: PostgresServer) -> dict[str, str]:
    with server.errors("opened"), contextlib.closing(server.connect()) as connection:
        there = connection.execute("SELECT to_regclass('errata_audit_meta')::text").fetchone()
        if there is None or there[0] is None:
            raise StoreError(
                f"{server.name}: expected an audit log, found none: name the database that "
                "EditableModel(..., audit=URL) writes"
            )
        return dict(connection.execute("SELECT key, value FROM errata_audit_meta").fetchall())


def _where(wanted: LogFilter) -> tuple[str, dict[str, Any]]:
    """Return the condition in SQL, and its parameters."""
    conditions = {
        "since": "time >= %(since)s",
        "until": "time < %(until)s",
        "route": "route = %(route)s",
        "min_probability": "probability >= %(min_probability)s",
        "max_probability": "probability <= %(max_probability)s",
        "patch": (
            "(%(patch)s = ANY(ids) OR EXISTS (SELECT 1 FROM unnest(locations) AS place "
            "WHERE place = %(patch)s OR place LIKE %(like)s || ':%%' ESCAPE '!' "
            "OR place LIKE '%%/' || %(like)s ESCAPE '!' "
            "OR place LIKE '%%/' || %(like)s || ':%%' ESCAPE '!'))"
        ),
    }
    values = {name: getattr(wanted, name) for name in conditions}
    given = [conditions[name] for name, value in values.items() if value is not None]
    if wanted.patch is not None:
        values["like"] = "".join(f"!{c}" if c in "!%_" else c for c in wanted.patch)
    return " AND ".join(given) or "true", values


def _decision(found: Mapping[str, Any]) -> LoggedDecision:
    values = {name: value for name, value in found.items() if name in _FIELDS}
    for name in _PATCHES:
        values[name] = tuple(LoggedPatch(**one) for one in values[name])
    if values["runner_up"] is not None:
        values["runner_up"] = LoggedPatch(**values["runner_up"])
    return LoggedDecision(**values)


def _storable(text: str) -> str:
    """Return a text as PostgreSQL can store it: half a character and NUL are replaced."""
    return text.encode(errors="replace").decode().replace("\0", "�")
