"""The caller's random state, left as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def forked_rng(device: torch.device) -> Any:
    """Return a context in which random draws leave the caller's random state as it was."""
    import torch

    devices = [device] if device.type == "cuda" else []
    return torch.random.fork_rng(devices=devices)
