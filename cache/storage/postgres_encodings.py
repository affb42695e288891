"""Encodings in PostgreSQL: made by one replica, read by all."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from errata.cache.errors import StoreError
from errata.cache.records import Vector
from errata.cache.storage.postgres import PostgresServer

_LOG = logging.getLogger(__name__)
_AT_ONCE = 2_000
"""Texts of one statement: a few megabytes."""


class PostgresEncodings:
    """The encodings that one encoder made of texts. Safe under threads.

    Errors are logged; a text whose encoding cannot be read is encoded again.

    :param server: the database, with its tables.
    :param fingerprint: the encoder's.
    :param dimension: width d of its vectors.
    """

    def __init__(self, server: PostgresServer, fingerprint: str, dimension: int) -> None:
        self.server = server
        self.fingerprint = fingerprint
        self.dimension = dimension
        self._link = server.link()
        self._complained = False

    def read(self, texts: Sequence[str]) -> dict[str, Vector]:
        """Return the stored encodings by text, each float32 [d], without damaged ones."""
        by_hash = {_hash(text): text for text in texts}
        keys, found = list(by_hash), dict[str, Vector]()
        query = (
            "SELECT text_hash, vector FROM errata_encodings "
            "WHERE fingerprint = %s AND text_hash = ANY(%s::bytea[])"
        )
        try:
            with self.server.errors("read"), self._link.use() as connection:
                for start in range(0, len(keys), _AT_ONCE):
                    part = keys[start : start + _AT_ONCE]
                    cursor = connection.cursor(binary=True)
                    for key, blob in cursor.execute(query, [self.fingerprint, part]):
                        if (vector := self._vector(blob)) is not None:
                            found[by_hash[key]] = vector
                self._complained = False
        except StoreError as error:
            self._complain(error)
        return found

    def write(self, vectors: Mapping[str, Vector]) -> None:
        """Store encodings by text, unless another replica has."""
        # In one order by all: otherwise two writers may wait for each other.
        rows = sorted(
            ((_hash(text), vector) for text, vector in vectors.items()), key=lambda row: row[0]
        )
        query = (
            "INSERT INTO errata_encodings (fingerprint, text_hash, vector) "
            "SELECT %b, * FROM unnest(%b::bytea[], %b::bytea[]) ON CONFLICT DO NOTHING"
        )
        try:
            with self.server.errors("written"), self._link.use() as connection:
                for start in range(0, len(rows), _AT_ONCE):
                    part = rows[start : start + _AT_ONCE]
                    blobs = [vector.astype("<f4").tobytes() for _, vector in part]
                    parameters = [self.fingerprint, [key for key, _ in part], blobs]
                    with connection.transaction():
                        # On disk with the edits at the latest: their commit comes later.
                        connection.execute("SET LOCAL synchronous_commit = off")
                        connection.execute(query, parameters)
        except StoreError as error:
            self._complain(error)

    def prune(self, texts: Sequence[str]) -> None:
        """Keep all: other replicas may use what this one does not."""

    def _complain(self, error: StoreError) -> None:
        """Log an error, unless it is one of many."""
        if not self._complained:
            _LOG.warning("%s; texts are encoded again, by every replica", error)
        self._complained = True

    def _vector(self, blob: bytes) -> Vector | None:
        if len(blob) != 4 * self.dimension:
            return None
        vector: Vector = np.frombuffer(blob, dtype="<f4")
        return vector if np.isfinite(vector).all() else None


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
