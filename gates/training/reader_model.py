"""The reader as a torch module: the same computation as :mod:`errata.gates.reader`, trainable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from errata.cache.records import Vector
from errata.gates.layers import Array, Network, Projection


class Sizes(Protocol):
    """Sizes of the model."""

    @property
    def heads(self) -> int:
        """Parts h of the projection."""

    @property
    def width(self) -> int:
        """Dimensions of each part."""

    @property
    def hidden(self) -> int:
        """Units of the network."""

    @property
    def dropout(self) -> float:
        """Of the encodings and of the hidden units."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs as tensors.

    :param named: their named features, float32 [n, f].
    :param queries: encodings, float32 [n, d].
    :param texts: encodings, float32 [n, d].
    :param labels: float32 [n].
    :param weights: float32 [n].
    :param sorts: the number of each pair's sort, int64 [n].
    """

    named: Tensor
    queries: Tensor
    texts: Tensor
    labels: Tensor
    weights: Tensor
    sorts: Tensor

    @classmethod
    def of(
        cls,
        named: Array,
        queries: Vector,
        texts: Vector,
        labels: Array,
        weights: Array,
        sorts: Sequence[int],
    ) -> Batch:
        """Return arrays as tensors."""
        return cls(
            torch.from_numpy(np.asarray(named, np.float32)),
            torch.from_numpy(np.asarray(queries, np.float32)),
            torch.from_numpy(np.asarray(texts, np.float32)),
            torch.from_numpy(np.asarray(labels, np.float32)),
            torch.from_numpy(np.asarray(weights, np.float32)),
            torch.tensor(sorts),
        )

    def rows(self, at: Tensor) -> Batch:
        """Return some of the pairs."""
        return Batch(
            self.named[at], self.queries[at], self.texts[at], self.labels[at], self.weights[at],
            self.sorts[at],
        )  # fmt: skip


class ReaderModel(nn.Module):
    """Projections and a network with one hidden layer.

    Data sets differ in what they call the same, so that each sort of pairs has an offset; the
    reader has that of sort 0.

    :param train: pairs whose mean and scale its inputs are standardised by.
    :param config: its sizes.
    """

    def __init__(self, train: Batch, config: Sizes) -> None:
        super().__init__()
        self.offsets = nn.Parameter(torch.zeros(int(train.sorts.max()) + 1))
        self.heads, size = config.heads, train.queries.shape[1]
        self.mean = nn.Parameter(torch.cat([train.queries, train.texts]).mean(0), False)
        parts = [torch.empty(config.width, size) for _ in range(self.heads)]
        for part in parts:
            nn.init.orthogonal_(part)
        self.components = nn.Parameter(torch.cat(parts))
        # a cosine is about 0.5, its nearness about 1
        center, scale = torch.tensor([0.5, 1.0]), torch.tensor([0.25, 1.0])
        self.center = nn.Parameter(
            torch.cat([train.named.mean(0), center.repeat_interleave(self.heads)]), False
        )
        spread = train.named.std(0).clamp(min=0.01)
        self.scale = nn.Parameter(torch.cat([spread, scale.repeat_interleave(self.heads)]), False)
        self.hidden = nn.Linear(len(self.center), config.hidden)
        self.out = nn.Linear(config.hidden, 1)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, [n]."""
        query, text = (
            nn.functional.normalize(
                (self.dropout(rows - self.mean) @ self.components.T).unflatten(1, (self.heads, -1)),
                dim=2,
            )
            for rows in (batch.queries, batch.texts)
        )
        cosines = (query * text).sum(2).clamp(max=1.0)
        inputs = torch.cat([batch.named, cosines, -torch.log(1.05 - cosines)], 1)
        hidden = torch.relu(self.hidden((inputs - self.center) / self.scale))
        logits: Tensor = self.out(hidden).squeeze(1)
        return logits

    def loss(self, batch: Batch) -> Tensor:
        """Return the weighted cross-entropy."""
        return nn.functional.binary_cross_entropy_with_logits(
            self(batch) + self.offsets[batch.sorts], batch.labels, batch.weights
        )

    def arrays(self) -> tuple[Projection, Network]:
        """Return the projection and the network."""
        state = {name: one.detach().double().numpy() for name, one in self.state_dict().items()}
        layers = tuple(
            (state[f"{name}.weight"].T.copy(), state[f"{name}.bias"]) for name in ("hidden", "out")
        )
        layers[1][1][:] += state["offsets"][0]
        return (
            Projection(state["mean"], state["components"]),
            Network(state["center"], state["scale"], (layers,)),
        )
