"""PostgreSQL connections: made when needed, made again when lost, errors without passwords."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import MissingExtra, StoreError

if TYPE_CHECKING:
    import psycopg

SCHEMES = ("postgresql://", "postgres://")
MIGRATION_LOCK = 0x45525254
LOCK_SECONDS = 30
"""How long a writer waits for another one, as SQLite's does."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables that belong together.

    :param meta: the one that holds the version under the key ``schema``.
    :param version: that of this errata.
    :param statements: make all of them.
    :param migrations: by version, the statements that make the next one of it.
    """

    meta: str
    version: int
    statements: str
    migrations: Mapping[int, str] = field(default_factory=dict)


EDITS = Schema("errata_meta", 1, Path(__file__).with_name("postgres.sql").read_text("utf-8"))

_DEFAULTS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "errata",
}
"""What a URL may set otherwise: a server that is gone is noticed within half a minute."""

_INHERITED: list[object] = []
"""Connections of a parent process, kept open: closing them would end the parent's sessions."""


def is_url(path: object) -> bool:
    """Return whether a cache's path is the URL of a PostgreSQL database."""
    return isinstance(path, str) and path.startswith(SCHEMES)


class _Parameters(dict[str, Any]):
    """What a connection is made with; shows no password."""

    def __repr__(self) -> str:
        return f"<{len(self)} parameters of a connection>"


class PostgresServer:
    """A PostgreSQL database and a role in it.

    :param url: as libpq reads it (``postgresql://user@host:port/database?sslmode=verify-full``);
        what it leaves out is taken from the environment and ``~/.pgpass``.
    :raises MissingExtra: psycopg is not installed.
    :raises StoreError: the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        try:
            import psycopg.conninfo
        except ImportError as error:
            raise MissingExtra(
                "expected the package psycopg for a cache in PostgreSQL, found none; run "
                "`pip install 'errata[postgres]'`"
            ) from error
        try:
            given = psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            given = {}
        if not given:  # the error would repeat parts of the URL, such as the password
            raise StoreError(
                "expected a URL such as postgresql://user@host:5432/database, found one that "
                "cannot be read: percent-encode what is special in user and password"
            ) from None
        self._parameters = _Parameters({**_DEFAULTS, **given})
        self._links: list[Link] = []
        self._secret = str(given.get("password") or "")
        user, port = given.get("user"), given.get("port")
        self.name = "".join(
            (
                "postgresql://",
                f"{user}@" if user else "",
                str(given.get("host") or ""),
                f":{port}" if port else "",
                f"/{given.get('dbname') or ''}",
            )
        )

    def __repr__(self) -> str:
        """Return where it is, without password and options."""
        return f"PostgresServer({self.name!r})"

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Return a new connection; statements outside a transaction commit at once.

        :raises psycopg.OperationalError: it cannot be reached, or refuses.
        """
        import psycopg

        connection = psycopg.connect(**self._parameters, autocommit=True)
        try:
            connection.execute(
                "SELECT set_config('lock_timeout', %s, false), "
                "set_config('idle_in_transaction_session_timeout', %s, false)",
                [f"{LOCK_SECONDS}s", f"{10 * LOCK_SECONDS}s"],
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def link(self) -> Link:
        """Return a connection that is kept; :meth:`close` closes it."""
        made = Link(self)
        self._links.append(made)
        return made

    def close(self) -> None:
        """Close the connections that are kept."""
        for link in self._links:
            link.close()

    @contextlib.contextmanager
    def errors(self, verb: str) -> Iterator[None]:
        """Raise a :class:`StoreError` in place of a psycopg one.

        :param verb: what is done, such as ``read``.
        """
        import psycopg

        try:
            yield
        except psycopg.errors.InsufficientPrivilege as error:
            raise StoreError(
                f"{self.name}: cannot be {verb} ({self.text(error)}): expected a role that may "
                "read and write the tables errata_* (and make them, the first time): grant it that"
            ) from error
        except psycopg.errors.LockNotAvailable as error:
            raise StoreError(
                f"{self.name}: cannot be {verb}: another replica has been writing for more than "
                f"{LOCK_SECONDS} s; nothing was changed: try again"
            ) from error
        except psycopg.OperationalError as error:
            raise StoreError(
                f"{self.name}: cannot be {verb} ({self.text(error)}): check that the server runs "
                "and accepts connections; nothing was changed: try again"
            ) from error
        except psycopg.Error as error:
            raise StoreError(
                f"{self.name}: cannot be {verb} ({self.text(error)}): check the tables errata_*, "
                "and the role's schema and search_path; nothing was changed"
            ) from error

    def text(self, error: Exception) -> str:
        """Return an error's text on one line, without the password."""
        said = " ".join(str(error).split()) or type(error).__name__
        return said.replace(self._secret, "***") if self._secret else said

    def prepare(self, schema: Schema) -> None:
        """Make tables where they are missing, or of an older errata; in one transaction.

        :param schema: the tables.
        :raises StoreError: they are of a newer errata, or another program's; no connection.
        """
        with self.errors("opened"), contextlib.closing(self.connect()) as connection:
            if self._version(connection, schema) == schema.version:
                return
            # Until the connection is closed; before the transaction, which would go on not to see
            # the tables that another one made while this one waited.
            connection.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
            with connection.transaction():
                version = self._version(connection, schema)
                if version == 0:
                    connection.execute(schema.statements.encode())
                for old in range(version or schema.version, schema.version):
                    connection.execute(schema.migrations[old].encode())
                update = f"UPDATE {schema.meta} SET value = %s WHERE key = 'schema'"
                connection.execute(update.encode(), [str(schema.version)])

    def _version(self, connection: psycopg.Connection[tuple[Any, ...]], schema: Schema) -> int:
        there = connection.execute("SELECT to_regclass(%s)::text", [schema.meta]).fetchone()
        if there is None or there[0] is None:
            return 0
        query = f"SELECT value FROM {schema.meta} WHERE key = 'schema'"
        row = connection.execute(query.encode()).fetchone()
        if row is None or int(row[0]) > schema.version:
            raise StoreError(
                f"{self.name}: expected schema {schema.version} or older, found "
                f"{'none' if row is None else row[0]}: upgrade errata, or name another database"
            )
        return int(row[0])


class Link:
    """One connection, made at the first use and again where it was lost. Safe under threads.

    :param server: what it is to.
    """

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._process = os.getpid()

    @contextlib.contextmanager
    def use(self) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """Lend the connection; one that was lost in the meantime is made again.

        :raises psycopg.OperationalError: the server cannot be reached.
        """
        import psycopg

        self._notice_fork()
        with self._lock:
            connection = self._connection
            if connection is not None and connection.info.transaction_status == 0:
                try:  # the server may have been restarted
                    connection.execute("SELECT 1")
                except psycopg.OperationalError:
                    connection.close()
            if connection is None or connection.closed:
                connection = self._connection = self.server.connect()
            yield connection

    def close(self) -> None:
        """Close the connection."""
        self._notice_fork()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _notice_fork(self) -> None:
        """Begin anew in a fork: a connection must not cross it, and a lock may stay taken."""
        if self._process != os.getpid():
            _INHERITED.append(self._connection)
            self._connection, self._lock, self._process = None, threading.RLock(), os.getpid()
