"""An encoder that looks up what a cache has encoded already, for trying other edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from errata.cache.encoder import Encoder
from errata.cache.records import Vector


class KnownEncoder:
    """Encodes as another encoder does; vectors that are known are not computed.

    :param encoder: computes the others.
    :param known: float32 [d] by text.
    """

    def __init__(self, encoder: Encoder, known: Mapping[str, Vector]) -> None:
        self._encoder, self._known = encoder, known
        self.dimension, self.fingerprint = encoder.dimension, encoder.fingerprint

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], rows of length 1."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        vectors = dict(zip(new, self._encoder.encode(new), strict=True)) if new else {}
        rows = [vectors[text] if text in vectors else self._known[text] for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.dimension), dtype=np.float32)

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the share of unknown tokens of each text, float64 [n]."""
        return self._encoder.unknown_share(texts)

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text, or its sentence windows where it exceeds the maximum length."""
        return self._encoder.windows(text)
