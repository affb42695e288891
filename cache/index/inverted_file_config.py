"""How an inverted file is trained and searched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
"""Positions of edits, [n]."""
Lists = NDArray[np.int16]
"""The list that each vector is in, [n]."""
Codes = NDArray[np.uint8]
"""8-bit vectors, [n, d]."""


@dataclass(frozen=True, slots=True)
class InvertedFileConfig:
    """How the vectors are dealt out and searched.

    :param lists_by_root: lists as a multiple of the square root of the number of vectors, a power
        of two; reading centroids then costs about as much as reading lists (FAISS's guidelines).
    :param most_lists: lists at most, which bounds the training; list numbers are 16 bits.
    :param samples: vectors a list that centroids are trained on; fewer than 30 err visibly.
    :param iterations: of k-means; later ones gain little.
    :param growth: train again at so many times as many vectors.
    :param codes_read: codes that a search reads at least, so that few vectors are read nearly all.
    :param probes: lists that a search reads at least.
    """

    lists_by_root: float = 3.0
    most_lists: int = 2048
    samples: int = 30
    iterations: int = 6
    growth: int = 5
    codes_read: int = 8_000
    probes: int = 24
