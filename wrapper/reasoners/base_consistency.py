"""What the base model believes, as a sign of what it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.cache.text.answer_match import same_answer
from errata.reasoners.base_answers import NEW_TOKENS, complete_answers, mean_token_probability
from errata.reasoners.prompts import Prompter, room_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

SURE = 0.8
"""Geometric mean of its tokens' probabilities from which an answer is a sure one."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """What the base model makes of a query.

    :param alike: for each of n questions, whether it answers that as it answers the query.
    :param sure: whether it is sure of its answer.
    """

    alike: tuple[bool, ...]
    sure: bool


class BaseConsistency:
    """Asks the base model alone whether two questions are one to it.

    A model that knows that Aoraki is Mount Cook says of both that they lie in New Zealand, where a
    reader may see two names. What it says need not be true: the error that an edit mends is
    made in all phrasings. Nothing is remembered, so that a base whose weights are edited is asked
    as it is.

    :param base: the base model; it is called, never changed.
    :param tokenizer: its tokenizer.
    """

    def __init__(self, base: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._base, self._tokenizer = base, tokenizer
        self._prompter, self._room = Prompter(tokenizer), room_of(base)

    def agrees(self, query: str, questions: Sequence[str]) -> tuple[bool, ...]:
        """Tell of each question whether the base answers it as it answers the query.

        Greedily, in one batch; texts that do not fit into its context are alike to none.

        :param query: what is asked.
        :param questions: n questions.
        """
        said = self._said(query, questions)
        return tuple(same_answer(said.get(query, ""), said.get(text, "")) for text in questions)

    def of(self, query: str, questions: Sequence[str]) -> Consistency:
        """Return what the base makes of a query beside n questions."""
        said = self._said(query, questions)
        own = said.get(query, "")
        sure = (
            bool(own)
            and mean_token_probability(self._base, self._tokenizer, {query: own})[query] >= SURE
        )
        return Consistency(tuple(same_answer(own, said.get(text, "")) for text in questions), sure)

    def _said(self, query: str, questions: Sequence[str]) -> dict[str, str]:
        texts = [text for text in dict.fromkeys((query, *questions)) if self._fits(text)]
        return complete_answers(self._base, self._tokenizer, texts) if query in texts else {}

    def _fits(self, text: str) -> bool:
        length = len(self._prompter.plain_ids(text)) + NEW_TOKENS
        return bool(text.strip()) and (self._room is None or length <= self._room)
