"""Random draws that leave the caller's random state unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def forked_rng(device: torch.device) -> Any:
    """Return a context whose random draws leave the caller's random state unchanged."""
    import torch

    devices = [device] if device.type == "cuda" else []
    return torch.random.fork_rng(devices=devices)
