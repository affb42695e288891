"""Stand-ins without torch: an encoder whose vectors anyone can predict."""

from __future__ import annotations

import gzip
import re
import threading
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from errata.cache.records import Vector

DAMAGED = gzip.compress(b"")[:10] + b"\x07" * 20
"""A gzipped file whose first block is of a type that there is not: zlib's own error."""


class PerQueryGate:
    """The batch methods of a gate, for fakes that define ``score`` and ``decide``."""

    def score_batch(self, queries, edits):
        return [self.score(query, some) for query, some in zip(queries, edits, strict=True)]

    def decide_batch(self, queries, hits):
        return [self.decide(query, found) for query, found in zip(queries, hits, strict=True)]


class StubEncoder:
    """Hashed character trigrams: texts that share letters are close, the same everywhere.

    Like a small English encoder it cannot read other scripts: all their characters look alike.

    :param dimension: width of the vectors.
    :param fingerprint: its identity.
    :param longest: number of words it reads; longer texts are cut into sentences.
    """

    def __init__(
        self, dimension: int = 64, fingerprint: str = "stub-trigrams-64", longest: int = 60
    ) -> None:
        self.dimension = dimension
        self.fingerprint = fingerprint
        self.longest = longest
        self.calls = 0
        self.encoded: list[str] = []
        self.failure: Exception | None = None
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Vector:
        with self._lock:
            self.calls += 1
            self.encoded += texts
        if self.failure is not None:
            raise self.failure
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            seen = re.sub(r"[^\x00-\x7f]", "□", f"  {text.casefold()}  ")
            for place in range(len(seen) - 2):
                code = zlib.crc32(seen[place : place + 3].encode())
                row[code % self.dimension] += 1.0 if code >> 16 & 1 else -1.0
            row[0] += 1e-3
            row /= np.linalg.norm(row)
        return vectors

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        shares = [sum(not char.isascii() for char in text) / max(1, len(text)) for text in texts]
        return np.array(shares, dtype=np.float64)

    def windows(self, text: str) -> tuple[str, ...]:
        if len(text.split()) <= self.longest:
            return (text,)
        return tuple(part for part in re.split(r"(?<=[.?!])\s+", text) if part)
