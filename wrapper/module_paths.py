"""Paths of the modules that editors read and write, for every supported architecture.

::

    paths = module_paths_of(model)            # or module_paths_of(model, "answer"): see Part
    paths.block(3)                            # "transformer.h.3", for model.get_submodule
    paths.down(3)                             # "transformer.h.3.mlp.c_proj": W of v = W k + b
    down = model.get_submodule(paths.down(3))
    matrix(down)                              # W as [d_out, d_in], a view, for any module class
    name, delta = paths.down_weight(3), stored(down, delta)   # in the parameter's own layout

The *key* k is the input of the down-projection, the *value* v its output. The layout of a matrix is
known from the module's class (``Conv1D`` of `transformers` keeps [d_in, d_out]); its shape may be
square. Blocks return a tensor in some families and a tuple in others: :func:`hidden_of` and
:func:`with_hidden` treat both alike. OPT's feed-forward layers see [rows × tokens, d]:
:func:`as_rows` restores the rows.

For a model that is not in the table, add a line to ``_LAYOUTS`` here, or pass a
:class:`ModulePaths` to the editor (``model.using("ft", module_paths=ModulePaths(...))``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from errata.cache.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

Part = Literal["subject", "answer"]
"""Of an encoder-decoder: the encoder, which reads the subject, or the decoder, which writes the
answer. In a decoder-only model both are its one stack."""


@dataclass(frozen=True, slots=True)
class ModulePaths:
    """Names of modules, for ``model.get_submodule``.

    :param blocks: the blocks, with ``{}`` for the layer, from 0: ``transformer.h.{}``.
    :param down_projection: the feed-forward layer's second matrix, relative to the block.
    :param up_projection: its first matrix; with a gate, the factor without the activation. Phi-3
        has gate and up in one matrix, the gate first.
    :param gate_projection: the matrix inside the activation function; None where there is none.
    :param norm: the norm after the last block.
    :param head: the output embedding; its weight may be tied to the input embedding's.
    :param layers: number of blocks.
    :param flattened: the feed-forward layers of this stack see [rows × tokens, d].
    :param post_norm: the feed-forward layer's output is normalised before it is added to the
        residual stream (Gemma-2), so the stream gets norm(v), not v.
    """

    blocks: str
    down_projection: str
    up_projection: str
    norm: str
    gate_projection: str | None = None
    head: str = "lm_head"
    layers: int = 0
    flattened: bool = False
    post_norm: bool = False

    def block(self, layer: int) -> str:
        """Return the name of a block.

        :param layer: from 0; negative counts from the last.
        :raises ModelError: there is no such layer.
        """
        if not -self.layers <= layer < self.layers:
            raise ModelError(
                f"expected a layer from 0 to {self.layers - 1}, found {layer}; "
                "choose a layer this model has"
            )
        return self.blocks.format(layer % self.layers)

    def down(self, layer: int) -> str:
        """Return the name of a block's down-projection; as :meth:`block`."""
        return f"{self.block(layer)}.{self.down_projection}"

    def down_weight(self, layer: int) -> str:
        """Return the name of the down-projection's weight, a parameter; as :meth:`block`."""
        return f"{self.down(layer)}.weight"

    def up(self, layer: int) -> str:
        """Return the name of a block's up-projection; as :meth:`block`."""
        return f"{self.block(layer)}.{self.up_projection}"

    def gate(self, layer: int) -> str | None:
        """Return the name of a block's gate projection, None without one; as :meth:`block`."""
        return self.gate_projection and f"{self.block(layer)}.{self.gate_projection}"


_GPT2 = ModulePaths("transformer.h.{}", "mlp.c_proj", "mlp.c_fc", "transformer.ln_f")
_LLAMA = ModulePaths(
    "model.layers.{}", "mlp.down_proj", "mlp.up_proj", "model.norm", "mlp.gate_proj"
)
_T5_UP = "DenseReluDense.wi"

