"""A module tree of one's own over the same tensors: to train on without touching the base."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import nn

M = TypeVar("M", bound="nn.Module")


def sharing_copy(model: M) -> M:
    """Return a copy of a model whose parameters and buffers share the model's memory.

    The copy has modules, hooks, and parameter objects of its own: what is swapped, hooked, or has
    its ``requires_grad`` set there is not in the model. Its parameters need no gradient, and it is
    in evaluation mode. Writing into one of its tensors in place writes into the model's: replace
    tensors, do not change them.

    :param model: any module; tied parameters stay tied in the copy.
    """
    from torch import nn

    memo: dict[int, object] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=False)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer
    return copy.deepcopy(model, memo).eval()


@contextmanager
def gradients_as_they_were(model: nn.Module) -> Iterator[None]:
    """Put ``requires_grad`` of every parameter back on leaving (peft freezes what it adapts)."""
    before = [(p, p.requires_grad) for p in model.parameters()]
    try:
        yield
    finally:
        for parameter, wanted in before:
            parameter.requires_grad_(wanted)
