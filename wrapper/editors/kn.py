"""Knowledge neurons: a fact's neurons located by integrated gradients, and their values rewritten.

Dai et al. 2022, "Knowledge Neurons in Pretrained Transformers" (https://arxiv.org/abs/2104.08696).
Kept for comparison: the method locates, and hardly edits (Meng et al. 2022, ROME, table 4: a score
of 35.6 on GPT-2 XL, where the unedited model has 30.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ModelError, UnsupportedEdit
from errata.cache.records import Edit, Fact
from errata.cache.text.subject import subject_of
from errata.editing.base import Capabilities
from errata.editing.changes import Change, HookChange, WeightChange, editable
from errata.editors.shared.attribution import (
    Neuron,
    attributions,
    common_neurons,
    scaled_values,
)
from errata.editors.shared.examples import Example, examples_of, prompt_ids, target_ids, trainable
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.neuron_config import (
    KnowledgeNeuronsConfig,
    checked_options,
    config_for,
)
from errata.editors.shared.prompts import end_ids, forms_of
from errata.generation.free_generation import AnswerGenerator
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, matrix, module_paths_of, stored

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class KnowledgeNeurons:
    """Locates the neurons of what the model answers now, and rewrites their values.

    The prompts are the fact's question, its ``fires`` and the statement made from it. Attributed is
    the model's own answer, token by token, teacher-forced; the paper does so for one token. Facts
    are edited one after another, each on the weights with the earlier ones applied.

    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    :param options: single settings of
        :class:`~errata.editors.shared.neuron_config.KnowledgeNeuronsConfig`.
    :ivar located: of the facts planned so far, by id: their neurons.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    name = "kn"
    capabilities = Capabilities()

    def __init__(self, *, module_paths: ModulePaths | None = None, **options: Any) -> None:
        self._options = checked_options(KnowledgeNeuronsConfig, self.name, options)
        self.module_paths = module_paths
        self.located: dict[str, list[Neuron]] = {}

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit is a question with an answer."""
        return trainable(edit)

    def config_for(self, model: GenerativeModel) -> KnowledgeNeuronsConfig:
        """Return the settings that will be used on a model."""
        return config_for(KnowledgeNeuronsConfig, self.name, model, self._options)

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> list[Change]:
        """Return the changes: of weights, or of activations to suppress or enhance.

        :raises UnsupportedEdit: an edit is no fact, or one to be forgotten, or no neuron was found.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        from torch import nn

        paths = module_paths_of(model, "answer", self.module_paths)
        for layer in range(paths.layers):
            editable(model, paths.down_weight(layer))
        config = self.config_for(model)
        examples_of(model, tokenizer, edits)  # refuses what is no fact
        facts = [edit for edit in edits if isinstance(edit, Fact)]
        copied = sharing_copy(model)
        planned: list[Change] = []
        with gradients():
            for fact in facts:
                own = _own_answer(copied, tokenizer, fact, config)
                neurons = self._neurons(copied, tokenizer, paths, fact, own, config)
                if config.operation in ("suppress", "enhance"):
                    factor = 0.0 if config.operation == "suppress" else config.enhance_factor
                    planned += _scaled_activations(paths, neurons, factor)
                    continue
                changes = (
                    scaled_values(copied, paths, neurons, 0.0)
                    if config.operation == "erase"
                    else _rewritten(copied, tokenizer, paths, neurons, fact, own, config)
                )
                for change in changes:
                    down: nn.Module = copied.get_submodule(change.name.rpartition(".")[0])
                    edited = copied.get_parameter(change.name).detach() + change.delta
                    down.weight = nn.Parameter(edited, requires_grad=False)
                planned += changes
        return _together(planned)

    def _neurons(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        paths: ModulePaths,
        fact: Fact,
        own: Sequence[int],
        config: KnowledgeNeuronsConfig,
    ) -> list[Neuron]:
        scores = [
            attributions(model, paths, Example(prompt, tuple(own)), steps=config.steps).mean(0)
            for prompt in _prompts(tokenizer, fact)
        ]
        found = common_neurons(
            scores, threshold=config.threshold, share=config.share, limit=config.neurons
        )
        if not found:
            raise UnsupportedEdit(
                f"{fact.id}: expected neurons that {len(scores)} prompts have in common, found "
                "none; try a smaller threshold or share",
                fact.id,
            )
        self.located[fact.id] = found
        return found


