"""Keys and values of a feed-forward layer at the subject, and the value a new fact needs.

Common to locate-then-edit methods (Meng et al. 2022, ROME, section 3.1): read the key and the value
at the subject's last token, and find the value for which the model says the new object.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from errata.editors.shared.prompts import Batch
from errata.module_paths import as_rows

if TYPE_CHECKING:
    import torch
    from torch import nn

    from errata.editors.shared.rome_config import RomeConfig
    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, eq=False)
class LayerStates:
    """Key and value of a layer at one token of each row, and the logits.

    :param keys: input of the down-projection, [rows, d_mlp], in the model's dtype.
    :param values: its output, [rows, d], in the model's dtype.
    :param logits: [rows, tokens, vocabulary].
    """

    keys: torch.Tensor
    values: torch.Tensor
    logits: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class ValueSearch:
    """The outcome of a value's optimisation: the best of the vectors evaluated.

    :param delta: vector added to the value, float32 [d].
    :param nll: of the target with it, mean over prompts and tokens, in nats.
    :param steps: evaluations of the loss.
    """

    delta: torch.Tensor
    nll: float
    steps: int


def read(model: GenerativeModel, down: nn.Module, batch: Batch) -> LayerStates:
    """Return keys and values of a layer at the subjects of a batch.

    :param model: the model.
    :param down: the layer's down-projection.
    :param batch: prompts.
    """
    import torch

    seen: dict[str, torch.Tensor] = {}
    rows = torch.arange(len(batch.positions), device=batch.positions.device)

    def keep(_: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        seen["keys"] = as_rows(inputs[0], len(rows))[rows, batch.positions]
        seen["values"] = as_rows(output, len(rows))[rows, batch.positions]

    handle = down.register_forward_hook(keep)
    try:
        with torch.no_grad():
            logits = model(**batch.inputs, use_cache=False).logits
    finally:
        handle.remove()
    return LayerStates(seen["keys"], seen["values"], logits)


def find_delta(
    model: GenerativeModel,
    down: nn.Module,
    batch: Batch,
    before: LayerStates,
    config: RomeConfig,
) -> ValueSearch:
    """Return the vector to add to the value at the subject so that the targets follow.

    Minimises (ROME, equation 4, in the form of its code)
    ``mean NLL(targets) + kl_factor · KL(p_δ ‖ p_0) + weight_decay · ‖δ‖ / ‖v₀‖²`` by Adam, ‖δ‖
    projected onto ``clamp_norm_factor · ‖v₀‖`` after each step. δ is added in every row; the
    divergence is read in the last one, at the subject. The δ of the smallest loss is returned,
    which is not always the last.

    :param model: the model; its parameters are not changed and get no gradients. Gradients are on
        (:func:`errata.editors.shared.fine_tuning.gradients`).
    :param down: the layer's down-projection.
    :param batch: prompts with targets; the first is the plain prompt, the last one the essence
        prompt, which has no target.
    :param before: the same batch, read before.
    :param config: weights of the terms, steps and learning rate.
    """
    import torch

    norm = before.values[0].float().norm()
    position = 0 if model.config.is_encoder_decoder else int(batch.positions[-1])
    essence = before.logits[-1, position].float().log_softmax(-1)
    delta = torch.zeros_like(before.values[0], dtype=torch.float32, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=config.learning_rate)
    best, smallest, step = ValueSearch(delta.detach(), math.inf, 0), math.inf, 0
    with _adding(down, batch, delta):
        for step in range(1, config.steps + 1):
            logits = model(**batch.inputs, use_cache=False).logits
            nll = batch.nll(logits)[:-1].mean()
            now = logits[-1, position].float().log_softmax(-1)
            divergence = (now.exp() * (now - essence)).sum()
            loss = (
                nll + config.kl_factor * divergence + config.weight_decay * _norm(delta) / norm**2
            )
            reached = float(loss.detach())
            if reached < smallest:
                best = ValueSearch(delta.detach().clone(), float(nll.detach()), step)
                smallest = reached
            if step == config.steps or reached < config.target_loss:
                break
            (delta.grad,) = torch.autograd.grad(loss, [delta])
            optimizer.step()
            with torch.no_grad():
                bound = config.clamp_norm_factor * norm
                delta.mul_((bound / delta.norm().clamp(min=1e-12)).clamp(max=1.0))
    return replace(best, steps=step)


def _norm(delta: torch.Tensor) -> torch.Tensor:
    # The norm has no gradient at 0, where the search starts.
    return (delta.square().sum() + 1e-12).sqrt()


@contextmanager
def _adding(down: nn.Module, batch: Batch, delta: torch.Tensor) -> Iterator[None]:
    """Add a vector to a layer's output at the subject of each row."""
    import torch

    rows = torch.arange(len(batch.positions), device=batch.positions.device)

    def add(_: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        added = as_rows(output, len(rows)).clone()
        added[rows, batch.positions] += delta.to(output.dtype)
        return added.reshape(output.shape)

    handle = down.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
