"""A least-recently-used cache of embeddings."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from errata.cache.encoder import Encoder
from errata.cache.records import Vector


class EmbeddingCache:
    """An encoder that keeps the embeddings of recent texts. Safe under threads.

    :param encoder: encodes the other texts.
    :param size: texts kept at most; None keeps all.
    """

    def __init__(self, encoder: Encoder, size: int | None = 20_000) -> None:
        self.encoder = encoder
        self._size = size
        self._rows: OrderedDict[str, Vector] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def dimension(self) -> int:
        """Width d of the vectors."""
        return self.encoder.dimension

    @property
    def fingerprint(self) -> str:
        """Identity of the encoder."""
        return self.encoder.fingerprint

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], unit rows."""
        with self._lock:
            known = {text: self._rows[text] for text in texts if text in self._rows}
            for text in known:
                self._rows.move_to_end(text)
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            known.update(zip(missing, self.encoder.encode(missing), strict=True))
            with self._lock:
                self._rows.update((text, known[text].copy()) for text in missing)
                while self._size is not None and len(self._rows) > self._size:
                    self._rows.popitem(last=False)
        if not texts:
            return np.zeros((0, self.encoder.dimension), dtype=np.float32)
        return np.stack([known[text] for text in texts])

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return, for each text, the share of its tokens the encoder does not know, [n]."""
        with self._lock:
            known = {text: self._unknown[text] for text in texts if text in self._unknown}
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            shares = self.encoder.unknown_share(missing).tolist()
            known.update(zip(missing, shares, strict=True))
            with self._lock:
                self._unknown.update((text, known[text]) for text in missing)
                while self._size is not None and len(self._unknown) > self._size:
                    self._unknown.popitem(last=False)
        return np.array([known[text] for text in texts], dtype=np.float64)

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text itself, or its sentence windows where it is longer than is read."""
        return self.encoder.windows(text)
