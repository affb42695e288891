"""The default reasoner: the adapter trained for the base, else the base itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.records import Edit, Fact
from errata.reasoners.adapter import AdapterReasoner, shipped_adapter
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.prompts import has_chat_template
from errata.reasoners.reader import ContextReasoner, allows_paraphrase, is_readable

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel
    from errata.generation.prompt_reader import Prompt
    from errata.reasoners.base import Reply


class DefaultReasoner:
    """``adapter`` if errata carries one for the base model, else ``prompted``.

    Loaded on first use: most queries never need it.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    """

    def __init__(self, base: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._base, self._tokenizer = base, tokenizer
        self._adapter = shipped_adapter(base)
        self._chosen: ContextReasoner | None = None
        self._lock = threading.Lock()

    @property
    def chosen(self) -> ContextReasoner:
        """The reasoner that answers."""
        with self._lock:
            if self._chosen is None:
                self._chosen = self._choose()
            return self._chosen

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit can go into the prompt; an adapter is trained on facts only."""
        if self._adapter is None or has_chat_template(self._tokenizer):
            return is_readable(edit)
        return is_readable(edit) and isinstance(edit, Fact)

    def paraphrases(self, edit: Edit) -> bool:
        """Return whether the answer of an edit is worded by the model."""
        return has_chat_template(self._tokenizer) and allows_paraphrase(edit) and is_readable(edit)

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the answers; see :class:`~errata.reasoners.reader.ContextReasoner`."""
        return self.chosen.answer(queries, edits, generation)

    def answer_prompts(
        self,
        prompts: Sequence[Prompt],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return the answers to the queries of prompts; see :class:`ContextReasoner`."""
        return self.chosen.answer_prompts(prompts, edits, generation)

    def write_facts(self, facts: Sequence[Fact], generation: GenerationConfig) -> list[str]:
        """Return a sentence for each fact; see :class:`ContextReasoner`."""
        return self.chosen.write_facts(facts, generation)

    def _choose(self) -> ContextReasoner:
        if self._adapter is None:
            return PromptedReasoner(self._base, self._tokenizer)
        return AdapterReasoner(self._base, self._tokenizer, self._adapter)
