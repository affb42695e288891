"""Fine-tuning one down-projection on the edits: the baseline that any editor has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.records import Edit
from errata.editing.base import Capabilities
from errata.editing.changes import WeightChange, editable
from errata.editors.shared.config import Tuning, check_changes, tuning_for
from errata.editors.shared.examples import Example, examples_of, padded, trainable
from errata.editors.shared.fine_tuning import gradients, train
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, module_paths_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class FineTuning:
    """Trains what is added to one layer's down-projection, on all edits together.

    What is trained is the update, in float32, and the model is run with the very weights that will
    be written: rounded to the model's dtype.

    :param sites: for a model that is not in the table of :mod:`errata.module_paths`.
    :param changes: single settings of :class:`~errata.editors.shared.config.Tuning`, such as
        ``depths=(0.5,)`` or ``epochs=20``.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    name = "ft"
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
        """Return the trained updates, one a layer.

        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: a model that is not known, or quantised.
        """
        sites = module_paths_of(model, "answer", self.sites)
        settings = self.settings_for(model)
        examples = examples_of(model, tokenizer, edits)
        with gradients():
            names = [sites.down_weight(layer) for layer in settings.layers(sites)]
            return _trained(model, examples, names, settings)


class ConstrainedFineTuning(FineTuning):
    """Fine-tuning in which no entry of the weight moves by more than a bound (FT-L).

    Zhu et al. 2020, "Modifying Memories in Transformer Models" (https://arxiv.org/abs/2012.00363):
    the L-infinity constraint, projected onto after every step, as in the FT-L baseline of ROME. The
    bound is relative to the root mean square of the weight, because absolute bounds do not carry
    over between models.
    """

    name = "ft-l"


def _trained(
    model: GenerativeModel, examples: Sequence[Example], names: Sequence[str], settings: Tuning
) -> list[WeightChange]:
    import torch
    from torch.func import functional_call

    own = sharing_copy(model)
    weights = {name: editable(own, name).detach() for name in names}
    updates = {
        name: torch.zeros_like(weight, dtype=torch.float32, requires_grad=True)
        for name, weight in weights.items()
    }
    bounds = {
        name: settings.bound and settings.bound * float(weight.float().square().mean().sqrt())
        for name, weight in weights.items()
    }

    def losses(chunk: Sequence[Example]) -> torch.Tensor:
        batch = padded(model, chunk)
        edited = {name: (weights[name] + updates[name]).to(weights[name].dtype) for name in names}
        logits = functional_call(own, edited, kwargs={**batch.inputs, "use_cache": False}).logits
        return batch.losses(logits)

    def clamp() -> None:
        for name, bound in bounds.items():
            if bound is not None:
                updates[name].data.clamp_(-bound, bound)

    train(list(updates.values()), examples, losses, settings, clamp)
    return [WeightChange(name, update.detach()) for name, update in updates.items()]
