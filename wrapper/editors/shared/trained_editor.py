"""Editors that are trained beforehand: MEND, KE and ENN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from errata.cache.errors import ModelError
from errata.cache.records import Edit, Fact
from errata.editing.base import Capabilities
from errata.editing.changes import WeightChange
from errata.editors.shared.configured import ConfiguredEditor
from errata.editors.shared.examples import examples_of
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.learner import Learner, Request
from errata.editors.shared.per_edit import feed_forward
from errata.editors.shared.side_memory import check_plain
from errata.editors.shared.trained_state import find_state, read_card, read_state
from errata.generation.random_state import forked_rng
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, stored

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

INITIAL = "initial"
"""In place of a folder: the editor before its training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedConfig:
    """Hyperparameters that all of them have.

    :param layers: blocks whose feed-forward matrices are edited; negative ones count from the last.
    :param learning_rate: of the training beforehand.
    :param batch_size: edits of one plan whose gradients are taken together.
    :param seed: of the initial values.
    """

    layers: tuple[int, ...] = (-3, -2, -1)
    learning_rate: float = 3e-4
    batch_size: int = 16
    seed: int = 0


T = TypeVar("T", bound=TrainedConfig)


class TrainedEditor(ConfiguredEditor[T]):
    """Edits by the updates of a trained learner, of all feed-forward matrices of some blocks.

    Settings are those that the editor was trained with, so far as no option says otherwise.

    :param trained: folder that ``errata editor train`` wrote; None for the one shipped for the
        model; ``initial`` for the editor before its training, a control.
    :param config: all settings, of an editor that is not trained yet.
    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    :param options: single settings.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    capabilities = Capabilities()
    learner_class: ClassVar[type[Any]]
    """A :class:`~errata.editors.shared.learner.Learner`, made of a copy of the base model without
    gradients, its tokenizer, the names of the modules whose weights are edited, and the settings;
    as training begins, under a random state that is seeded."""

    def __init__(
        self,
        *,
        trained: str | Path | None = None,
        config: T | None = None,
        module_paths: ModulePaths | None = None,
        **options: Any,
    ) -> None:
        super().__init__(config=config, module_paths=module_paths, **options)
        self.trained_folder = trained
        self._state: tuple[Path, dict[str, torch.Tensor]] | None = None
        self.trained: dict[str, float] = {}
        """Seconds of the training beforehand, once the state was read."""

    def learner(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, *, trained: bool = True
    ) -> Learner:
        """Return the learner for a model; as :meth:`errata.editing.base.Trainable.learner`."""
        import torch

        folder = None
        config = self.config_for(model)
        if trained and self.trained_folder != INITIAL:
            folder = find_state(self.name, model, self.trained_folder)
            card = read_card(folder, self.name, model)
            self.trained = {"editor": float(card.training.get("seconds", 0.0))}
            config = self._settings(card.settings)
        names = feed_forward(self._paths(model), config.layers)
        check_plain(model, *names)
        copied = sharing_copy(model)
        with forked_rng(model.device):
            torch.manual_seed(config.seed)
            learner: Learner = self.learner_class(copied, tokenizer, names, config)
        learner.to(model.device, torch.promote_types(model.dtype, torch.float32))
        if folder is None:
            return learner
        if self._state is None or self._state[0] != folder:
            self._state = (folder, read_state(folder, card))
        try:
            learner.load_state_dict(self._state[1])
        except RuntimeError as error:
            raise ModelError(
                f"{folder}: expected the parameters of a {self.name} of these settings, found "
                f"others; leave out {', '.join(self._options) or 'the module paths'}, or train it "
                "with them"
            ) from error
        return learner.eval()

    def plan(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, edits: Sequence[Edit]
    ) -> list[WeightChange]:
        """Return the updates of all edits, summed, one a matrix.

        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: an unknown or quantised model, or one that the
            editor was not trained for.
        """
        requests = self._requests(model, tokenizer, edits)
        with gradients():
            learner = self.learner(model, tokenizer)
        return self._changes(learner, requests, self.config_for(model).batch_size)

    def _changes(
        self, learner: Learner, requests: Sequence[Request], size: int
    ) -> list[WeightChange]:
        """Return the updates of edits, summed, one a matrix.

        :param size: edits whose gradients are taken together.
        """
        found: dict[str, torch.Tensor] = {}
        for start in range(0, len(requests), size):
            with gradients():
                updates = learner.updates(requests[start : start + size])
            for name, update in updates.items():
                total = update.detach().sum(0)
                found[name] = total if name not in found else found[name] + total
        return changes_of(learner.model, found)

    def _requests(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, edits: Sequence[Edit]
    ) -> list[Request]:
        self._paths(model)
        examples = examples_of(model, tokenizer, edits)
        return [
            Request(edit.question, edit.answer, example)
            for edit, example in zip(edits, examples, strict=True)
            if isinstance(edit, Fact)
        ]

    def _settings(self, settings: Mapping[str, Any]) -> Any:
        try:
            immutable = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in settings.items()
            }
            return replace(self.config_class(**immutable), **self._options)
        except TypeError as error:
            raise ModelError(
                f"expected settings of {self.name} on the card of the trained editor, found: "
                f"{error}; train it with this errata"
            ) from error


def changes_of(model: GenerativeModel, updates: Mapping[str, torch.Tensor]) -> list[WeightChange]:
    """Return updates as changes of weights, in the layout of the parameters.

    :param updates: by module, [d_out, d_in].
    """
    return [
        WeightChange(f"{name}.weight", stored(model.get_submodule(name), update).contiguous())
        for name, update in updates.items()
    ]
