"""Checkpoints of a training run: safetensors with a JSON note in their metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ErrataError

if TYPE_CHECKING:
    import torch

_STATE = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "grad_avg")
"""State of a parameter in AdamW, Muon and RMSprop."""


def save(
    path: Path,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    note: dict[str, Any],
    *,
    buffers: bool = False,
) -> None:
    """Write the trained parameters, the optimizers' state and a note, atomically.

    :param path: of the file; its folder is made.
    :param note: JSON values.
    :param buffers: write those of the model, too.
    """
    import torch
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    for name, parameter, optimizer in _trained_parameters(model, optimizers):
        tensors[f"model.{name}"] = parameter
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{key}.{name}"] = torch.as_tensor(value)
    if buffers:
        tensors |= {f"buffer.{name}": value for name, value in model.named_buffers()}
    plain = {k: v.detach().to("cpu", torch.float32).contiguous() for k, v in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(plain, partial, metadata={"run": json.dumps(note)})
    os.replace(partial, path)


def read_note(path: Path) -> dict[str, Any]:
    """Return the note of a checkpoint.

    :raises ErrataError: the file is damaged, or no checkpoint.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            note: dict[str, Any] = json.loads(stored.metadata()["run"])
    except (SafetensorError, TypeError, KeyError, ValueError, OSError) as error:
        raise ErrataError(
            f"{path}: expected a checkpoint of a training run, found: {error}; restore it, or "
            "delete it to start over"
        ) from error
    return note


def load(
    path: Path,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    buffers: bool = False,
) -> None:
    """Load parameters and the optimizers' state from a checkpoint.

    :param buffers: load those of the model, too.
    """
    import torch
    from safetensors import safe_open

    with safe_open(path, framework="pt") as stored, torch.no_grad():
        keys = set(stored.keys())
        for name, parameter, optimizer in _trained_parameters(model, optimizers):
            parameter.copy_(stored.get_tensor(f"model.{name}"))
            state = {
                key: stored.get_tensor(f"{key}.{name}") for key in _STATE if f"{key}.{name}" in keys
            }
            optimizer.state[parameter] = {
                key: value if key == "step" else value.to(parameter.device)
                for key, value in state.items()
            }
        for name, buffer in model.named_buffers() if buffers else ():
            buffer.copy_(stored.get_tensor(f"buffer.{name}"))


def _trained_parameters(
    model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> Iterator[tuple[str, torch.nn.Parameter, torch.optim.Optimizer]]:
    """Yield every parameter that an optimizer updates, with its name and the optimizer."""
    owner = {
        id(parameter): optimizer
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        if id(parameter) in owner:
            yield name, parameter, owner[id(parameter)]
