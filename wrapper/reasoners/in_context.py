"""The in-context reasoner: the base model behind an edit and demonstrations near it."""

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
    :param most: demonstrations shown at most; as many as fit into the model's context.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        book: DemonstrationBook,
        *,
        most: int = 32,
    ) -> None:
        super().__init__(base, tokenizer, Prompter.of(base, tokenizer))
        self.book, self.most = book, most

    def _prompt(self, query: str, edits: Sequence[Edit], new_tokens: int) -> list[int]:
        told = [self._told(edit) for edit in edits]
        near = self.book.near(edits[0].scope, self.most)

        def prompter(count: int) -> Prompter:
            # The nearest stand last, right before the edit.
            shown = [(tuple(map(context, d.edits)), d.query, d.answer) for d in near[:count]][::-1]
            return Prompter.of(self.model, self.tokenizer, demonstrations=shown)

        room = self.prompter.room
        if room is not None:
            near = near[: bisect_right(
                range(1, len(near) + 1),
                room - (new_tokens if self.prompter.answer_inside else 0),
                key=lambda count: prompter(count).length(told, query),
            )]  # fmt: skip
        return prompter(len(near)).ids(told, query, new_tokens)