_LAYOUTS: dict[str, ModulePaths] = {
    "gpt2": _GPT2,
    "gpt_neo": _GPT2,
    "gptj": replace(_GPT2, down_projection="mlp.fc_out", up_projection="mlp.fc_in"),
    "gpt_neox": ModulePaths(
        "gpt_neox.layers.{}",
        "mlp.dense_4h_to_h",
        "mlp.dense_h_to_4h",
        "gpt_neox.final_layer_norm",
        head="lm_head",
    ),
    "opt": ModulePaths(
        "model.decoder.layers.{}", "fc2", "fc1", "model.decoder.final_layer_norm", flattened=True
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": replace(_LLAMA, post_norm=True),
    "phi3": replace(_LLAMA, up_projection="mlp.gate_up_proj", gate_projection=None),
    "t5": ModulePaths(
        "encoder.block.{}", "layer.1.DenseReluDense.wo", f"layer.1.{_T5_UP}",
        "encoder.final_layer_norm",
    ),
    "mt5": ModulePaths(
        "encoder.block.{}", "layer.1.DenseReluDense.wo", f"layer.1.{_T5_UP}",
        "encoder.final_layer_norm",
    ),
}  # fmt: skip
"""By ``config.model_type``."""


def module_paths_of(
    model: nn.Module, part: Part = "subject", override: ModulePaths | None = None
) -> ModulePaths:
    """Return the paths of a model's modules.

    :param model: a model of `transformers`.
    :param part: which stack of an encoder-decoder.
    :param override: paths for a model that is not in the table; only checked.
    :raises ModelError: the model is not in the table, or has no such module.
    """
    kind = str(getattr(getattr(model, "config", None), "model_type", type(model).__name__))
    found = override if override is not None else _LAYOUTS.get(kind)
    if found is None:
        raise ModelError(
            f"expected a model of {', '.join(_LAYOUTS)}, found {kind!r} ({type(model).__name__}); "
            "name its modules: pass module_paths=errata.module_paths.ModulePaths("
            "blocks='model.layers.{}', down_projection='mlp.down_proj', up_projection=…, norm=…) "
            "to the editor, or add a line to _LAYOUTS in wrapper/module_paths.py"
        )
    if override is None and kind in ("t5", "mt5"):
        found = _t5(model, found, part)
    stack, _, _ = found.blocks.partition(".{}")
    found = replace(found, layers=len(list(_submodule(model, stack, kind).children())))
    for name in (found.down(0), found.up(0), found.gate(0), found.head):
        if name is not None:
            _submodule(model, name, kind)
    return found


def matrix(module: nn.Module) -> torch.Tensor:
    """Return a projection's weight as [d_out, d_in]; a view of the parameter."""
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    return weight.T if is_conv1d(module) else weight


def stored(module: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Return a matrix [d_out, d_in] in the layout of the module's weight; a view."""
    return values.T if is_conv1d(module) else values


def is_conv1d(module: nn.Module) -> bool:
    """Return whether a projection keeps its weight as [d_in, d_out] (GPT-2's ``Conv1D``)."""
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)


def hidden_of(output: Any) -> torch.Tensor:
    """Return the hidden states, [rows, tokens, d], in a block's output."""
    return output[0] if isinstance(output, tuple) else output  # type: ignore[no-any-return]


def with_hidden(output: Any, hidden: torch.Tensor) -> Any:
    """Return a block's output with other hidden states."""
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


def as_rows(values: torch.Tensor, rows: int) -> torch.Tensor:
    """Return values as [rows, tokens, d], also where the layer saw [rows × tokens, d] (OPT).

    :param values: an input or output of a feed-forward layer.
    :param rows: rows of the batch.
    """
    return values.reshape(rows, -1, values.shape[-1]) if values.dim() == 2 else values


def _t5(model: nn.Module, paths: ModulePaths, part: Part) -> ModulePaths:
    """Return the encoder's or the decoder's paths; newer T5s have a gate."""
    if part == "answer":
        paths = replace(
            paths,
            blocks="decoder.block.{}",
            down_projection="layer.2.DenseReluDense.wo",
            up_projection=f"layer.2.{_T5_UP}",
            norm="decoder.final_layer_norm",
        )
    if not getattr(model.config, "is_gated_act", False):
        return paths
    up = paths.up_projection
    return replace(paths, up_projection=f"{up}_1", gate_projection=f"{up}_0")


def _submodule(model: nn.Module, name: str, kind: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise ModelError(
            f"expected a module {name!r} in a model of type {kind!r}, found none; "
            "pass module_paths=errata.module_paths.ModulePaths(...) with the names in this model"
        ) from error
