"""What the methods that locate and edit share: settings, statistics of keys, prefixes of prompts.

A feed-forward layer's down-projection is seen as a linear memory of keys and values (Meng et al.
2022, https://arxiv.org/abs/2202.05262); ROME, MEMIT and AlphaEdit differ in how they write into it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Edit, Fact
from errata.cache.text.subject import subject_of
from errata.editing.base import Capabilities
from errata.editors.shared.contexts import contexts
from errata.editors.shared.corpus import TextSource
from errata.editors.shared.covariance import SecondMoment, settled_moments
from errata.editors.shared.value_config import ValueConfig, checked_options, config_for
from errata.module_paths import ModulePaths, module_paths_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

Config = TypeVar("Config", bound=ValueConfig)
E = TypeVar("E", bound="LocatedEditor[Any]")


class LocatedEditor(Generic[Config]):
    """Edits facts at the last token of their subject, in the metric of a second moment of keys.

    :param config: all settings; by default those for the model
        (:func:`errata.editors.shared.value_config.config_for`).
    :param text: text for the second moment, read once, as far as needed; by default what
        ``config.corpus`` names.
    :param folder: where second moments are kept (:mod:`errata.editors.shared.covariance`).
    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    :param seed: of the texts that the model writes.
    :param progress: show progress bars on stderr.
    :param options: single settings, such as ``steps=25``.
    :ivar losses: of the edits planned so far, by id: the target's loss in nats at the end of the
        search for its value.
    :ivar trained: seconds that the second moments took, once they are known.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[Any]]
    capabilities = Capabilities(needs_subject=True, needs_text=True)

    def __init__(
        self,
        *,
        config: Config | None = None,
        text: Iterable[str] | None = None,
        folder: str | Path | None = None,
        module_paths: ModulePaths | None = None,
        seed: int = 0,
        progress: bool = False,
        **options: Any,
    ) -> None:
        self._options = checked_options(self.config_class, options)
        self.config: Config | None = self._options.pop("config", config)
        self.module_paths = self._options.pop("module_paths", module_paths)
        self.folder, self.seed, self.progress = folder, seed, progress
        self._text = TextSource(text, seed)
        self.losses: dict[str, float] = {}
        self.trained: dict[str, float] = {}

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit is a fact with one subject in its question, and no secret."""
        if not isinstance(edit, Fact) or edit.forget:
            return False
        try:
            subject_of(edit)
        except UnsupportedEdit:
            return False
        return True

    def changed(self: E, **options: Any) -> E:
        """Return the same editor with other settings; the text is read only once.

        :raises errata.cache.errors.EditError: there is no such setting.
        """
        other = copy.copy(self)
        other._options = {**self._options, **checked_options(self.config_class, options)}
        other.config = other._options.pop("config", self.config)
        other.module_paths = other._options.pop("module_paths", self.module_paths)
        return other

    def config_for(self, model: GenerativeModel) -> Config:
        """Return the settings that will be used on a model."""
        paths = module_paths_of(model, override=self.module_paths)
        base = self.config or config_for(self.name, self.config_class, model, paths)
        return replace(base, **self._options)

    def _facts(self, edits: Sequence[Edit]) -> list[Fact]:
        """Return the edits as facts.

        :raises UnsupportedEdit: one is none, or is to be forgotten.
        """
        facts = []
        for edit in edits:
            if not isinstance(edit, Fact) or edit.forget:
                what = (
                    "a fact to be forgotten" if isinstance(edit, Fact) else f"a {edit.kind} patch"
                )
                raise UnsupportedEdit(
                    f"{edit.id}: expected a fact with an answer, found {what}; {self.name} inserts "
                    "facts only, keep this edit in the cache",
                    edit.id,
                )
            facts.append(edit)
        return facts

    def _second_moments(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        layers: Sequence[int],
        config: Config,
    ) -> list[SecondMoment]:
        """Return the second moments of the keys of some layers of the unedited model."""
        found = settled_moments(
            model,
            self._text.rows(model, tokenizer, config.corpus),
            layers,
            tokens_per_key=(config.tokens_per_key, config.max_tokens_per_key),
            ridge=config.ridge,
            module_paths=self.module_paths,
            folder=self.folder,
            progress=self.progress,
        )
        seconds = [moment.seconds for moment in found if moment.seconds is not None]
        if seconds:
            self.trained = {"second moment": max(seconds)}
        return found

    def _contexts(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, config: Config
    ) -> tuple[str, ...]:
        """Return the prefixes of the prompts: the empty one, and texts the model writes."""
        return contexts(model, tokenizer, config.contexts, self.seed)
