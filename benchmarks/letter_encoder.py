"""A sentence encoder that costs nothing, for benchmarks of what is around it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from errata.cache.records import Vector


class LetterEncoder:
    """Hashed character trigrams: costs nothing, so that what is around it is measured."""

    dimension = 64
    fingerprint = "letters-64"

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, 64], unit rows."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for at in range(len(text) - 2):
                row[zlib.crc32(text[at : at + 3].encode()) % self.dimension] += 1.0
            row /= np.linalg.norm(row) or 1.0
        return vectors

    def unknown_share(self, texts: Sequence[str]) -> Any:
        """Return zeros: every text can be read."""
        return np.zeros(len(texts))

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text."""
        return (text,)
