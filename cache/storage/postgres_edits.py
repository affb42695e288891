"""The edits in PostgreSQL: one writer at a time, and changes read in the order they were made."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from errata.cache.errors import StoreError
from errata.cache.storage.database import Row
from errata.cache.storage.postgres import EDITS, PostgresServer

if TYPE_CHECKING:
    import psycopg

CHANNEL = "errata"
"""Notified of every change, with the name of the schema that the tables are in."""
PAGE = 5_000
"""Rows sent or fetched at a time, so that a million take no more memory."""
_T = TypeVar("_T")

RETRY_SECONDS = 0.2
CONFIRM_SECONDS = 15.0
"""How long a writer that lost its connection in a commit tries to find out what became of it."""


@dataclass(frozen=True, slots=True)
class Position:
    """How many of the changes a reader has.

    :param generation: the number of the last one; 0 before the first.
    :param token: what was drawn for it.
    """

    generation: int = 0
    token: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reader has to change, as :meth:`errata.cache.storage.database.Database.change` does.

    :param insert: edits to append.
    :param delete: ids to remove, before that; some may not be there.
    :param seen: new values of the column ``seen``, by id.
    """

    insert: Sequence[Row]
    delete: Sequence[str]
    seen: Mapping[str, str]


class Session:
    """What can be done inside one transaction.

    :param connection: in the transaction.
    """

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self.written: Position | None = None

    def head(self) -> Position:
        """Return the last change."""
        query = "SELECT generation, token FROM errata_changes ORDER BY generation DESC LIMIT 1"
        row = self._connection.execute(query).fetchone()
        return Position() if row is None else Position(int(row[0]), str(row[1]))

    def has(self, position: Position) -> bool:
        """Return whether that change was made in this database, and is still there."""
        if not position.generation:
            return True
        query = "SELECT 1 FROM errata_changes WHERE generation = %s AND token = %s"
        parameters = [position.generation, position.token]
        return self._connection.execute(query, parameters).fetchone() is not None

    def changes(self, since: Position) -> Iterator[Changes]:
        """Yield what changed since, in order, some thousand edits at a time."""
        after = since.generation
        with _server_cursor(self._connection) as cursor:
            cursor.execute(
                "SELECT id, kind, body, seen, made FROM errata_edits WHERE changed > %s "
                "ORDER BY made, place",
                [after],
            )
            full = True
            while full:
                rows = cursor.fetchmany(PAGE)
                full = len(rows) == PAGE
                yield Changes(
                    [Row(*row[:4]) for row in rows if row[2] is not None and row[4] > after],
                    [row[0] for row in rows if row[2] is None or row[4] > after],
                    {row[0]: row[3] for row in rows if row[2] is not None and row[4] <= after},
                )

    def change(
        self, insert: Sequence[Row], delete: Sequence[str], seen: Mapping[str, str]
    ) -> Position:
        """Write a change; only after :meth:`PostgresEdits.writing` has locked the writers' row."""
        execute = self._connection.execute
        made = Position(self.head().generation + 1, secrets.token_hex(16))
        for keys in _pages(delete):
            execute(
                "UPDATE errata_edits SET body = NULL, seen = '[]', changed = %s "
                "WHERE id = ANY(%s::text[])",
                [made.generation, keys],
            )
        for number, rows in enumerate(_pages(insert)):
            execute(
                "INSERT INTO errata_edits (id, kind, body, seen, made, place, changed) "
                "SELECT id, kind, body, seen, %(made)s, %(first)s + place, %(made)s "
                "FROM unnest(%(ids)s::text[], %(kinds)s::text[], %(bodies)s::text[], "
                "%(seen)s::text[]) WITH ORDINALITY AS new (id, kind, body, seen, place) "
                "ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, body = excluded.body, "
                "seen = excluded.seen, made = excluded.made, place = excluded.place, "
                "changed = excluded.changed",
                {
                    "made": made.generation,
                    "first": number * PAGE,
                    "ids": [row.id for row in rows],
                    "kinds": [row.kind for row in rows],
                    "bodies": [row.body for row in rows],
                    "seen": [row.seen for row in rows],
                },
            )
        for pairs in _pages([*seen.items()]):
            execute(
                "UPDATE errata_edits AS old SET seen = new.seen, changed = %s "
                "FROM unnest(%s::text[], %s::text[]) AS new (id, seen) WHERE old.id = new.id",
                [made.generation, [key for key, _ in pairs], [value for _, value in pairs]],
            )
        execute(
            "INSERT INTO errata_changes (generation, token) VALUES (%s, %s)",
            [made.generation, made.token],
        )
        execute("SELECT pg_notify(%s, current_schema())", [CHANNEL])
        self.written = made
        return made

    def commit(self) -> None:
        """Commit."""
        self._connection.execute("COMMIT")


