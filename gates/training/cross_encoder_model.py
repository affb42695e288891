"""The cross-encoder in training: a transformer with low-rank changes of its matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from errata.cache.errors import ModelError
from errata.gates.cross_encoder import CrossEncoderDelta, encode_pairs, quantize_factors


class PairClassifier(torch.nn.Module):
    """Classifies pairs; the matrices of its layers are trained, with changes of low rank.

    Projected gradient descent (iterative hard thresholding; Jain et al. 2010, singular value
    projection): steps change whole matrices, which learn faster than two factors, and
    :meth:`project` takes the nearest change of the stored rank.

    :param transformer: changed in place.
    :param rank: of each matrix' change, after :meth:`project`.
    """

    def __init__(self, transformer: Any, rank: int) -> None:
        super().__init__()
        self.body = transformer.requires_grad_(False)
        self.head = torch.nn.Linear(2 * transformer.config.hidden_size, 3)
        self.rank = rank
        self._initial: dict[str, torch.Tensor] = {}
        for name, module in transformer.named_modules():
            # the pooler's output is not used
            if isinstance(module, torch.nn.Linear) and "pooler" not in name:
                module.weight.requires_grad_(True)
                self._initial[f"{name}.weight"] = module.weight.detach().clone()

    def forward(self, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> torch.Tensor:
        """Return logits of none, paraphrase and entailed, float32 [n, 3]."""
        logits: torch.Tensor = self.head(encode_pairs(self.body, tokenizer, pairs))
        return logits

    @property
    def matrices(self) -> dict[str, torch.nn.Parameter]:
        """The trained matrices, without the head."""
        named = dict(self.body.named_parameters())
        return {name: named[name] for name in self._initial}

    @property
    def finite(self) -> bool:
        """Whether all trained parameters are finite."""
        trained = (*self.matrices.values(), *self.head.parameters())
        return all(bool(torch.isfinite(parameter).all()) for parameter in trained)

    def project(self) -> CrossEncoderDelta:
        """Project every change to its rank; return the changes as stored."""
        tensors = {
            f"head.{name}": parameter.detach().cpu().half().numpy()
            for name, parameter in self.head.named_parameters()
        }
        with torch.no_grad():
            for name, weight in self.matrices.items():
                initial = self._initial[name].to(weight)
                left, sizes, right = torch.linalg.svd(weight - initial, full_matrices=False)
                root = sizes[: self.rank].sqrt()
                up = (left[:, : self.rank] * root).double().cpu().numpy()
                down = (root[:, None] * right[: self.rank]).double().cpu().numpy()
                tensors |= quantize_factors(name, up, down)
            stored = CrossEncoderDelta(tensors, 1.0)
            for name, weight in self.matrices.items():
                weight.copy_(self._initial[name] + torch.from_numpy(stored.delta(name)))
        return stored

    def load(self, start: CrossEncoderDelta) -> None:
        """Set the weights to a trained change.

        :raises ModelError: it is a change of another transformer.
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
                weight.copy_(self._initial[name] + torch.from_numpy(start.delta(name)))
            for name, parameter in self.head.named_parameters():
                stored = start.tensors[f"head.{name}"].astype(np.float32)
                parameter.copy_(torch.from_numpy(stored))
