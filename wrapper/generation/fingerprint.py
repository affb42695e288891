"""A fast fingerprint of a model's parameters."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_SAMPLES = 64


def fingerprint(model: nn.Module) -> str:
    """Return a digest of a model's parameters: names, shapes, and a sample of each one's values.

    Values are rounded to bfloat16, so that loading in half precision keeps the fingerprint.

    :return: SHA-256, as hex digits.
    """
    import torch

    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        values = parameter.detach().reshape(-1)
        step = max(1, values.numel() // _SAMPLES)
        sample = values[::step][:_SAMPLES].to("cpu", torch.float32).to(torch.bfloat16)
        digest.update(f"{name} {tuple(parameter.shape)} ".encode())
        digest.update(sample.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()
