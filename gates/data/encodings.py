"""An encoder whose vectors are kept in a file, so that an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from errata.cache.encoder import Encoder
from errata.cache.records import Vector
from errata.cache.storage.embeddings import EmbeddingStore

AT_ONCE = 64
"""Texts of one call of the encoder, after which they are stored."""


class StoredEncoder:
    """Encodes a text once.

    :param encoder: any encoder.
    :param path: SQLite file of its vectors; made where it is missing.
    :param say: receives how far it is.
    """

    def __init__(
        self, encoder: Encoder, path: Path, say: Callable[[str], object] = lambda what: None
    ) -> None:
        self.encoder, self._say = encoder, say
        self._store = EmbeddingStore(path, encoder.fingerprint, encoder.dimension)

    @property
    def dimension(self) -> int:
        """Width d of the vectors."""
        return self.encoder.dimension

    @property
    def fingerprint(self) -> str:
        """Identity of the encoder."""
        return self.encoder.fingerprint

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], rows of length 1."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        known = self._store.read(list(dict.fromkeys(texts)))
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        for start in range(0, len(missing), AT_ONCE):
            some = missing[start : start + AT_ONCE]
            made = dict(zip(some, self.encoder.encode(some), strict=True))
            self._store.write(made)
            known.update(made)
            self._say(f"encoded {start + len(some)} of {len(missing)} texts")
        return np.stack([known[text] for text in texts])

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the share of each text's tokens that the encoder does not know, [n]."""
        return self.encoder.unknown_share(texts)

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text, or its sentence windows where it is longer than is read."""
        return self.encoder.windows(text)
