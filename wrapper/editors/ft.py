"""Fine-tuning one down-projection on the edits: the baseline for all other editors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.records import Edit
from errata.editing.changes import WeightChange, editable
from errata.editors.shared.config import FineTuneConfig
from errata.editors.shared.examples import Example, examples_of, padded
from errata.editors.shared.fine_tuning import FineTuneEditor, gradients, train
from errata.editors.shared.frozen_blocks import FrozenBlocks
from errata.generation.sharing import sharing_copy
from errata.module_paths import module_paths_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class FineTuning(FineTuneEditor):
    """Trains an update of one layer's down-projection, on all edits together.

    The update is a float32 parameter; the forward pass runs with the sum rounded to the model's
    dtype, which is exactly what will be written.

    Parameters are those of :class:`~errata.editors.shared.fine_tuning.FineTuneEditor`.
    """

    name = "ft"

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> list[WeightChange]:
        """Return the trained updates, one a layer.

        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        paths = module_paths_of(model, "answer", self.module_paths)
        config = self.config_for(model)
        examples = examples_of(model, tokenizer, edits)
        with gradients():
            layers = config.layers(paths)
            names = [paths.down_weight(layer) for layer in layers]
            frozen = [paths.block(layer) for layer in range(layers[0])]
            return _trained(model, examples, names, frozen, config)


class ConstrainedFineTuning(FineTuning):
    """Fine-tuning with a bound on the change of each entry of the weight (FT-L).

    Zhu et al. 2020, "Modifying Memories in Transformer Models" (https://arxiv.org/abs/2012.00363):
    the L-infinity constraint, projected onto after every step, as in the FT-L baseline of ROME. The
    bound is relative to the root mean square of the weight, because absolute bounds do not carry
    over between models.
    """

    name = "ft-l"


def _trained(
    model: GenerativeModel,
    examples: Sequence[Example],
    names: Sequence[str],
    frozen: Sequence[str],
    config: FineTuneConfig,
) -> list[WeightChange]:
    import torch
    from torch.func import functional_call

    copied = sharing_copy(model)
    blocks = FrozenBlocks(copied, frozen)
    weights = {name: editable(copied, name).detach() for name in names}
    updates = {
        name: torch.zeros_like(weight, dtype=torch.float32, requires_grad=True)
        for name, weight in weights.items()
    }
    relative = config.max_relative_change
    bounds = {
        name: relative and relative * float(weight.float().square().mean().sqrt())
        for name, weight in weights.items()
    }

    def losses(batch_examples: Sequence[Example]) -> torch.Tensor:
        batch = padded(model, batch_examples)
        blocks.read(tuple(batch_examples))
        edited = {name: (weights[name] + updates[name]).to(weights[name].dtype) for name in names}
        inputs = {**batch.inputs, "use_cache": False}
        logits = functional_call(copied, edited, kwargs=inputs).logits
        return batch.losses(logits)

    def project() -> None:
        for name, bound in bounds.items():
            if bound is not None:
                updates[name].data.clamp_(-bound, bound)

    train(list(updates.values()), examples, losses, config, project)
    return [WeightChange(name, update.detach()) for name, update in updates.items()]
