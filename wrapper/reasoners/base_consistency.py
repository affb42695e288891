"""Whether the base model answers two questions alike, as a sign that they ask the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.cache.text.answer_match import same_answer
from errata.reasoners.base_answers import (
    MAX_NEW_TOKENS,
    complete_answers,
    mean_token_probability,
)
from errata.reasoners.prompts import Prompter, context_length_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

CONFIDENCE_THRESHOLD = 0.8
"""Geometric mean of its tokens' probabilities from which an answer is a confident one."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """How the base model's answer to a query compares with its answers to n questions.

    :param agrees: for each question, whether its answer is the same as the query's.
    :param confident: whether the probability of the query's answer reaches
        :data:`CONFIDENCE_THRESHOLD`.
    """

    agrees: tuple[bool, ...]
    confident: bool


class BaseConsistency:
    """Compares the base model's answers to questions, without any edit.

    A model that knows that Aoraki is Mount Cook answers of both that they lie in New Zealand. The
    answers need not be true: a mistake that an edit corrects is made in all phrasings. Nothing is
    cached, since the base's weights may be edited.

    :param base: the base model; it is called, never changed.
    :param tokenizer: its tokenizer.
    """

    def __init__(self, base: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._base, self._tokenizer = base, tokenizer
        self._prompter, self._context_length = Prompter(tokenizer), context_length_of(base)

    def agrees(self, query: str, questions: Sequence[str]) -> tuple[bool, ...]:
        """Return for each question whether the base answers it as it answers the query.

        See :meth:`agrees_batch`.

        :param query: the query.
        :param questions: n questions.
        """
        return self.agrees_batch([query], [questions])[0]

    def agrees_batch(
        self, queries: Sequence[str], questions: Sequence[Sequence[str]]
    ) -> list[tuple[bool, ...]]:
        """Return for each query which of its questions the base answers as the query.

        Greedily, all texts in one batch; texts that do not fit into its context agree with none.

        :param queries: the queries.
        :param questions: of each query, those it is compared with.
        """
        asked = dict.fromkeys(
            text for pair in zip(queries, questions, strict=True) for text in (pair[0], *pair[1])
        )
        fitting = [text for text in asked if self._fits(text)]
        answers = complete_answers(self._base, self._tokenizer, fitting)
        return [
            tuple(same_answer(answers.get(query, ""), answers.get(one, "")) for one in some)
            for query, some in zip(queries, questions, strict=True)
        ]

    def compare(self, query: str, questions: Sequence[str]) -> Consistency:
        """Return whether n questions are answered alike, and how confident the answer is."""
        answers = self._answers(query, questions)
        answer = answers.get(query, "")
        confident = bool(answer) and self._probability(query, answer) >= CONFIDENCE_THRESHOLD
        agrees = tuple(same_answer(answer, answers.get(text, "")) for text in questions)
        return Consistency(agrees, confident)

    def _probability(self, query: str, answer: str) -> float:
        return mean_token_probability(self._base, self._tokenizer, {query: answer})[query]

    def _answers(self, query: str, questions: Sequence[str]) -> dict[str, str]:
        texts = [text for text in dict.fromkeys((query, *questions)) if self._fits(text)]
        return complete_answers(self._base, self._tokenizer, texts) if query in texts else {}

    def _fits(self, text: str) -> bool:
        length = len(self._prompter.query_ids(text)) + MAX_NEW_TOKENS
        limit = self._context_length
        return bool(text.strip()) and (limit is None or length <= limit)
