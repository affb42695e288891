"""Copies of a module tree over the same tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import nn

M = TypeVar("M", bound="nn.Module")


def sharing_copy(model: M, *, detached: bool = True) -> M:
    """Return a copy of a model whose parameters and buffers share the model's memory.

    Modules and hooks are copied, so that both can generate at the same time in several threads.
    An in-place write to a tensor of the copy writes into the model: replace tensors instead. Tied
    parameters stay tied.

    :param model: any module.
    :param detached: the copy has new parameter objects without gradients and is in evaluation
        mode. False: it has the same parameter objects, so that ``model.to(...)`` moves both and
        ``requires_grad`` is shared.
    """
    from torch import nn

    memo: dict[int, object] = {id(buffer): buffer for buffer in model.buffers()}
    for parameter in model.parameters():
        memo[id(parameter)] = (
            nn.Parameter(parameter.detach(), requires_grad=False) if detached else parameter
        )
    copied = copy.deepcopy(model, memo)
    return copied.eval() if detached else copied


@contextmanager
def keep_requires_grad(model: nn.Module) -> Iterator[None]:
    """Restore ``requires_grad`` of every parameter on exit (peft freezes the model it adapts)."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, requires_grad in before:
            parameter.requires_grad_(requires_grad)
