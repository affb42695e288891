"""A least-recently-used cache of embeddings."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

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
        self._rows: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self._unknown: OrderedDict[str, NDArray[Any]] = OrderedDict()
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
        if not texts:
            return np.zeros((0, self.encoder.dimension), dtype=np.float32)
        found = self._look_up(texts, self._rows, self.encoder.encode)
        return np.stack([found[text] for text in texts])

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return, for each text, the share of its tokens the encoder does not know, [n]."""
        found = self._look_up(texts, self._unknown, self.encoder.unknown_share)
        return np.array([found[text] for text in texts], dtype=np.float64)

    def _look_up(
        self,
        texts: Sequence[str],
        cache: OrderedDict[str, NDArray[Any]],
        compute: Callable[[Sequence[str]], NDArray[Any]],
    ) -> dict[str, NDArray[Any]]:
        """Return a row for each text, computed and cached where it is new."""
        with self._lock:
            known = {text: cache[text] for text in texts if text in cache}
            for text in known:
                cache.move_to_end(text)
        missing = list(dict.fromkeys(text for text in texts if text not in known))
        if missing:
            # copies: a row of the batch would keep the whole batch
            new = {text: row.copy() for text, row in zip(missing, compute(missing), strict=True)}
            known |= new
            with self._lock:
                cache.update(new)
                while self._size is not None and len(cache) > self._size:
                    cache.popitem(last=False)
        return known

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text itself, or its sentence windows where it is longer than is read."""
        return self.encoder.windows(text)
