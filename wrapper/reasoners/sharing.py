"""A module tree of its own that shares another model's tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import nn

M = TypeVar("M", bound="nn.Module")


def sharing_copy(model: M) -> M:
    """Return a copy whose parameters and buffers are the model's own, and whose modules are not.

    Hooks, adapters and replaced modules of the copy leave the model as it was, so that one can
    answer while the other does, also at the same time in several threads.
    """
    memo: dict[int, Any] = {id(p): p for p in model.parameters()}
    memo |= {id(b): b for b in model.buffers()}
    return copy.deepcopy(model, memo)


@contextmanager
def gradients_as_they_were(model: nn.Module) -> Iterator[None]:
    """Put ``requires_grad`` of every parameter back on leaving (peft freezes what it adapts)."""
    before = [(p, p.requires_grad) for p in model.parameters()]
    try:
        yield
    finally:
        for parameter, wanted in before:
            parameter.requires_grad_(wanted)
