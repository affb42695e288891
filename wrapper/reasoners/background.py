"""Facts as background of an open-ended request: "Tell me about Kazakhstan"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, get_args

from errata.cache.errors import ErrataError
from errata.cache.patches.kinds import context
from errata.cache.records import Edit, Fact
from errata.cache.text.stated import mentions, names_and_numbers
from errata.reasoners.base import Reply
from errata.reasoners.base_answers import base_answers
from errata.reasoners.prompted import CHAT_FORM, PromptedReasoner
from errata.reasoners.prompts import PromptForm

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel
    from errata.generation.prompt_reader import Prompt

Mentions = Literal["off", "context"]
"""What becomes of facts whose subject a query names without asking about them."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")


class BackgroundReasoner(PromptedReasoner):
    """The base model with facts behind the request; they need not be stated.

    A sentence of the answer that names what the base model itself answers to a fact's question, in
    the place of the fact's answer, is left out.

    :param base: the base model; it is called, never changed.
    :param tokenizer: its tokenizer.
    :param form: the wording of the prompt.
    :param max_facts: facts in the prompt at most; of a subject with more, the first.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        form: PromptForm = CHAT_FORM,
        *,
        max_facts: int = 8,
    ) -> None:
        super().__init__(base, tokenizer, form=form)
        self.max_facts = max_facts
        self._base_answer = lru_cache(maxsize=4096)(
            lambda question: base_answers(base, tokenizer, [question])[question]
        )

    def answer_prompts(
        self,
        prompts: Sequence[Prompt],
        edits: Sequence[Sequence[Edit]],
        generation: GenerationConfig,
    ) -> list[list[Reply]]:
        """Return the answers to open-ended requests, the facts in their context."""
        facts = [[edit for edit in each if isinstance(edit, Fact)] for each in edits]
        if all(map(self._reads, prompts)):
            budget = generation.max_new_tokens or 0
            ids = [
                self.prompter.background_ids(prompt, [context(fact) for fact in found], budget)
                for prompt, found in zip(prompts, facts, strict=True)
            ]
            answers = self._decode(ids, generation, 0.0)
        else:
            answers = self.answer([prompt.query for prompt in prompts], edits, generation)
        return [
            [Reply(self._without_old(text, found)) for text in texts]
            for texts, found in zip(answers, facts, strict=True)
        ]

    def _without_old(self, text: str, facts: Sequence[Fact]) -> str:
        """Return a text without the sentences that state what the facts correct."""
        sentences = _SENTENCE_END.split(text)
        for fact in facts:
            said = self._base_answer(fact.question)
            old = [n for n in names_and_numbers(said) if not mentions(context(fact), n)]
            kept = [
                sentence for sentence in sentences
                if mentions(sentence, fact.answer) or not any(mentions(sentence, n) for n in old)
            ]  # fmt: skip
            sentences = kept or [context(fact)]
        return " ".join(sentences)


def background_reasoner(
    mentions: Mentions, base: GenerativeModel, tokenizer: PreTrainedTokenizerBase
) -> BackgroundReasoner | None:
    """Return the reasoner for queries that only name the subject of facts, None for ``off``.

    :param mentions: ``off`` or ``context``.
    :param base: the base model.
    :param tokenizer: its tokenizer.
    :raises ErrataError: another word.
    """
    if mentions not in get_args(Mentions):
        raise ErrataError(f'expected mentions="off" or "context", found {mentions!r}')
    return None if mentions == "off" else BackgroundReasoner(base, tokenizer)
