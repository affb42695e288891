"""What reasoners that read have in common: edits into the context, an answer out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from errata.cache.errors import UnsupportedEdit
from errata.cache.patches.kinds import context
from errata.cache.records import Edit, Fact, LanguagePatch
from errata.cache.text.then_clause import is_reported_speech
from errata.reasoners.abstention import AbstentionPenalties
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.decoding import decode, new_tokens
from errata.reasoners.prompts import Prompter

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


def readable(edit: Edit) -> bool:
    """Tell whether an edit can be read: facts, except what is to be forgotten, and conditions."""
    if isinstance(edit, Fact):
        return not edit.forget
    return isinstance(edit, LanguagePatch) and bool(edit.consequence.strip())


Fallback = Callable[[Sequence[str], "GenerationConfig"], list[list[str]]]
"""Answers queries without any edit, ``generation.num_return_sequences`` texts each."""


def base_fallback(base: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> Fallback:
    """Return a function that has the base model answer, no edit in its prompt."""
    prompter = Prompter(tokenizer)

    def answer(queries: Sequence[str], generation: GenerationConfig) -> list[list[str]]:
        prompts = [prompter.plain_ids(query) for query in queries]
        return decode(base, tokenizer, prompts, generation, one_line=not prompter.chat)

    return answer


def open_worded(edit: Edit) -> bool:
    """Tell whether an edit leaves open in which words it is to be said: ``say that …``."""
    return isinstance(edit, LanguagePatch) and is_reported_speech(edit.consequence)


class ContextReasoner:
    """Answers with a model that is given the edits in its prompt.

    :param model: the model that reads.
    :param tokenizer: its tokenizer.
    :param prompter: writes its prompts.
    :param foreign: whether it is another model than the one whose queries it answers.
    :param aside: answers, as the base model would alone, what the model leaves unsaid because no
        edit bears on it; by default such an answer stays empty.
    :param reluctance: log-odds taken off saying nothing.
    :param beliefs: asks the base model what it makes of a query to which nothing would be said;
        None leaves it unasked.
    """

    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        prompter: Prompter,
        *,
        foreign: bool = False,
        aside: Fallback | None = None,
        reluctance: AbstentionPenalties | None = None,
        beliefs: BaseConsistency | None = None,
    ) -> None:
        self.model, self.tokenizer, self.prompter = model, tokenizer, prompter
        self._foreign, self._aside, self._beliefs = foreign, aside, beliefs
        self._reluctance = reluctance or AbstentionPenalties()

    def supports(self, edit: Edit) -> bool:
        """Tell whether an edit can be read."""
        return readable(edit)

    def phrases(self, edit: Edit) -> bool:
        """Tell whether it says in its own words what an edit asks to be said: in a chat it does."""
        return self.prompter.chat and self.supports(edit) and open_worded(edit)

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
        said = self._decoded(prompts, generation, self._reluctance.usual)
        if self._beliefs is not None and self._reluctance.heeds_the_base:
            for row in [row for row, texts in enumerate(said) if not all(texts)]:
                own = [edit.question for edit in edits[row] if isinstance(edit, Fact)]
                shift = self._reluctance.after(self._beliefs.of(queries[row], own))
                if shift > self._reluctance.usual:
                    again = self._decoded([prompts[row]], generation, shift)[0]
                    said[row] = [text or new for text, new in zip(said[row], again, strict=True)]
        return self._completed(queries, said, generation)

    def _decoded(
        self, prompts: Sequence[Sequence[int]], generation: GenerationConfig, reluctance: float
    ) -> list[list[str]]:
        return decode(
            self.model, self.tokenizer, prompts, generation,
            one_line=not self.prompter.chat, foreign=self._foreign, reluctance=reluctance,
        )  # fmt: skip

    def _completed(
        self, queries: Sequence[str], said: list[list[str]], generation: GenerationConfig
    ) -> list[list[str]]:
        """Return the answers, the base's own where the model said nothing."""
        open_rows = [row for row, texts in enumerate(said) if not all(texts)]
        if self._aside is None or not open_rows:
            return said
        others = self._aside([queries[row] for row in open_rows], generation)
        for row, texts in zip(open_rows, others, strict=True):
            said[row] = [own or other for own, other in zip(said[row], texts, strict=True)]
        return said

    def _prompt(self, query: str, edits: Sequence[Edit], new_tokens: int) -> list[int]:
        """Return the ids of the prompt of one query."""
        return self.prompter.ids([self._told(edit) for edit in edits], query, new_tokens)

    def _told(self, edit: Edit) -> str:
        if not self.supports(edit):
            empty = isinstance(edit, LanguagePatch) and not edit.consequence.strip()
            raise UnsupportedEdit(
                f"edit {edit.id}: expected a fact that is not to be forgotten, or a condition and "
                f"its consequence, found {'an empty consequence' if empty else edit.kind}; "
                f"{'write one' if empty else 'leave it to the verbatim reasoner'}"
            )
        return context(edit)
