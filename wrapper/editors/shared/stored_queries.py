"""Editors that keep inputs of a layer over running text, which stand for all that is not edited."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from errata.editors.shared.configured import C
from errata.editors.shared.corpus import TextSource
from errata.editors.shared.side_memory import SideEditor, text_inputs
from errata.generation.fingerprint import base_fingerprint
from errata.module_paths import ModulePaths

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class QuerySettings(Protocol):
    """The settings that decide which queries are stored."""

    @property
    def queries(self) -> int:
        """How many."""

    @property
    def corpus(self) -> str:
        """``model`` or ``facts``, see :class:`~errata.editors.shared.corpus.TextSource`."""

    @property
    def seed(self) -> int:
        """Of the draw."""


class QueryEditor(SideEditor[C]):
    """A side editor that reads running text.

    :param config: all settings; by default those for the model.
    :param text: text of the stored queries; by default what ``config.corpus`` names.
    :param folder: like ``progress`` unused: what other editors that read text take, too.
    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    :param options: single settings.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    def __init__(
        self,
        *,
        config: C | None = None,
        text: Iterable[str] | None = None,
        folder: str | Path | None = None,
        progress: bool = False,
        module_paths: ModulePaths | None = None,
        **options: Any,
    ) -> None:
        super().__init__(config=config, module_paths=module_paths, **options)
        self.folder, self.progress = folder, progress
        self._text = TextSource(text)
        self._stored: tuple[object, Any] = (None, None)

    def _queries(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        config: QuerySettings,
    ) -> torch.Tensor:
        """Return inputs of a module over running text, float32 [queries, d_in].

        :param model: with nothing beside its weights that changes these inputs.
        :param tokenizer: its tokenizer.
        :param name: of the module.
        :param config: how many queries, of which text.
        """
        mark = (base_fingerprint(model), name, config.queries, config.corpus, config.seed)
        if mark != self._stored[0]:
            rows = self._text.rows(model, tokenizer, config.corpus)
            self._stored = (mark, text_inputs(model, rows, name, config.queries, config.seed))
        found: torch.Tensor = self._stored[1]
        return found
