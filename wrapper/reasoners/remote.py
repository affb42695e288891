"""The prompted reasoner for a model behind a chat API: it is asked with messages, not ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from errata.cache.errors import UnsupportedEdit
from errata.cache.patches.kinds import context
from errata.cache.records import Edit, Fact, LanguagePatch
from errata.generation.chat import Messages
from errata.reasoners.base import Reply, replies
from errata.reasoners.prompted import CHAT_FORM
from errata.reasoners.prompts import PromptForm, as_sentence
from errata.reasoners.reader import allows_paraphrase, is_instruction, is_readable

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from errata.generation.chat import Prompt

Complete = Callable[[Messages], str]
"""Returns a model's answer to the messages of a chat."""


class RemoteReasoner:
    """In-context editing (IKE, Zheng et al. 2023) of a model that is asked by messages.

    :param complete: asks the model; called once for each answer.
    :param form: the wording of the prompt.
    """

    def __init__(self, complete: Complete, form: PromptForm = CHAT_FORM) -> None:
        self.complete, self.form = complete, form

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit can go into the prompt."""
        return is_readable(edit)

    def paraphrases(self, edit: Edit) -> bool:
        """Return whether the answer of an edit is worded by the model."""
        return allows_paraphrase(edit) and is_readable(edit)

    def answer(
        self,
        queries: Sequence[str],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[str]]:
        """Return the answers, ``generation.num_return_sequences`` for each query.

        :raises UnsupportedEdit: an edit is of a kind that cannot go into a prompt.
        """
        count = generation.num_return_sequences or 1
        return [
            self._asked([("user", self._question(query, governing))], count)
            for query, governing in zip(queries, edits, strict=True)
        ]

    def answer_prompts(
        self,
        prompts: Sequence[Prompt],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return the answers to the queries of prompts; instructions go into the conversation."""
        count, found = generation.num_return_sequences or 1, []
        for prompt, governing in zip(prompts, edits, strict=True):
            if is_instruction(governing[0]):
                turn = ("user", instructed(self.form, prompt.query, governing))
                found.append(self._asked([*prompt.history, turn], count))
            else:
                found += self.answer([prompt.query], [governing], generation)
        return replies(found)

    def write_facts(self, facts: Sequence[Fact], generation: GenerationConfig) -> list[str]:
        """Return a sentence for each fact."""
        del generation
        form, sentences = self.form, []
        for fact in facts:
            turns: list[tuple[str, str]] = []
            for question, answer, sentence in form.statement_examples:
                turns.append(("user", form.statement.format(question=question, answer=answer)))
                turns.append(("assistant", sentence))
            asked = form.statement.format(question=fact.question, answer=fact.answer)
            sentences += self._asked([*turns, ("user", asked)], 1)
        return sentences

    def _question(self, query: str, edits: Sequence[Edit]) -> str:
        for edit in edits:
            if not self.supports(edit):
                raise UnsupportedEdit(
                    f"edit {edit.id}: expected a fact that is not to be forgotten, or a condition "
                    f"and its consequence, found {edit.kind}; leave it to the verbatim reasoner",
                    edit.id,
                )
        notes = "\n".join(self.form.note.format(edit=context(edit)) for edit in edits)
        return self.form.user.format(notes=notes, query=query)

    def _asked(self, turns: Sequence[tuple[str, str]], count: int) -> list[str]:
        messages = [{"role": role, "content": text} for role, text in turns]
        return [self.complete(messages).strip() for _ in range(count)]


def instructed(form: PromptForm, query: str, edits: Sequence[Edit]) -> str:
    """Return a query with edits behind it: what to do, and what is true.

    :param form: the wording.
    :param query: the question.
    :param edits: best first.
    """
    lines = [e.consequence for e in edits if isinstance(e, LanguagePatch)]
    lines += [context(edit) for edit in edits if isinstance(edit, Fact)]
    return form.instructed.format(query=query, instruction="\n".join(map(as_sentence, lines)))


def in_context(form: PromptForm, query: str, edits: Sequence[Edit]) -> str:
    """Return a query with its edits behind it, for an answer that has to keep a form.

    :param form: the wording.
    :param query: the question.
    :param edits: best first; all of them readable.
    """
    if is_instruction(edits[0]):
        return instructed(form, query, edits)
    return form.background.format(query=query, notes=" ".join(map(context, edits)))
