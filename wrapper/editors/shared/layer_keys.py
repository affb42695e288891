"""Keys of a model's feed-forward layers at every token of some text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from errata.module_paths import ModulePaths

if TYPE_CHECKING:
    import torch

    from errata.generation.base_model import GenerativeModel

TOKENS_PER_BATCH = 4096


def layer_keys(
    model: GenerativeModel, rows: Sequence[Sequence[int]], layers: Sequence[int], paths: ModulePaths
) -> dict[int, torch.Tensor]:
    """Return the keys of some layers at every token of some rows.

    :param model: the model; of an encoder-decoder, its encoder reads the rows.
    :param rows: ids.
    :param layers: from 0.
    :param paths: of its modules.
    :return: float64 [tokens in all, d_mlp] of each layer, on the CPU, in the order of the rows.
    """
    import torch

    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.zeros(mask.shape, dtype=torch.long)
    ids[mask] = torch.tensor([token for row in rows for token in row])
    found: dict[int, torch.Tensor] = {}
    last = max(layer % paths.layers for layer in layers)

    def keep(layer: int, inputs: tuple[Any, ...]) -> None:
        keys = inputs[0].detach().reshape(len(rows), -1, inputs[0].shape[-1])
        found[layer] = keys.cpu().double()[mask]
        if layer % paths.layers == last:
            raise StopForward

    with _hooked(model, paths, layers, keep), torch.no_grad():
        stack = model.get_encoder() if model.config.is_encoder_decoder else model
        try:
            stack(input_ids=ids.to(model.device), attention_mask=mask.long().to(model.device))
        except StopForward:
            pass
    return found


class StopForward(Exception):
    """Ends the forward pass after the last layer that is needed."""


@contextmanager
def _hooked(
    model: GenerativeModel, paths: ModulePaths, layers: Sequence[int], keep: Any
) -> Iterator[None]:
    handles = []
    try:
        for layer in layers:
            down = model.get_submodule(paths.down(layer))
            handles.append(
                down.register_forward_pre_hook(lambda _, inputs, layer=layer: keep(layer, inputs))
            )
        yield
    finally:
        for handle in handles:
            handle.remove()


def batches_of(rows: Sequence[Sequence[int]]) -> list[list[Sequence[int]]]:
    """Return the rows in order, in batches of at most TOKENS_PER_BATCH tokens with padding."""
    batches: list[list[Sequence[int]]] = []
    width = 0
    for row in rows:
        if not row:
            continue
        wider = max(width, len(row))
        if batches and wider * (len(batches[-1]) + 1) <= TOKENS_PER_BATCH:
            batches[-1].append(row)
            width = wider
        else:
            batches.append([row])
            width = len(row)
    return batches
