"""Agreement of a base model with the candidates of uncertain decisions, for trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from errata.cache.text.answer_match import same_answer
from errata.gates.base import Decision
from errata.gates.text import asks_yes_no

AnswerBatch = Callable[[Sequence[str]], Mapping[str, str]]
"""Returns the base model's answer to each of n texts; empty where the answer is unfinished."""


class BaseAgreement:
    """Finds the candidates that the base model agrees to; each text is answered once.

    The batched counterpart of :class:`errata.reasoners.base_consistency.BaseConsistency`.

    :param answers: of the base model.
    :param min_probability: probability from which a candidate is checked.
    """

    def __init__(self, answers: AnswerBatch, min_probability: float) -> None:
        self.min_probability = min_probability
        self._answers = answers
        self._known: dict[str, str] = {}

    def agreement(self, decisions: Sequence[Decision]) -> list[float]:
        """Return the probability of the likeliest candidate of each that the base agrees to, or 0.

        :param decisions: on queries.
        """
        uncertain = [
            [
                c
                for c in one.candidates
                if c.probability >= self.min_probability and not asks_yes_no(one.query)
            ]
            for one in decisions
        ]
        texts = {
            text: None
            for one, doubt in zip(decisions, uncertain, strict=True) if doubt
            for text in (one.query, *(c.scope for c in doubt)) if text not in self._known
        }  # fmt: skip
        if texts:
            self._known |= self._answers(list(texts))
        return [
            max(
                (
                    c.probability
                    for c in doubt
                    if same_answer(self._known[one.query], self._known[c.scope])
                ),
                default=0.0,
            )
            for one, doubt in zip(decisions, uncertain, strict=True)
        ]
