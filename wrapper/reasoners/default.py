"""The default reasoner: the adapter trained for the base, else the base itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.records import Edit, Fact
from errata.reasoners.adapter import AdapterReasoner, shipped_adapter
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.prompts import follows_instructions
from errata.reasoners.reader import open_worded, readable

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel
    from errata.reasoners.base import Reasoner


class DefaultReasoner:
    """``adapter`` if errata carries one for the base model, else ``prompted``.

    It is loaded when it is first needed: most queries never need it.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    """

    def __init__(self, base: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._base, self._tokenizer = base, tokenizer
        self._adapter = shipped_adapter(base)
        self._chosen: Reasoner | None = None
        self._lock = threading.Lock()

    @property
    def chosen(self) -> Reasoner:
        """The reasoner that answers."""
        with self._lock:
            if self._chosen is None:
                self._chosen = self._choose()
            return self._chosen

    def supports(self, edit: Edit) -> bool:
        """Tell whether an edit can be read; an adapter alone has only learned facts."""
        if self._adapter is None or follows_instructions(self._tokenizer):
            return readable(edit)
        return readable(edit) and isinstance(edit, Fact)

    def phrases(self, edit: Edit) -> bool:
        """Tell whether it says in its own words what an edit asks to be said."""
        return follows_instructions(self._tokenizer) and open_worded(edit) and readable(edit)

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the answers; see :class:`~errata.reasoners.reader.ContextReasoner`."""
        return self.chosen.answer(queries, edits, generation)

    def _choose(self) -> Reasoner:
        if self._adapter is None:
            return PromptedReasoner(self._base, self._tokenizer)
        return AdapterReasoner(self._base, self._tokenizer, self._adapter)
