"""DEPN: the neurons of texts to be forgotten, located by integrated gradients, and silenced.

Wu et al. 2023, "DEPN: Detecting and Editing Privacy Neurons in Pretrained Language Models"
(https://arxiv.org/abs/2310.20138). It makes a text less likely; it inserts nothing, and guards
nothing: only the cache's filter keeps a secret out of every answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import UnsupportedEdit
from errata.cache.filters.guard import SecretGuard
from errata.cache.records import Edit, Fact
from errata.editing.base import Capabilities
from errata.editing.changes import WeightChange, editable
from errata.editors.shared.attribution import (
    Neuron,
    attributions,
    common_neurons,
    random_neurons,
    scaled_values,
)
from errata.editors.shared.examples import Example, prompt_ids, target_ids
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.neuron_config import DepnConfig, checked_options, config_for
from errata.generation.free_generation import AnswerGenerator
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, module_paths_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class Depn:
    """Silences the neurons that the secrets of ``forget`` patches have in common.

    A text is a question, or one of its ``fires``, with the secret as its continuation. Where the
    patch has only the hash of its secret, the secret is the model's own answer, if the hash is that
    of a part of it.

    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    :param options: single settings of
        :class:`~errata.editors.shared.neuron_config.DepnConfig`, such as ``neurons=50``.
    :ivar located: the neurons silenced by the last plan.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    name = "depn"
    capabilities = Capabilities(together=True)

    def __init__(self, *, module_paths: ModulePaths | None = None, **options: Any) -> None:
        self._options = checked_options(DepnConfig, self.name, options)
        self.module_paths = module_paths
        self.located: list[Neuron] = []

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit is a question to be forgotten, with its secret or a hash of it."""
        return isinstance(edit, Fact) and edit.forget and bool(edit.secret or edit.secret_hash)

    def config_for(self, model: GenerativeModel) -> DepnConfig:
        """Return the settings that will be used on a model."""
        return config_for(DepnConfig, self.name, model, self._options)

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> list[WeightChange]:
        """Return the changes that silence the neurons, one a layer; none for no neurons.

        :raises UnsupportedEdit: an edit has no secret, or only its hash and the model does not say
            it.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        paths, config = self._paths(model), self.config_for(model)
        self.located = selected(self.scores(model, tokenizer, edits), config)
        return scaled_values(model, paths, self.located, 0.0)

    def scores(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> list[torch.Tensor]:
        """Return the attribution of each text's secret, summed over tokens, [layers, d_mlp] each.

        :raises UnsupportedEdit: as :meth:`plan`.
        """
        paths, config = self._paths(model), self.config_for(model)
        copied = sharing_copy(model)
        texts = [text for edit in edits for text in _texts(copied, tokenizer, edit, config)]
        with gradients():
            return [attributions(copied, paths, text, steps=config.steps).sum(0) for text in texts]

    def _paths(self, model: GenerativeModel) -> ModulePaths:
        """Return the paths of the stack that writes the answer; its weights can be edited."""
        paths = module_paths_of(model, "answer", self.module_paths)
        for layer in range(paths.layers):
            editable(model, paths.down_weight(layer))
        return paths


def selected(scores: Sequence[torch.Tensor], config: DepnConfig) -> list[Neuron]:
    """Return the neurons to silence.

    :param scores: of each text, as :meth:`Depn.scores` gives them.
    :param config: how many, and whether the located ones or the control.
    """
    found = common_neurons(
        scores, threshold=config.threshold, share=config.share, limit=config.neurons
    )
    if config.selection == "random":
        return random_neurons(found, scores[0].shape[1], config.seed)
    return found


def _texts(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, edit: Edit, config: DepnConfig
) -> list[Example]:
    """Return an edit's question and ``fires``, each with the secret as its target.

    :raises UnsupportedEdit: as :meth:`Depn.plan`.
    """
    if not isinstance(edit, Fact) or not edit.forget:
        raise UnsupportedEdit(
            f"edit {edit.id}: expected a question to be forgotten, found a {edit.kind} patch with "
            "an answer; DEPN removes and inserts nothing, use another editor",
            edit.id,
        )
    secret = secret_of(model, tokenizer, edit, config.answer_tokens)
    return [
        Example(prompt_ids(tokenizer, question), target_ids(model, tokenizer, question, secret))
        for question in edit.examples
    ]


def secret_of(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, fact: Fact, tokens: int
) -> str:
    """Return the secret of a fact to be forgotten, asking the model where there is only a hash.

    :param model: the model.
    :param tokenizer: its tokenizer.
    :param fact: with ``secret`` or ``secret_hash``.
    :param tokens: most tokens of the model's answer.
    :raises UnsupportedEdit: there is neither, or the model does not say it.
    """
    if fact.secret:
        return fact.secret
    questions = list(fact.examples) if fact.secret_hash else []
    for answer in AnswerGenerator(model, tokenizer, tokens, 64).answer(questions):
        for start, end in SecretGuard([fact]).find(answer.text):
            return answer.text[start:end]
    raise UnsupportedEdit(
        f"edit {fact.id}: expected a secret, or the hash of one that the model says when asked, "
        "found neither; give the patch its secret, or leave it with the cache",
        fact.id,
    )
