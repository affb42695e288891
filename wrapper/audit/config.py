"""What an audit log keeps, for how long, and at what cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from errata.cache.errors import ErrataError
from errata.cache.storage.postgres import PostgresServer, is_url

Queries = Literal["text", "hash"]


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """An audit log: ``EditableModel(..., audit=AuditConfig("audit.sqlite3", queries="hash"))``.

    :param path: the SQLite file, made where it is missing, or the URL of a PostgreSQL database
        into which several processes log (``postgresql://…``).
    :param queries: keep each query as ``text``, which replay and triage need, or as a ``hash``,
        salted with a text that is drawn once a file and kept in it: equal queries can be counted,
        and none can be read, but one who has the log can test a guess.
    :param retention_days: older decisions are deleted; None: never. A quarter is enough to see
        what last week's change did.
    :param max_megabytes: the oldest decisions are deleted where the file would grow larger; None:
        never. A decision takes about 300 bytes. Of a file only: PostgreSQL keeps room that was
        freed.
    :param queue: calls of ``generate`` that wait to be written at most; further ones are dropped
        and counted, so that a slow disk costs memory of that size and no query any time.
    :param flush_seconds: decisions are written that long after the first of them, together: one
        transaction for many. That much is lost by a kill.
    :param busy_seconds: how long the writer waits for another process to release the file.
    :param close_seconds: how long closing waits for what is not written yet.
    :raises ErrataError: a value makes no sense.
    """

    path: str | Path = field(repr=False)
    queries: Queries = "text"
    retention_days: float | None = 90.0
    max_megabytes: float | None = 1024.0
    queue: int = 10_000
    flush_seconds: float = 0.2
    busy_seconds: float = 5.0
    close_seconds: float = 5.0

    @property
    def name(self) -> str:
        """Where the log is, for messages: without a password."""
        return PostgresServer(str(self.path)).name if is_url(self.path) else str(self.path)

    def __post_init__(self) -> None:
        """Check the values."""
        if self.queries not in ("text", "hash"):
            raise ErrataError(f'expected queries="text" or "hash", found {self.queries!r}')
        limits = (self.retention_days, self.max_megabytes, self.queue)
        if any(limit is not None and limit <= 0 for limit in limits):
            raise ErrataError(
                "expected retention_days, max_megabytes and queue above 0, or None for no limit, "
                f"found {self.retention_days}, {self.max_megabytes} and {self.queue}"
            )
