"""Encodings remembered, so that no text is encoded twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.records import Vector


class EncodingMemory:
    """Remembers the encodings of recent texts. Safe under threads.

    :param encoder: who encodes what is not remembered.
    :param size: texts remembered at most; None remembers all.
    """

    def __init__(self, encoder: Encoder, size: int | None = 20_000) -> None:
        self.encoder = encoder
        self._size = size
        self._rows: OrderedDict[str, Vector] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, text: str, row: Vector) -> None:
        """Remember an encoding that somebody else has made.

        :param row: float32 [d], unit length.
        """
        with self._lock:
            self._rows.setdefault(text, row)

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

    def unknown_share(self, text: str) -> float:
        """Return the share of the text's tokens that the encoder does not know, 0 to 1."""
        with self._lock:
            if text in self._unknown:
                self._unknown.move_to_end(text)
                return self._unknown[text]
        share = float(self.encoder.unknown_share([text])[0])
        with self._lock:
            self._unknown[text] = share
            while self._size is not None and len(self._unknown) > self._size:
                self._unknown.popitem(last=False)
        return share
