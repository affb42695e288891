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

    Modules and hooks of the copy are its own, so both can answer at the same time in several
    threads. Writing into a tensor of the copy in place writes into the model: replace tensors, do
    not change them. Tied parameters stay tied.

    :param model: any module.
    :param detached: give the copy parameter objects of its own, without gradients, in evaluation
        mode, to train on without touching the model. False keeps the very parameter objects, so
        that ``model.to(...)`` moves both; ``requires_grad`` is then the model's own.
    """
    from torch import nn

    memo: dict[int, object] = {id(buffer): buffer for buffer in model.buffers()}
    for parameter in model.parameters():
        own = nn.Parameter(parameter.detach(), requires_grad=False) if detached else parameter
        memo[id(parameter)] = own
    copied = copy.deepcopy(model, memo)
    return copied.eval() if detached else copied


@contextmanager
def keep_requires_grad(model: nn.Module) -> Iterator[None]:
    """Restore ``requires_grad`` of every parameter on leaving (peft freezes what it adapts)."""
    before = [(p, p.requires_grad) for p in model.parameters()]
    try:
        yield
    finally:
        for parameter, wanted in before:
            parameter.requires_grad_(wanted)
