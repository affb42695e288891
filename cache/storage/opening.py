"""Opening the place where a cache keeps its edits."""

from __future__ import annotations

import os
from pathlib import Path

from errata.cache.encoder import Encoder, multilingual_of
from errata.cache.errors import StoreError
from errata.cache.storage.base import OpenedStore
from errata.cache.storage.database import Database
from errata.cache.storage.embeddings import EmbeddingStore
from errata.cache.storage.postgres import SCHEMES, is_url


def open_store(encoder: Encoder, path: str | os.PathLike[str] | None) -> OpenedStore:
    """Return the open parts of a cache.

    :param encoder: of the edits.
    :param path: a folder, the URL of a PostgreSQL database, or None for memory.
    :raises StoreError: it is damaged, foreign, of a newer errata, or cannot be reached.
    :raises MissingExtra: psycopg is not installed.
    """
    if path is None:
        return OpenedStore()
    if is_url(path):
        return _open_postgres(encoder, str(path))
    if os.fspath(path).startswith(tuple(scheme.replace("//", "/") for scheme in SCHEMES)):
        raise StoreError("expected the URL of a database as a text, found one as a Path")
    folder, other = Path(path), multilingual_of(encoder)
    edits = Database(folder / "edits.sqlite3")
    return OpenedStore(
        str(folder),
        folder,
        edits,
        EmbeddingStore(folder / "encodings.sqlite3", encoder.fingerprint, encoder.dimension),
        None
        if other is None
        else EmbeddingStore(
            folder / "encodings_multilingual.sqlite3", other.fingerprint, other.dimension
        ),
    )


def _open_postgres(encoder: Encoder, url: str) -> OpenedStore:
    from errata.cache.storage.postgres import PostgresServer
    from errata.cache.storage.postgres_edits import PostgresEdits
    from errata.cache.storage.postgres_encodings import PostgresEncodings
    from errata.cache.storage.replica import ReplicaDatabase

    server, other = PostgresServer(url), multilingual_of(encoder)
    return OpenedStore(
        server.name,
        None,
        ReplicaDatabase(PostgresEdits(server)),
        PostgresEncodings(server, encoder.fingerprint, encoder.dimension),
        None if other is None else PostgresEncodings(server, other.fingerprint, other.dimension),
    )
