"""Opening an audit log, a file or a database, to write or to read it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Protocol

from errata.audit.config import AuditConfig
from errata.audit.database import AuditDatabase
from errata.audit.log import AuditLog, LogFilter
from errata.audit.records import LoggedDecision
from errata.cache.storage.postgres import is_url


class DecisionWriter(Protocol):
    """What the thread that writes needs of a log."""

    def prepare(self) -> None:
        """Make the log where it is missing.

        :raises errata.cache.errors.StoreError: it cannot be used.
        """

    def write(self, decisions: Iterable[LoggedDecision]) -> None:
        """Write decisions, all or none; any exception says that none was written."""

    def close(self) -> None:
        """Close the log."""


class DecisionLog(contextlib.AbstractContextManager["DecisionLog"], Protocol):
    """A log that is read."""

    def require_text(self) -> None:
        """Raise where the log keeps hashes of queries, which cannot be asked again."""

    def count(self, wanted: LogFilter | None = None) -> int:
        """Return the number of decisions."""

    def read(
        self, wanted: LogFilter | None = None, last: int | None = None
    ) -> Iterator[LoggedDecision]:
        """Yield decisions, oldest first."""


def audit_database(config: AuditConfig) -> DecisionWriter:
    """Return the writer of a log, not yet open.

    :param config: of the log.
    """
    if not is_url(config.path):
        return AuditDatabase(config)
    from errata.audit.postgres import PostgresDecisionWriter

    return PostgresDecisionWriter(config)


def open_log(path: str | os.PathLike[str]) -> DecisionLog:
    """Return a log, open for reading.

    :param path: the SQLite file, or the URL of the database.
    :raises errata.cache.errors.StoreError: there is none, or it cannot be read.
    """
    if not is_url(path):
        return AuditLog(path)
    from errata.audit.postgres import PostgresDecisionLog

    return PostgresDecisionLog(str(path))
