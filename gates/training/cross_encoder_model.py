"""The cross-encoder in training: a transformer whose matrices change by no more than a rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from errata.cache.errors import ModelError
from errata.gates.cross_encoder import CrossEncoderDelta, encode_pairs, quantize_factors


class PairReader(torch.nn.Module):
    """Reads pairs; the matrices of its layers are trained, and brought back to a low rank.

    Projected gradient descent (iterative hard thresholding; Jain et al. 2010, singular value
    projection): steps are those of whole matrices, which learn what steps of two factors do not
    reach in the same time, and :meth:`project` takes the nearest change of the rank that is stored.

    :param transformer: is changed in place.
    :param rank: of each matrix' change, after :meth:`project`.
    """

    def __init__(self, transformer: Any, rank: int) -> None:
        super().__init__()
        self.body = transformer.requires_grad_(False)
        self.head = torch.nn.Linear(2 * transformer.config.hidden_size, 3)
        self.rank = rank
        self._there: dict[str, torch.Tensor] = {}
        for name, module in transformer.named_modules():
            # a pooler's output is read by nobody here
            if isinstance(module, torch.nn.Linear) and "pooler" not in name:
                module.weight.requires_grad_(True)
                self._there[f"{name}.weight"] = module.weight.detach().clone()

    def forward(self, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> torch.Tensor:
        """Return logits of none, same and follows, float32 [n, 3]."""
        logits: torch.Tensor = self.head(encode_pairs(self.body, tokenizer, pairs))
        return logits

    @property
    def matrices(self) -> dict[str, torch.nn.Parameter]:
        """What is trained besides the head."""
        named = dict(self.body.named_parameters())
        return {name: named[name] for name in self._there}

    @property
    def finite(self) -> bool:
        """Whether everything trained is a number."""
        trained = (*self.matrices.values(), *self.head.parameters())
        return all(bool(torch.isfinite(parameter).all()) for parameter in trained)

    def project(self) -> CrossEncoderDelta:
        """Bring every change to the nearest of its rank; return what was trained, as stored."""
        tensors = {
            f"head.{name}": parameter.detach().cpu().half().numpy()
            for name, parameter in self.head.named_parameters()
        }
        with torch.no_grad():
            for name, weight in self.matrices.items():
                there = self._there[name].to(weight)
                left, sizes, right = torch.linalg.svd(weight - there, full_matrices=False)
                root = sizes[: self.rank].sqrt()
                up = (left[:, : self.rank] * root).double().cpu().numpy()
                down = (root[:, None] * right[: self.rank]).double().cpu().numpy()
                tensors |= quantize_factors(name, up, down)
            stored = CrossEncoderDelta(tensors, 1.0)
            for name, weight in self.matrices.items():
                weight.copy_(self._there[name] + torch.from_numpy(stored.delta(name)))
        return stored

    def take(self, start: CrossEncoderDelta) -> None:
        """Begin from a trained one.

        :raises ModelError: it is another transformer's.
        """
        matrices = self.matrices
        shapes = {name: tuple(weight.shape) for name, weight in matrices.items()}
        found = {name: start.delta(name).shape for name in start.matrix_names()}
        head = start.tensors["head.weight"].shape
        if shapes != found or tuple(self.head.weight.shape) != head:
            raise ModelError(
                "expected a cross-encoder of the same transformer to start from, found another's; "
                "train from the beginning"
            )
        with torch.no_grad():
            for name, weight in matrices.items():
                weight.copy_(self._there[name] + torch.from_numpy(start.delta(name)))
            for name, parameter in self.head.named_parameters():
                stored = start.tensors[f"head.{name}"].astype(np.float32)
                parameter.copy_(torch.from_numpy(stored))
