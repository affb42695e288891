"""Trained layers in NumPy: a projection, small networks and their calibration.

Trained elsewhere and run here in NumPy, so that nothing is unpickled and scikit-learn is
not imported at run time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """A linear map to p dimensions.

    :param mean: float [d].
    :param components: float [p, d].
    """

    mean: Array
    components: Array

    def __call__(self, rows: NDArray[np.floating]) -> Array:
        """Return float64 [n, p].

        :param rows: float [n, d].
        """
        # einsum: BLAS rounds differently in batches of different size
        mapped = np.einsum("nd,pd->np", rows.astype(np.float64) - self.mean, self.components)
        return np.asarray(mapped, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The mean of several networks: standardised inputs, ReLU layers, a softmax.

    :param mean: float [f], subtracted from the inputs.
    :param scale: float [f], by which they are divided.
    :param members: for each network its layers, each weights [in, out] and biases [out].
    """

    mean: Array
    scale: Array
    members: tuple[tuple[tuple[Array, Array], ...], ...]

    def __call__(self, inputs: Array) -> Array:
        """Return class probabilities, float64 [n, c].

        :param inputs: float64 [n, f].
        """
        scaled = (inputs - self.mean) / self.scale
        each = []
        for layers in self.members:
            rows = scaled
            for position, (weights, biases) in enumerate(layers):
                rows = np.maximum(rows, 0.0) if position else rows
                rows = np.einsum("ni,io->no", rows, weights) + biases
            if rows.shape[1] == 1:  # two classes, one logit
                rows = np.concatenate([np.zeros_like(rows), rows], axis=1)
            each.append(_softmax(rows))
        return np.asarray(np.mean(each, axis=0), dtype=np.float64)

    def tensors(self, name: str) -> dict[str, NDArray[np.float32]]:
        """Return the arrays, by names that begin with ``name``."""
        found = {f"{name}.mean": self.mean, f"{name}.scale": self.scale}
        for member, layers in enumerate(self.members):
            for layer, (weights, biases) in enumerate(layers):
                found[f"{name}.{member}.{layer}.weights"] = weights
                found[f"{name}.{member}.{layer}.biases"] = biases
        return {key: np.ascontiguousarray(array, np.float32) for key, array in found.items()}

    @classmethod
    def from_tensors(cls, tensors: Tensors, name: str) -> Network:
        """Return the network of the arrays that begin with that name.

        :raises KeyError: an array is missing.
        """
        members: list[tuple[tuple[Array, Array], ...]] = []
        while f"{name}.{len(members)}.0.weights" in tensors:
            layers: list[tuple[Array, Array]] = []
            prefix = f"{name}.{len(members)}"
            while (key := f"{prefix}.{len(layers)}.weights") in tensors:
                biases = tensors[f"{prefix}.{len(layers)}.biases"]
                layers.append((tensors[key].astype(np.float64), biases.astype(np.float64)))
            members.append(tuple(layers))
        if not members:
            raise KeyError(f"{name}.0.0.weights")
        mean, scale = (tensors[f"{name}.{part}"].astype(np.float64) for part in ("mean", "scale"))
        return cls(mean, scale, tuple(members))


def _softmax(rows: Array) -> Array:
    exponentials = np.exp(rows - rows.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Platt:
    """Platt's calibration: a logistic function of the log-odds.

    :param slope: its slope.
    :param offset: its offset.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, probability: Array) -> Array:
        """Return calibrated probabilities, [n]."""
        return np.asarray(
            1.0 / (1.0 + np.exp(-(self.slope * log_odds(probability) + self.offset))),
            dtype=np.float64,
        )

    def then(self, after: Platt) -> Platt:
        """Return the composition of this calibration and a later one."""
        return Platt(after.slope * self.slope, after.slope * self.offset + after.offset)


def log_odds(probability: Array) -> Array:
    """Return the log-odds of probabilities, [n], finite at both ends."""
    kept = np.clip(probability, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(kept) - np.log1p(-kept), dtype=np.float64)


def odds_of(probability: float, limit: float) -> float:
    """Return the log-odds of one probability.

    :param limit: of them, either way.
    """
    kept = min(1 - 1e-9, max(1e-9, probability))
    return min(limit, max(-limit, math.log(kept / (1 - kept))))


def probability_of(odds: float) -> float:
    """Return the probability of log-odds."""
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, odds))))
