"""Many single edits at once: each with its own update of some weights, in one forward pass.

The rows of a batch are grouped by edit, as many for each. The update of edit e is added to the
output of a linear layer in its rows, Δ_e x, which equals the layer with W + Δ_e there. So a batch
of edits trains as fast as one, and its gradients are those of the edits alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.editors.shared.examples import NO_TARGET, Padded
from errata.module_paths import as_rows

if TYPE_CHECKING:
    import torch
    from torch import nn

    from errata.generation.base_model import GenerativeModel
    from errata.module_paths import ModulePaths


@dataclass(frozen=True, slots=True, eq=False)
class TokenGradients:
    """What the gradient of a linear layer's weight consists of: Σ_t δ_t u_tᵀ, edit by edit.

    :param inputs: u, the layer's input at each token, [edits, tokens, d_in].
    :param deltas: δ, the gradient of the edit's loss at its output, [edits, tokens, d_out].
    """

    inputs: torch.Tensor
    deltas: torch.Tensor

    @property
    def used(self) -> torch.Tensor:
        """Tokens with a gradient, bool [edits, tokens]: padding, for one, has none."""
        return (self.inputs != 0).any(-1) & (self.deltas != 0).any(-1)

    def weight_gradients(self) -> torch.Tensor:
        """Return the gradients of the weight, [edits, d_out, d_in]."""
        return self.deltas.mT @ self.inputs


def feed_forward(paths: ModulePaths, layers: Sequence[int]) -> tuple[str, ...]:
    """Return the names of all matrices of the feed-forward layers of some blocks.

    :param paths: of the model.
    :param layers: from 0; negative ones count from the last.
    """
    names = [(paths.down(each), paths.up(each), paths.gate(each)) for each in layers]
    return tuple(name for block in names for name in block if name is not None)


def logits_with(
    model: GenerativeModel,
    batch: Padded,
    updates: Mapping[str, torch.Tensor],
    weights: Mapping[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return the logits of a batch with updates, float [rows, tokens, vocabulary].

    :param model: is not changed.
    :param batch: its rows grouped by edit.
    :param updates: by module, Δ, float [edits, d_out, d_in].
    :param weights: by parameter, values in place of the model's own.
    """
    from torch.func import functional_call

    inputs = {**batch.inputs, "use_cache": False}
    with _added(model, updates, len(batch.labels)):
        logits: torch.Tensor = functional_call(model, dict(weights or {}), kwargs=inputs).logits
    return logits


@contextmanager
def _added(
    model: GenerativeModel, updates: Mapping[str, torch.Tensor], rows: int
) -> Iterator[None]:
    def add(update: torch.Tensor) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            values = as_rows(args[0], rows).to(update.dtype)
            grouped = values.reshape(len(update), -1, values.shape[-1])
            return output + (grouped @ update.mT).reshape(output.shape).to(output.dtype)

        return hook

    handles = [
        model.get_submodule(name).register_forward_hook(add(update))
        for name, update in updates.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def token_gradients(
    model: GenerativeModel, batch: Padded, names: Sequence[str], edits: int
) -> dict[str, TokenGradients]:
    """Return inputs and output gradients of linear layers under the loss of each edit.

    :param model: without gradients of its own parameters.
    :param batch: the same number of rows for each edit; the loss of an edit is the sum of its
        rows' mean losses, in nats a token.
    :param names: of the modules.
    :param edits: how many.
    :return: by module, at least in float32.
    """
    import torch

    rows = len(batch.labels)
    seen: dict[str, torch.Tensor] = {}
    probes: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            seen[name] = args[0].detach()
            probes[name] = torch.zeros_like(output, requires_grad=True)
            return output + probes[name]

        return hook

    handles = [model.get_submodule(name).register_forward_hook(watch(name)) for name in names]
    try:
        losses = batch.losses(model(**batch.inputs, use_cache=False).logits)
    finally:
        for handle in handles:
            handle.remove()
    found = torch.autograd.grad(losses.sum(), [probes[name] for name in names])

    def grouped(values: torch.Tensor) -> torch.Tensor:
        values = as_rows(values, rows)
        wide = torch.promote_types(values.dtype, torch.float32)
        return values.reshape(edits, -1, values.shape[-1]).to(wide)

    return {
        name: TokenGradients(grouped(seen[name]), grouped(delta))
        for name, delta in zip(names, found, strict=True)
    }


def target_log_probs(batch: Padded, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probabilities at the positions of answers, and the row of each.

    :param batch: of examples.
    :param logits: float [rows, tokens, vocabulary].
    :return: at least float32 [positions, vocabulary], int64 [positions].
    """
    import torch

    told = batch.labels != NO_TARGET
    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits[told].to(wide).log_softmax(-1), told.nonzero()[:, 0]


def row_means(values: torch.Tensor, row: torch.Tensor, rows: int) -> torch.Tensor:
    """Return the mean of the values of each row, [rows]; 0 for a row without any.

    :param values: [positions].
    :param row: of each position, int64 [positions].
    :param rows: how many there are.
    """
    sums = values.new_zeros(rows).index_add(0, row, values)
    counts = values.new_zeros(rows).index_add(0, row, values.new_ones(len(values)))
    return sums / counts.clamp(min=1)
