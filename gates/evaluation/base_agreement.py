"""What a base model says where a gate is in doubt, each text asked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from errata.cache.text.answer_match import same_answer
from errata.gates.base import Decision
from errata.gates.routing import base_can_agree

Answers = Callable[[Sequence[str]], Mapping[str, str]]
"""What a base model alone says to each of n texts; empty where its answer is not over yet."""


class BaseAgreement:
    """Tells of many decisions which candidates the base model agrees to.

    As :class:`errata.reasoners.base_consistency.BaseConsistency` does of one query, for trials.

    :param says: asks the base model.
    :param least: the probability from which a candidate is in doubt, and the base asked.
    """

    def __init__(self, says: Answers, least: float) -> None:
        self.least = least
        self._says = says
        self._said: dict[str, str] = {}

    def agreed(self, decisions: Sequence[Decision]) -> list[float]:
        """Return of each the probability of its likeliest candidate that the base agrees to, or 0.

        :param decisions: on queries.
        """
        doubts = [
            [c for c in one.candidates if c.probability >= self.least and base_can_agree(one.query)]
            for one in decisions
        ]
        texts = {
            text: None
            for one, doubt in zip(decisions, doubts, strict=True) if doubt
            for text in (one.query, *(c.scope for c in doubt)) if text not in self._said
        }  # fmt: skip
        if texts:
            self._said |= self._says(list(texts))
        return [
            max(
                (
                    c.probability
                    for c in doubt
                    if same_answer(self._said[one.query], self._said[c.scope])
                ),
                default=0.0,
            )
            for one, doubt in zip(decisions, doubts, strict=True)
        ]
