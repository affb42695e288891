"""The contract of a sentence encoder (the cache itself never imports torch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from errata.cache.records import Vector


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into unit vectors.

    Contract: a text's row is equal up to 1e-5 alone or in any batch.
    """

    @property
    def dimension(self) -> int:
        """Width d of the vectors."""

    @property
    def fingerprint(self) -> str:
        """Identity of the encoder; vectors of different fingerprints are never compared."""

    def encode(self, texts: Sequence[str]) -> Vector:
        """Return float32 [n, d], rows of length 1."""

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return, for each text, the share of its tokens the encoder does not know, [n]."""

    def windows(self, text: str) -> tuple[str, ...]:
        """Return the text itself, or its sentence windows where it is longer than is read."""
