"""A digest of a model's state, to check that edits are undone bit for bit."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def model_digest(model: nn.Module) -> str:
    """Return a digest of every bit of a model's parameters and buffers.

    Names, shapes, numbers of hooks, types of modules and flags are included.

    :return: SHA-256, as hex digits.
    """
    digest = hashlib.sha256(weights_digest(model).encode())
    for name, module in model.named_modules():
        hooks = len(module._forward_hooks), len(module._forward_pre_hooks)
        digest.update(f"{name} {type(module).__qualname__} {hooks} {module.training}\n".encode())
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {parameter.requires_grad}\n".encode())
    return digest.hexdigest()


def weights_digest(model: nn.Module) -> str:
    """Return a digest of every bit of a model's parameters and buffers, whatever is beside them.

    :return: SHA-256, as hex digits.
    """
    import torch

    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        data = value.detach().to("cpu").contiguous().reshape(-1)
        digest.update(memoryview(data.view(torch.uint8).numpy()))
    return digest.hexdigest()
