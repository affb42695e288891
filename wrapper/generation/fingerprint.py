"""Digests that identify a base model, cheap enough to compute on every load."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

_SAMPLES = 64


def fingerprint(model: nn.Module) -> str:
    """Return a digest of a model's parameters: names, shapes, and a sample of each one's values.

    Values are rounded to bfloat16 first, so that a model loaded in half precision is the same;
    those on the meta device (offloaded to disk) are left out.

    :return: SHA-256, as hex digits.
    """
    return _digest((name, p, not p.is_meta) for name, p in sorted(model.named_parameters()))


def base_fingerprint(model: nn.Module) -> str:
    """Return a digest that stays the same while edits are in the weights.

    Covers the names and shapes of all parameters, and sampled values of those that no editor
    changes: the input embeddings and all one-dimensional parameters (norms, biases). Values are
    rounded to bfloat16, as in :func:`fingerprint`; those on the meta device are left out.

    :return: SHA-256, as hex digits.
    """
    embeddings = _input_embeddings(model)
    return _digest(
        (name, p, not p.is_meta and (p.dim() == 1 or p is embeddings))
        for name, p in sorted(model.named_parameters())
    )


def _input_embeddings(model: Any) -> nn.Parameter | None:
    try:
        weight: nn.Parameter | None = getattr(model.get_input_embeddings(), "weight", None)
    except (AttributeError, NotImplementedError):  # transformers raises it for unusual models
        return None
    return weight


def _digest(parameters: Iterable[tuple[str, torch.Tensor, bool]]) -> str:
    """Return the digest of names and shapes, and of sampled values where the flag is set."""
    import torch

    digest = hashlib.sha256()
    for name, parameter, sampled in parameters:
        digest.update(f"{name} {tuple(parameter.shape)} ".encode())
        if sampled:
            values = parameter.detach().reshape(-1)
            step = max(1, values.numel() // _SAMPLES)
            sample = values[::step][:_SAMPLES].to("cpu", torch.float32).to(torch.bfloat16)
            digest.update(sample.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()
