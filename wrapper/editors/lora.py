"""LoRA: low-rank adapters trained on the edits, and merged: W + (alpha / r) B A.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"
(https://arxiv.org/abs/2106.09685), equation 3, by the `peft` package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.records import Edit
from errata.editing.changes import WeightChange, editable
from errata.editors.shared.config import FineTuneConfig
from errata.editors.shared.examples import Example, examples_of, padded
from errata.editors.shared.fine_tuning import FineTuneEditor, gradients, train
from errata.editors.shared.frozen_blocks import FrozenBlocks
from errata.generation.random_state import forked_rng
from errata.generation.sharing import sharing_copy
from errata.module_paths import is_conv1d, module_paths_of

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class Lora(FineTuneEditor):
    """Trains adapters of some down-projections, on all edits together.

    Parameters are those of :class:`~errata.editors.shared.fine_tuning.FineTuneEditor`.
    """

    name = "lora"

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> list[WeightChange]:
        """Return the merged adapters, one a layer.

        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        paths = module_paths_of(model, "answer", self.module_paths)
        config = self.config_for(model)
        layers = config.layers(paths)
        names = [paths.down(layer) for layer in layers]
        for name in names:
            editable(model, f"{name}.weight")
        examples = examples_of(model, tokenizer, edits)
        with gradients():
            adapted = _adapted(model, names, config)
            blocks = FrozenBlocks(adapted, [paths.block(layer) for layer in range(layers[0])])

            def losses(batch_examples: Sequence[Example]) -> torch.Tensor:
                batch = padded(model, batch_examples)
                blocks.read(tuple(batch_examples))
                return batch.losses(adapted(**batch.inputs, use_cache=False).logits)

            train([p for p in adapted.parameters() if p.requires_grad], examples, losses, config)
            return [
                WeightChange(f"{name}.weight", _delta(adapted.get_submodule(name)))
                for name in names
            ]


def _adapted(model: GenerativeModel, names: Sequence[str], config: FineTuneConfig) -> Any:
    """Return a copy of the module tree with fresh float32 adapters: A random, B zero."""
    import torch
    from peft import inject_adapter_in_model

    with forked_rng(model.device):
        torch.manual_seed(config.seed)
        adapted = inject_adapter_in_model(_lora_config(model, names, config), sharing_copy(model))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted.eval()


def _lora_config(
    model: GenerativeModel, names: Sequence[str], config: FineTuneConfig
) -> LoraConfig:
    from peft import LoraConfig

    return LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # peft accepts floats
        lora_dropout=0.0,
        target_modules=list(names),
        fan_in_fan_out=is_conv1d(model.get_submodule(names[0])),
    )


def _delta(layer: Any) -> torch.Tensor:
    """Return (alpha / r) B A as the layer's weight is laid out."""
    merged: torch.Tensor = layer.get_delta_weight("default")
    return merged.detach().contiguous()
