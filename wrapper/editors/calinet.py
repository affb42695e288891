"""CaliNET: slots beside the last feed-forward layers, trained on the right facts.

Dong et al. 2022, "Calibrating Factual Knowledge in Pretrained Language Models"
(https://arxiv.org/abs/2210.03329). The model stays frozen; a small feed-forward layer of the same
form is added to the output of one of its own. Nothing routes: the slots are active on every text,
and only the training data keep them to the facts. Which facts need it is found by ``errata assess``
(:mod:`errata.editors.assess`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ModelError, UnsupportedEdit
from errata.cache.records import Edit, Fact
from errata.cache.text.subject import subject_of
from errata.editing.base import Capabilities
from errata.editing.changes import Change, applied
from errata.editors.shared.config import FineTuneConfig
from errata.editors.shared.examples import (
    Example,
    examples_of,
    padded,
    prompt_ids,
    target_ids,
)
from errata.editors.shared.fine_tuning import gradients, train
from errata.editors.shared.prompts import end_ids, forms_of
from errata.editors.shared.side_memory import Memory, MemoryChange, SideEditor, check_plain
from errata.generation.random_state import forked_rng
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, matrix

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class CaliNetConfig:
    """Hyperparameters of CaliNET; see Dong et al. 2022, section 3.

    :param layers: the layers beside which slots are put; negative ones count from the last.
    :param slots_per_fact: slots of a layer, times the facts; the paper takes 64 for 100.
    :param min_slots: slots of a layer, at least.
    :param max_slots: at most; None: the width of the model.
    :param epochs: maximum number of passes over all statements of the facts.
    :param batch_size: statements in one step.
    :param learning_rate: of Adam; the published rate, of Adafactor.
    :param target_loss: mean loss of a statement, in nats a token, at which training ends.
    :param seed: of the keys, and of the order of the statements.
    """

    layers: tuple[int, ...] = (-1,)
    slots_per_fact: float = 0.64
    min_slots: int = 16
    max_slots: int | None = None
    epochs: int = 100
    batch_size: int = 16
    learning_rate: float = 0.01
    target_loss: float = 0.05
    seed: int = 0

    def slots_for(self, facts: int, width: int) -> int:
        """Return the number of slots of a layer.

        :param facts: number of facts.
        :param width: of the model.
        """
        wanted = max(self.min_slots, round(self.slots_per_fact * facts))
        return min(wanted, width if self.max_slots is None else self.max_slots)


class Slots(Memory):
    """A feed-forward layer to be added: act(h Kᵀ) V, or with a gate (act(h K₀ᵀ) ⊙ h Kᵀ) V.

    :param keys: K, float32 [slots, d].
    :param values: V, float32 [slots, d].
    :param gates: K₀, float32 [slots, d]; None without a gate.
    :param activation: its name in `transformers`.
    """

    def __init__(
        self,
        keys: torch.Tensor,
        values: torch.Tensor,
        gates: torch.Tensor | None,
        activation: str,
    ) -> None:
        from transformers.activations import ACT2FN

        self.keys, self.values, self.gates, self.activation = keys, values, gates, activation
        self._act = ACT2FN[activation]

    def __call__(self, query: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return the output with what the slots add."""
        hidden = query.float()
        found = hidden @ self.keys.to(hidden.device).T
        if self.gates is None:
            found = self._act(found)
        else:
            found = self._act(hidden @ self.gates.to(hidden.device).T) * found
        added: torch.Tensor = (found @ self.values.to(hidden.device)).to(output.dtype)
        return output + added

    def joined(self, later: Slots) -> Slots:
        """Return the slots of both."""
        import torch

        others = later.tensors()
        both = {name: torch.cat([part, others[name]]) for name, part in self.tensors().items()}
        return Slots.of(both, self.notes())

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return keys and values, and the gates' keys."""
        found = {"keys": self.keys, "values": self.values}
        return found if self.gates is None else {**found, "gates": self.gates}

    def notes(self) -> dict[str, Any]:
        """Return the name of the activation function."""
        return {"activation": self.activation}

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], notes: Mapping[str, Any]) -> Slots:
        """Return the slots of these tensors and notes."""
        return cls(tensors["keys"], tensors["values"], tensors.get("gates"), notes["activation"])


