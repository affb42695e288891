"""Reading an audit log."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from errata.audit.config import Queries
from errata.audit.database import check_owner, read_meta, store_errors
from errata.audit.records import LoggedDecision, LoggedPatch
from errata.cache.errors import StoreError


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which decisions of a log are wanted.

    :param since: seconds since 1970, inclusive.
    :param until: seconds since 1970, exclusive.
    :param patch: id, file or ``file:line`` of a patch that fired or was runner-up.
    :param route: how the query was answered.
    :param min_probability: of the patch that fired, else of the runner-up.
    :param max_probability: of the same.
    """

    since: float | None = None
    until: float | None = None
    patch: str | None = None
    route: str | None = None
    min_probability: float | None = None
    max_probability: float | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """Return the condition in SQL, and its parameters."""
        probability = "coalesce(probability, runner_up_probability)"
        named = (
            "SELECT number FROM patches WHERE id = :patch OR location = :patch "
            "OR location LIKE :like || ':%' ESCAPE '!' OR location LIKE '%/' || :like ESCAPE '!' "
            "OR location LIKE '%/' || :like || ':%' ESCAPE '!'"
        )
        conditions = {
            "since": "time >= :since",
            "until": "time < :until",
            "route": "route = :route",
            "min_probability": f"{probability} >= :min_probability",
            "max_probability": f"{probability} <= :max_probability",
            "patch": (
                f"(runner_up IN ({named}) OR EXISTS (SELECT 1 FROM json_each(fired) "
                f"WHERE value IN ({named})))"
            ),
        }
        values = {name: getattr(self, name) for name in conditions}
        given = [conditions[name] for name, value in values.items() if value is not None]
        if self.patch is not None:
            values["like"] = "".join(f"!{c}" if c in "!%_" else c for c in self.patch)
        return " AND ".join(given) or "1", values


class AuditLog:
    """Reads an audit log, also while it is written.

    :param path: the SQLite file.
    :raises StoreError: it is missing, damaged, another program's or a newer errata's.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise StoreError(
                f"{self.path}: expected an audit log, found no file: name the one that "
                "EditableModel(..., audit=PATH) writes"
            )
        with store_errors(self.path):
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(uri, uri=True)
            try:
                if check_owner(self._connection, self.path) == 0:
                    raise StoreError(f"{self.path}: expected an audit log, found an empty file")
                self.queries = cast(Queries, read_meta(self._connection)["queries"])
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> AuditLog:
        """Return the log; it is closed at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._connection.close()

    def require_text(self) -> None:
        """Raise where the log keeps hashes of queries, which cannot be asked again.

        :raises StoreError: in that case.
        """
        texts_required(self.path, self.queries)

    def count(self, wanted: LogFilter | None = None) -> int:
        """Return the number of decisions."""
        where, values = (wanted or LogFilter()).where()
        with store_errors(self.path):
            query = f"SELECT count(*) FROM decisions WHERE {where}"
            return int(self._connection.execute(query, values).fetchone()[0])

    def read(
        self, wanted: LogFilter | None = None, last: int | None = None
    ) -> Iterator[LoggedDecision]:
        """Yield decisions, oldest first.

        :param wanted: which; all unless given.
        :param last: only that many, the newest.
        """
        where, values = (wanted or LogFilter()).where()
        query = f"SELECT * FROM decisions WHERE {where} ORDER BY number"
        if last is not None:
            newest = f"SELECT * FROM decisions WHERE {where} ORDER BY number DESC LIMIT {int(last)}"
            query = f"SELECT * FROM ({newest}) ORDER BY number"
        with store_errors(self.path):
            patches = {
                row[0]: LoggedPatch(*row[1:])
                for row in self._connection.execute(
                    "SELECT number, id, kind, location, scope, content FROM patches"
                )
            }
            fingerprints = {
                row[0]: row[1:] for row in self._connection.execute("SELECT * FROM fingerprints")
            }
            cursor = self._connection.execute(query, values)
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield _decision(dict(zip(names, row, strict=True)), patches, fingerprints)


def texts_required(name: object, queries: Queries) -> None:
    """Raise where a log keeps hashes of queries, which cannot be asked again.

    :param name: of the log.
    :param queries: what it keeps.
    :raises StoreError: in that case.
    """
    if queries != "text":
        raise StoreError(
            f"{name}: expected a log that keeps the queries as text, found one that keeps "
            'hashes: queries cannot be asked again; log with queries="text"'
        )


def _decision(
    row: Mapping[str, Any],
    patches: Mapping[int, LoggedPatch],
    fingerprints: Mapping[int, tuple[str, str, str]],
) -> LoggedDecision:
    def listed(column: str) -> tuple[LoggedPatch, ...]:
        return tuple(patches[number] for number in json.loads(row[column]) if number in patches)

    gate, model, digest = fingerprints[row["fingerprints"]]
    same = (
        "time", "query", "route", "probability", "threshold", "runner_up_probability",
        "runner_up_threshold", "hops", "effective_query", "conversation", "decision_ms", "total_ms",
    )  # fmt: skip
    return LoggedDecision(
        **{name: row[name] for name in same},
        fired=listed("fired"),
        withheld=listed("withheld"),
        replaced=listed("replaced"),
        runner_up=patches.get(row["runner_up"]),
        listed=bool(row["listed"]),
        shadow=bool(row["shadow"]),
        gate=gate,
        model=model,
        patches=digest,
    )
