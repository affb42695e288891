"""Encodings kept between runs; they are derived from the edits and can be made again.

The key of a row is the hash of its text with the encoder's fingerprint, so that rows are never
stale or of another encoder; each has a checksum. After any error the text is encoded again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from errata.cache.encoder import Encoder, encode_in_parts
from errata.cache.errors import IndexMismatchError
from errata.cache.records import Vector
from errata.cache.storage.base import Encodings

_LOG = logging.getLogger(__name__)
_BUSY_SECONDS = 2.0
_UNUSED_ROWS_ALLOWED = 1000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS encodings (
    fingerprint TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (fingerprint, text_hash)
) WITHOUT ROWID
"""


class EmbeddingStore:
    """The file ``encodings.sqlite3``.

    :param path: the file; made at the first write.
    :param fingerprint: the encoder's.
    :param dimension: width d of its vectors.
    """

    def __init__(self, path: Path, fingerprint: str, dimension: int) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.dimension = dimension

    def read(self, texts: Sequence[str]) -> dict[str, Vector]:
        """Return the stored encodings by text, each float32 [d], without damaged ones."""
        if not self.path.exists():
            return {}
        found: dict[str, Vector] = {}
        query = "SELECT checksum, vector FROM encodings WHERE fingerprint = ? AND text_hash = ?"
        with self._logged_errors("read"), self._open() as connection:
            for text in texts:
                row = connection.execute(query, [self.fingerprint, _hash(text)]).fetchone()
                if row is not None and (vector := self._vector(*row)) is not None:
                    found[text] = vector
        return found

    def write(self, vectors: Mapping[str, Vector]) -> None:
        """Store encodings by text; errors are logged."""
        rows = [
            (self.fingerprint, _hash(text), zlib.crc32(vector.tobytes()), vector.tobytes())
            for text, vector in vectors.items()
        ]
        with self._logged_errors("write"), self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO encodings VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")

    def prune(self, texts: Sequence[str]) -> None:
        """Delete the encodings of other texts, where these are many."""
        if not self.path.exists():
            return
        with self._logged_errors("prune"), self._open() as connection:
            count = connection.execute("SELECT count(*) FROM encodings").fetchone()[0]
            if count <= 2 * len(texts) + _UNUSED_ROWS_ALLOWED:
                return
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TEMP TABLE kept (text_hash BLOB PRIMARY KEY)")
            connection.executemany(
                "INSERT OR IGNORE INTO kept VALUES (?)", [(_hash(text),) for text in texts]
            )
            connection.execute(
                "DELETE FROM encodings WHERE fingerprint != ? "
                "OR text_hash NOT IN (SELECT text_hash FROM kept)",
                [self.fingerprint],
            )
            connection.execute("COMMIT")

    def _vector(self, checksum: object, blob: object) -> Vector | None:
        if not isinstance(blob, bytes) or len(blob) != 4 * self.dimension:
            return None
        if zlib.crc32(blob) != checksum:
            return None
        vector: Vector = np.frombuffer(blob, dtype=np.float32)
        return vector if np.isfinite(vector).all() else None

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(
            sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        ) as connection:
            # Encodings need not survive a power cut.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(_SCHEMA)
            yield connection

    @contextlib.contextmanager
    def _logged_errors(self, verb: str) -> Iterator[None]:
        """Log any error; delete a damaged file, leave one that is locked or read-only."""
        try:
            yield
        except (sqlite3.Error, TypeError, ValueError) as error:
            _LOG.warning("%s: cannot %s encodings (%s)", self.path, verb, error)
            operational = isinstance(error, sqlite3.OperationalError)
            if not (operational and any(why in str(error) for why in ("locked", "readonly"))):
                self._discard()

    def _discard(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink()


def encoded(
    texts: Sequence[str],
    encoder: Encoder,
    store: Encodings | None,
    known: Mapping[str, Vector],
    *,
    keep: bool = True,
) -> dict[str, Vector]:
    """Return encodings by text, each float32 [d]: stored or known ones, else the encoder's.

    :param texts: to be encoded.
    :param encoder: encodes the others.
    :param store: where encodings are kept; None: nowhere.
    :param known: encodings that are kept elsewhere, by text.
    :param keep: store what is encoded now.
    """
    if not texts:
        return {}
    found = {**known, **({} if store is None else store.read(texts))}
    missing = [text for text in texts if text not in found]
    for part, made in encode_in_parts(encoder, missing):
        fresh = dict(zip(part, made, strict=True))
        if store is not None and keep:
            store.write(fresh)
        found.update(fresh)
    return found


def keep_only(store: Encodings, vectors: Mapping[str, Vector]) -> None:
    """Store encodings by text, where some are missing, and delete those of other texts.

    :param store: where encodings are kept.
    :param vectors: those to be kept.
    """
    stored = store.read(list(vectors))
    if missing := {text: each for text, each in vectors.items() if text not in stored}:
        store.write(missing)
    store.prune(list(vectors))


def check_fingerprint(written: str | None, mine: str, path: object) -> None:
    """Check that edits were encoded by the encoder in use.

    :param written: the fingerprint noted with them; None: of any.
    :param mine: the encoder's.
    :param path: of the edits, for the message.
    :raises IndexMismatchError: if they were encoded by another one.
    """
    if written is not None and written != mine:
        raise IndexMismatchError(
            f"{path}: expected the encoder {mine}, found edits encoded by {written}: "
            "open it with that encoder, or encode again with reencode=True (errata reindex)"
        )


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