class PostgresEdits:
    """The edits of a database. Safe under threads.

    :param server: the database; its tables are made where they are missing.
    :raises StoreError: it cannot be reached, or is not errata's.
    """

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._writer, self._reader = server.link(), server.link()
        server.prepare(EDITS)

    def fingerprint(self) -> str | None:
        """Return the encoder's fingerprint, or None where none was set."""
        query = "SELECT value FROM errata_meta WHERE key = 'fingerprint'"
        with self.server.errors("read"), self._reader.use() as connection:
            row = connection.execute(query).fetchone()
            return None if row is None else str(row[0])

    def set_fingerprint(self, fingerprint: str) -> None:
        """Store the encoder's fingerprint."""
        with self.server.errors("written"), self._writer.use() as connection:
            connection.execute(
                "INSERT INTO errata_meta VALUES ('fingerprint', %s) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                [fingerprint],
            )

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a transaction that sees the edits of one moment, and waits for no writer."""
        from psycopg import IsolationLevel

        with self.server.errors("read"), self._reader.use() as connection:
            connection.isolation_level = IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection.transaction():
                yield Session(connection)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """Open the transaction of the one writer; rolled back unless :meth:`commit` is called."""
        with self.server.errors("written"), self._writer.use() as connection:
            try:
                connection.execute("BEGIN")
                _lock_writers(connection)
                yield Session(connection)
            finally:
                if connection.info.transaction_status:
                    with contextlib.suppress(Exception):  # the connection may be lost
                        connection.execute("ROLLBACK")

    def commit(self, session: Session) -> None:
        """Commit the writer's transaction: what it wrote survives a kill of the server.

        :param session: of :meth:`writing`.
        :raises psycopg.OperationalError: it was not committed.
        :raises StoreError: nobody can say for the moment.
        """
        import psycopg

        try:
            session.commit()
        except psycopg.OperationalError:
            if session.written is None or not self._was_made(session.written):
                raise

    def _was_made(self, position: Position) -> bool:
        """Return whether a change whose connection was lost in the commit was made."""
        import psycopg

        deadline = time.monotonic() + CONFIRM_SECONDS
        while True:
            try:
                with contextlib.closing(self.server.connect()) as connection:
                    with connection.transaction():
                        _lock_writers(connection)  # waits for the end of the lost transaction
                        return Session(connection).has(position)
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"{self.server.name}: the connection was lost while a change was committed "
                        f"({self.server.text(error)}): it may have been made or not. Look when "
                        "the server answers again; to add the same edits again is safe"
                    ) from error
                time.sleep(RETRY_SECONDS)


@contextlib.contextmanager
def _server_cursor(
    connection: psycopg.Connection[tuple[Any, ...]],
) -> Iterator[psycopg.ServerCursor[tuple[Any, ...]]]:
    """Open a cursor of the server, and close it."""
    import psycopg

    cursor = connection.cursor(name="errata_changes")
    try:
        yield cursor
    finally:
        try:
            cursor.close()
        except psycopg.OperationalError:  # a lost connection: only now is it known to be closed
            cursor.close()
            raise


def _lock_writers(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Wait until no other transaction writes edits; hold that until the transaction ends."""
    connection.execute("SELECT value FROM errata_meta WHERE key = 'writer' FOR UPDATE")


def _pages(items: Sequence[_T]) -> Iterator[list[_T]]:
    """Yield a sequence in parts."""
    for start in range(0, len(items), PAGE):
        yield list(items[start : start + PAGE])
