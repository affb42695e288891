"""What reasoners that read have in common: edits into the context, an answer out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.errors import UnsupportedEdit
from errata.cache.kinds import context
from errata.cache.records import Edit, Fact, LanguagePatch
from errata.reasoners.decoding import decode, new_tokens
from errata.reasoners.prompts import Prompter

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.base import GenerativeModel


def readable(edit: Edit) -> bool:
    """Tell whether an edit can be read: facts, except what is to be forgotten, and conditions."""
    if isinstance(edit, Fact):
        return not edit.forget
    return isinstance(edit, LanguagePatch) and bool(edit.consequence.strip())


class ReadingReasoner:
    """Answers with a model that is given the edits in its prompt.

    :param model: the model that reads.
    :param tokenizer: its tokenizer.
    :param prompter: writes its prompts.
    :param foreign: whether it is another model than the one whose queries it answers.
    """

    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        prompter: Prompter,
        *,
        foreign: bool = False,
    ) -> None:
        self.model, self.tokenizer, self.prompter = model, tokenizer, prompter
        self._foreign = foreign

    def supports(self, edit: Edit) -> bool:
        """Tell whether an edit can be read."""
        return readable(edit)

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the answers, ``generation.num_return_sequences`` for each query.

        Edits that do not fit the model's context are left out, the least relevant first.

        :param queries: n questions.
        :param edits: for each, the edits that govern it, best first.
        :param generation: the caller's generation config.
        :raises UnsupportedEdit: an edit is of a kind that cannot be read.
        :raises GenerationError: the best edit alone is longer than the context.
        """
        if not queries:
            return []
        budget = new_tokens(generation)
        prompts = [
            self._prompt(query, governing, budget)
            for query, governing in zip(queries, edits, strict=True)
        ]
        return decode(
            self.model, self.tokenizer, prompts, generation,
            one_line=not self.prompter.chat, foreign=self._foreign,
        )  # fmt: skip

    def _prompt(self, query: str, edits: Sequence[Edit], new_tokens: int) -> list[int]:
        """Return the ids of the prompt of one query."""
        return self.prompter.ids([self._told(edit) for edit in edits], query, new_tokens)

    def _told(self, edit: Edit) -> str:
        if not self.supports(edit):
            raise UnsupportedEdit(
                f"edit {edit.id}: expected a fact that is not to be forgotten, or a condition and "
                f"its consequence, found {edit.kind}; leave it to the verbatim reasoner"
            )
        return context(edit)
