"""The cross-encoder in training: a transformer with low-rank changes and a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from errata.cache.errors import ModelError
from errata.gates.cross import StoredCross, read_pairs_together

SCALE = 2.0
"""alpha / r."""
_MARKS = {".lora_A.default.weight": ".weight.A", ".lora_B.default.weight": ".weight.B"}


class PairReader(torch.nn.Module):
    """Reads pairs; only its low-rank changes and its head are trained.

    :param transformer: is changed in place.
    :param rank: of each change.
    """

    def __init__(self, transformer: Any, rank: int) -> None:
        from peft import LoraConfig, get_peft_model

        super().__init__()
        config = LoraConfig(r=rank, lora_alpha=int(SCALE * rank), target_modules="all-linear")
        self.body = get_peft_model(transformer, config)
        self.head = torch.nn.Linear(2 * transformer.config.hidden_size, 3)
        self.scale = SCALE

    def forward(self, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> torch.Tensor:
        """Return logits of none, same and follows, float32 [n, 3]."""
        logits: torch.Tensor = self.head(read_pairs_together(self.body, tokenizer, pairs))
        return logits

    def stored(self) -> StoredCross:
        """Return what was trained, in half precision."""
        tensors = {
            name: parameter.detach().cpu().to(torch.float16).numpy()
            for name, parameter in self._named().items()
        }
        return StoredCross(tensors, self.scale)

    def take(self, start: StoredCross) -> None:
        """Begin from a trained one.

        :raises ModelError: it is of another rank or transformer.
        """
        named = self._named()
        shapes = {name: tuple(parameter.shape) for name, parameter in named.items()}
        found = {name: tensor.shape for name, tensor in start.tensors.items()}
        if (shapes, self.scale) != (found, start.scale):
            raise ModelError(
                "expected a cross-encoder of the same rank and transformer to start from, "
                "found another; train from the beginning, or with the rank it has"
            )
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(torch.from_numpy(start.tensors[name].astype(np.float32)))

    def _named(self) -> dict[str, torch.nn.Parameter]:
        named = dict(self.head.named_parameters(prefix="head"))
        for name, parameter in self.body.get_base_model().named_parameters():
            for mark, short in _MARKS.items():
                if name.endswith(mark):
                    named[name.removesuffix(mark) + short] = parameter
        return named