class CaliNet(SideEditor[CaliNetConfig]):
    """Trains slots on all facts together, by their questions, their `fires` and a statement.

    No fact has slots of its own: adding or removing one trains all of them again. Parameters are
    those of :class:`~errata.editors.shared.side_memory.SideEditor`, and the options of
    :class:`CaliNetConfig`.
    """

    name = "calinet"
    config_class = CaliNetConfig
    memory_class = Slots
    capabilities = Capabilities(together=True)

    def plan_after(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
        earlier: Sequence[Change],
    ) -> list[MemoryChange]:
        """Return the trained slots, one change a layer.

        :param earlier: changes that are in the model already; only through what it answers.
        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        import torch

        paths, config = self._paths(model), self.config_for(model)
        layers = sorted({layer % paths.layers for layer in config.layers})
        for layer in layers:
            check_plain(model, paths.down(layer), paths.up(layer))
        examples = _statements(model, tokenizer, edits)
        copied = sharing_copy(model)
        with gradients(), forked_rng(model.device):
            torch.manual_seed(config.seed)
            memories = [new_slots(copied, paths, layer, len(edits), config) for layer in layers]
            changes = [
                MemoryChange(paths.down(layer), memory, paths.up(layer))
                for layer, memory in zip(layers, memories, strict=True)
            ]
            parameters = [t.requires_grad_() for m in memories for t in m.tensors().values()]

            def losses(some: Sequence[Example]) -> torch.Tensor:
                batch = padded(copied, some)
                with applied(copied, changes):
                    return batch.losses(copied(**batch.inputs, use_cache=False).logits)

            train(parameters, examples, losses, _training(config))
        for parameter in parameters:
            parameter.requires_grad_(False)
        return changes


def new_slots(
    model: GenerativeModel, paths: ModulePaths, layer: int, facts: int, config: CaliNetConfig
) -> Slots:
    """Return slots whose values are 0, so that they change nothing yet.

    :param model: gives the width, the activation function, and whether there is a gate.
    :param paths: of its modules.
    :param layer: beside which they are put.
    :param facts: number of facts.
    :param config: number of slots.
    """
    import torch

    up, down = (matrix(model.get_submodule(name)) for name in (paths.up(layer), paths.down(layer)))
    width, out = up.shape[1], down.shape[0]
    slots = config.slots_for(facts, width)
    both_in_one = up.shape[0] == 2 * down.shape[1]  # Phi-3 has gate and up in one matrix
    gated = both_in_one or paths.gate(layer) is not None

    def keys() -> torch.Tensor:
        drawn: torch.Tensor = torch.randn(slots, width) / width**0.5
        return drawn.to(model.device)

    values = torch.zeros(slots, out, device=model.device)
    return Slots(keys(), values, keys() if gated else None, _activation(model))


def _activation(model: GenerativeModel) -> str:
    """Return the name of the activation function of a model's feed-forward layers.

    :raises ModelError: its configuration does not say.
    """
    names = ("hidden_activation", "hidden_act", "activation_function", "dense_act_fn")
    for name in names:
        found = getattr(model.config, name, None)
        if isinstance(found, str):
            return found
    raise ModelError(
        f"expected the activation function of {model.config.model_type!r} in its configuration "
        f"({', '.join(names)}), found none; use another editor"
    )


def _statements(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, edits: Sequence[Edit]
) -> list[Example]:
    """Return each fact's question, its `fires`, and the statement made of the question.

    :raises UnsupportedEdit: an edit is no fact, or one to be forgotten.
    """
    examples = examples_of(model, tokenizer, edits)  # refuses what is no fact
    ends = end_ids(model)
    for fact in edits:
        if not isinstance(fact, Fact):
            continue
        others = list(fact.examples[1:])
        try:
            others += forms_of(fact.question, subject_of(fact))[1:]
        except UnsupportedEdit:  # the statement is found by the subject, of which there is none
            pass
        for text in others:
            target = (*target_ids(model, tokenizer, text, fact.answer), *ends)
            examples.append(Example(prompt_ids(tokenizer, text), target))
    return examples


def _training(config: CaliNetConfig) -> FineTuneConfig:
    return FineTuneConfig(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        target_loss=config.target_loss,
        seed=config.seed,
    )