def _prompts(tokenizer: PreTrainedTokenizerBase, fact: Fact) -> list[tuple[int, ...]]:
    """Return the ids of the question, of what it fires on, and of the statement made from it."""
    texts = list(fact.examples)
    try:
        texts += forms_of(fact.question, subject_of(fact))[1:]
    except UnsupportedEdit:  # the statement is found by the subject, of which there is none
        pass
    return [prompt_ids(tokenizer, text) for text in texts]


def _own_answer(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    fact: Fact,
    config: KnowledgeNeuronsConfig,
) -> tuple[int, ...]:
    """Return the ids of what the model answers now, at least one."""
    (answer,) = AnswerGenerator(model, tokenizer, config.answer_tokens, 1).answer([fact.question])
    ids = answer.ids or end_ids(model)
    if not ids:
        raise UnsupportedEdit(
            f"{fact.id}: expected an answer of the model to rewrite, found none", fact.id
        )
    return ids


def _rewritten(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    paths: ModulePaths,
    neurons: Sequence[Neuron],
    fact: Fact,
    own: Sequence[int],
    config: KnowledgeNeuronsConfig,
) -> list[WeightChange]:
    """Return the update W[:, i] += λ₂ e(new) − λ₁ e(old) of each neuron, one change a layer.

    e is the output embedding of the first token in which the two answers differ: a value column is
    added wherever its neuron is active, so it cannot spell more than one token.
    """
    import torch

    new = (*target_ids(model, tokenizer, fact.question, fact.answer), *end_ids(model))
    old = (*own, *end_ids(model))
    pair = next(((a, b) for a, b in zip(old, new, strict=False) if a != b), (old[0], new[0]))
    embeddings = matrix(model.get_submodule(paths.head)).detach()
    update = config.insert_factor * embeddings[pair[1]] - config.erase_factor * embeddings[pair[0]]
    changes = []
    for layer in sorted({neuron.layer for neuron in neurons}):
        down = model.get_submodule(paths.down(layer))
        delta = torch.zeros_like(matrix(down))
        if len(update) != len(delta):
            raise ModelError(
                f"expected output embeddings as wide as the layers ({len(delta)}), found "
                f"{len(update)}: this model projects them; use another editor"
            )
        for neuron in neurons:
            if neuron.layer == layer:
                delta[:, neuron.unit] = update
        changes.append(WeightChange(paths.down_weight(layer), stored(down, delta).contiguous()))
    return changes


def _scaled_activations(
    paths: ModulePaths, neurons: Sequence[Neuron], factor: float
) -> list[HookChange]:
    """Return hooks that multiply the activations of neurons at every position."""

    def hook(indices: Sequence[int]) -> Any:
        def scale(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
            keys: torch.Tensor = args[0]
            values = matrix(module)[:, list(indices)]
            return output + (factor - 1) * (keys[..., list(indices)] @ values.T)

        return scale

    by_layer: dict[int, list[int]] = {}
    for neuron in neurons:
        by_layer.setdefault(neuron.layer, []).append(neuron.unit)
    return [HookChange(paths.down(layer), hook(rows)) for layer, rows in sorted(by_layer.items())]


def _together(changes: Sequence[Change]) -> list[Change]:
    """Return the changes with those of one weight added up."""
    sums: dict[str, Change] = {}
    others: list[Change] = []
    for change in changes:
        if not isinstance(change, WeightChange):
            others.append(change)
            continue
        before = sums.get(change.name)
        delta = change.delta
        if isinstance(before, WeightChange):
            delta = before.delta + delta
        sums[change.name] = WeightChange(change.name, delta)
    return [*sums.values(), *others]
