"""The in-context reasoner: the base model prompted with demonstrations and an edit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.patches.kinds import context
from errata.cache.records import Edit
from errata.reasoners.demonstrations import DemonstrationBook
from errata.reasoners.prompts import Prompter
from errata.reasoners.reader import ContextReasoner

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class InContextReasoner(ContextReasoner):
    """In-context knowledge editing as published (IKE, Zheng et al. 2023).

    :param base: the base model; it is called, never changed.
    :param tokenizer: its tokenizer.
    :param book: where demonstrations come from.
    :param max_demonstrations: demonstrations shown at most, as far as the context has room.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        book: DemonstrationBook,
        *,
        max_demonstrations: int = 32,
    ) -> None:
        super().__init__(base, tokenizer, Prompter.for_model(base, tokenizer))
        self.book, self.max_demonstrations = book, max_demonstrations

    def _prompt(self, query: str, edits: Sequence[Edit], new_tokens: int) -> list[int]:
        texts = [self._edit_text(edit) for edit in edits]
        nearest = self.book.nearest(edits[0].scope, self.max_demonstrations)

        def prompter(count: int) -> Prompter:
            # nearest last, right before the edit
            shown = [(tuple(map(context, d.edits)), d.query, d.answer) for d in nearest[:count]]
            return Prompter.for_model(self.model, self.tokenizer, demonstrations=shown[::-1])

        limit = self.prompter.context_length
        if limit is not None:
            nearest = nearest[: bisect_right(
                range(1, len(nearest) + 1),
                limit - (new_tokens if self.prompter.answer_in_context else 0),
                key=lambda count: prompter(count).length(texts, query),
            )]  # fmt: skip
        return prompter(len(nearest)).ids(texts, query, new_tokens)
