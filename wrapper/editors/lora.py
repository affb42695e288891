"""LoRA: low-rank adapters trained on the edits, and merged: W + (alpha / r) B A.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"
(https://arxiv.org/abs/2106.09685), equation 3, by the `peft` package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.records import Edit
from errata.editing.base import Capabilities
from errata.editing.changes import WeightChange, editable
from errata.editors.shared.config import check_changes, tuning_for
from errata.editors.shared.examples import Example, examples_of, padded, trainable
from errata.editors.shared.fine_tuning import gradients, train
from errata.generation.random_state import forked_rng
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, is_conv1d, module_paths_of

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from transformers import PreTrainedTokenizerBase

    from errata.editors.shared.config import Tuning
    from errata.generation.base_model import GenerativeModel


class Lora:
    """Trains adapters beside some down-projections, on all edits together.

    :param sites: for a model that is not in the table of :mod:`errata.module_paths`.
    :param changes: single settings of :class:`~errata.editors.shared.config.Tuning`, such as
        ``rank=4``.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    name = "lora"
    capabilities = Capabilities(together=True)

    def __init__(self, *, sites: ModulePaths | None = None, **changes: Any) -> None:
        check_changes(self.name, changes)
        self.sites, self._changes = sites, changes

    def supports(self, edit: Edit) -> bool:
        """Tell whether an edit is a question with an answer to be learned."""
        return trainable(edit)

    def settings_for(self, model: GenerativeModel) -> Tuning:
        """Return the settings that will be used on a model."""
        return tuning_for(self.name, model, self._changes)

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> list[WeightChange]:
        """Return the merged adapters, one a layer.

        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: a model that is not known, or quantised.
        """
        sites = module_paths_of(model, "answer", self.sites)
        settings = self.settings_for(model)
        names = [sites.down(layer) for layer in settings.layers(sites)]
        for name in names:
            editable(model, f"{name}.weight")
        examples = examples_of(model, tokenizer, edits)
        with gradients():
            adapted = _adapted(model, names, settings)

            def losses(chunk: Sequence[Example]) -> torch.Tensor:
                batch = padded(model, chunk)
                return batch.losses(adapted(**batch.inputs, use_cache=False).logits)

            train([p for p in adapted.parameters() if p.requires_grad], examples, losses, settings)
            return [
                WeightChange(f"{name}.weight", _delta(adapted.get_submodule(name)))
                for name in names
            ]


def _adapted(model: GenerativeModel, names: Sequence[str], settings: Tuning) -> Any:
    """Return a model tree of its own with fresh float32 adapters: A drawn from the seed, B 0."""
    import torch
    from peft import inject_adapter_in_model

    with forked_rng(model.device):
        torch.manual_seed(settings.seed)
        adapted = inject_adapter_in_model(_config(model, names, settings), sharing_copy(model))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted.eval()


def _config(model: GenerativeModel, names: Sequence[str], settings: Tuning) -> LoraConfig:
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # any number does
        lora_dropout=0.0,
        target_modules=list(names),
        fan_in_fan_out=is_conv1d(model.get_submodule(names[0])),
    )


def _delta(layer: Any) -> torch.Tensor:
    """Return (alpha / r) B A as the layer's weight is laid out."""
    merged: torch.Tensor = layer.get_delta_weight("default")
    return merged.detach().contiguous()
