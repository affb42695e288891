"""Blocks below the trained ones: what they make of a batch is computed once, not in every step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


class FrozenBlocks:
    """Remembers the outputs of blocks for the last batch that they read.

    :param model: a copy of a module tree that is used for training only: its blocks are changed.
    :param names: of blocks that neither hold a trained parameter nor read the output of one.
    """

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        self._batch: Hashable = None
        self._outputs: dict[str, Any] = {}
        for name in names:
            block: Any = model.get_submodule(name)
            block.forward = partial(self._forward, name, block.forward)

    def read(self, batch: Hashable) -> None:
        """Say which batch comes next; another one than before is computed anew."""
        if batch != self._batch:
            self._batch, self._outputs = batch, {}

    def _forward(
        self, name: str, forward: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        if name not in self._outputs:
            self._outputs[name] = forward(*arguments, **options)
        return self._outputs[name]
