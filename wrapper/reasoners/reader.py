"""What reasoners with a language model share: edits in the prompt, generation, fallback."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from errata.cache.errors import UnsupportedEdit
from errata.cache.patches.kinds import context
from errata.cache.records import Edit, Fact, LanguagePatch
from errata.cache.text.then_clause import is_reported_speech, verbatim_answer
from errata.deprecation import renamed_options
from errata.reasoners.abstention import AbstentionPenalties
from errata.reasoners.base import Reply, replies
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.decoding import decode, max_new_tokens
from errata.reasoners.prompts import Prompter

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel
    from errata.generation.chat import Prompt


def is_readable(edit: Edit) -> bool:
    """Return whether an edit can go into a prompt: a fact with an answer, or a condition."""
    if isinstance(edit, Fact):
        return not edit.forget
    return isinstance(edit, LanguagePatch) and bool(edit.consequence.strip())


Fallback = Callable[[Sequence[str], "GenerationConfig"], list[list[str]]]
"""Answers queries without any edit, ``generation.num_return_sequences`` texts each."""


def base_fallback(base: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> Fallback:
    """Return a function by which the base model answers, without edits in its prompt."""
    prompter = Prompter(tokenizer)

    def answer(queries: Sequence[str], generation: GenerationConfig) -> list[list[str]]:
        prompts = [prompter.query_ids(query) for query in queries]
        return decode(base, tokenizer, prompts, generation, single_line=not prompter.chat)

    return answer


def is_instruction(edit: Edit) -> bool:
    """Return whether an edit says how to answer: "answer in French", not what to say."""
    return isinstance(edit, LanguagePatch) and verbatim_answer(edit.consequence) is None


def allows_paraphrase(edit: Edit) -> bool:
    """Return whether an edit leaves the wording open: ``say that …``."""
    return isinstance(edit, LanguagePatch) and is_reported_speech(edit.consequence)


class ContextReasoner:
    """Answers with a model that has the edits in its prompt.

    :param model: the model.
    :param tokenizer: its tokenizer.
    :param prompter: writes its prompts.
    :param separate_vocabulary: the model's token ids differ from those of the base model, whose
        generation config it gets.
    :param fallback: answers where the model's answer is empty, without edits; by default such an
        answer stays empty.
    :param abstention: penalties on an empty answer.
    :param consistency: compares the base model's answers where the model's answer is empty; None
        leaves that out.
    """

    @renamed_options(
        foreign="separate_vocabulary",
        aside="fallback",
        reluctance="abstention",
        beliefs="consistency",
    )
    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        prompter: Prompter,
        *,
        separate_vocabulary: bool = False,
        fallback: Fallback | None = None,
        abstention: AbstentionPenalties | None = None,
        consistency: BaseConsistency | None = None,
    ) -> None:
        self.model, self.tokenizer, self.prompter = model, tokenizer, prompter
        self._separate_vocabulary = separate_vocabulary
        self._fallback, self._consistency = fallback, consistency
        self._abstention = abstention or AbstentionPenalties()

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit can go into the prompt."""
        return is_readable(edit)

    def paraphrases(self, edit: Edit) -> bool:
        """Return whether the answer of an edit is worded by the model: in a chat only."""
        return self.prompter.chat and self.supports(edit) and allows_paraphrase(edit)

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
        :raises UnsupportedEdit: an edit is of a kind that cannot go into a prompt.
        :raises GenerationError: the best edit alone is longer than the context.
        """
        if not queries:
            return []
        budget = max_new_tokens(generation)
        prompts = [
            self._prompt(query, governing, budget)
            for query, governing in zip(queries, edits, strict=True)
        ]
        answers = self._decode(prompts, generation, self._abstention.default)
        if self._consistency is not None and self._abstention.depends_on_base:
            for row in _rows_with_empty(answers):
                questions = [edit.question for edit in edits[row] if isinstance(edit, Fact)]
                consistency = self._consistency.compare(queries[row], questions)
                penalty = self._abstention.select(consistency)
                if penalty > self._abstention.default:
                    second = self._decode([prompts[row]], generation, penalty)[0]
                    answers[row] = [
                        text or new for text, new in zip(answers[row], second, strict=True)
                    ]
        return self._fill_empty(queries, answers, generation)

    def answer_prompts(
        self,
        prompts: Sequence[Prompt],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return the answers to the queries of prompts; instructions go into the conversation.

        A query whose best edit is an instruction ("answer in French") is answered by the model with
        the caller's own prompt, the instruction behind the query.
        """
        instructed = [
            self._reads(prompt) and is_instruction(governing[0])
            for prompt, governing in zip(prompts, edits, strict=True)
        ]
        rows = [i for i, found in enumerate(instructed) if not found]
        texts = self.answer([prompts[i].query for i in rows], [edits[i] for i in rows], generation)
        out = dict(zip(rows, texts, strict=True))
        rows = [i for i, found in enumerate(instructed) if found]
        if rows:
            ids = [self._instructed(prompts[i], edits[i], generation) for i in rows]
            out |= zip(rows, self._decode(ids, generation, 0.0), strict=True)
        return replies([out[i] for i in range(len(prompts))])

    def _reads(self, prompt: Prompt) -> bool:
        """Return whether the model reads a caller's prompt as it stands."""
        own = self.prompter.chat and not self._separate_vocabulary
        return own and prompt.chat and prompt.start is not None

    def write_facts(self, facts: Sequence[Fact], generation: GenerationConfig) -> list[str]:
        """Return a sentence for each fact, greedily; empty texts without a chat template."""
        if not self.prompter.chat or not facts:
            return [""] * len(facts)
        greedy = copy.copy(generation)
        greedy.do_sample, greedy.num_beams, greedy.num_return_sequences = False, 1, 1
        ids = [self.prompter.statement_ids(fact) for fact in facts]
        return [texts[0] for texts in self._decode(ids, greedy, 0.0)]

    def _instructed(
        self, prompt: Prompt, edits: Sequence[Edit], generation: GenerationConfig
    ) -> list[int]:
        """Return the ids of a prompt with the instructions of edits behind its query."""
        instructions = [e.consequence for e in edits if isinstance(e, LanguagePatch)]
        facts = [self._edit_text(edit) for edit in edits if isinstance(edit, Fact)]
        return self.prompter.instructed_ids(prompt, instructions, facts, max_new_tokens(generation))

    def _decode(
        self, prompts: Sequence[Sequence[int]], generation: GenerationConfig, penalty: float
    ) -> list[list[str]]:
        return decode(
            self.model, self.tokenizer, prompts, generation,
            single_line=not self.prompter.chat, separate_vocabulary=self._separate_vocabulary,
            abstention_penalty=penalty,
        )  # fmt: skip

    def _fill_empty(
        self, queries: Sequence[str], answers: list[list[str]], generation: GenerationConfig
    ) -> list[list[str]]:
        """Return the answers, those of the fallback where they are empty."""
        rows = _rows_with_empty(answers)
        if self._fallback is None or not rows:
            return answers
        others = self._fallback([queries[row] for row in rows], generation)
        for row, texts in zip(rows, others, strict=True):
            answers[row] = [text or other for text, other in zip(answers[row], texts, strict=True)]
        return answers

    def _prompt(self, query: str, edits: Sequence[Edit], new_tokens: int) -> list[int]:
        """Return the ids of the prompt of one query."""
        return self.prompter.ids([self._edit_text(edit) for edit in edits], query, new_tokens)

    def _edit_text(self, edit: Edit) -> str:
        """Return an edit as a line of the prompt.

        :raises UnsupportedEdit: it is of a kind that cannot go into a prompt.
        """
        if not self.supports(edit):
            empty = isinstance(edit, LanguagePatch) and not edit.consequence.strip()
            raise UnsupportedEdit(
                f"edit {edit.id}: expected a fact that is not to be forgotten, or a condition and "
                f"its consequence, found {'an empty consequence' if empty else edit.kind}; "
                f"{'write one' if empty else 'leave it to the verbatim reasoner'}"
            )
        return context(edit)


def _rows_with_empty(answers: Sequence[Sequence[str]]) -> list[int]:
    return [row for row, texts in enumerate(answers) if not all(texts)]
