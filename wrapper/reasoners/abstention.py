"""Abstention: an empty answer of a reasoner means that no edit governs the query.

The base model then answers instead. Penalties on the empty answer set how often that happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from errata.reasoners.base_consistency import Consistency


@dataclass(frozen=True, slots=True)
class AbstentionPenalties:
    """Log-odds subtracted from an empty answer, by what the base model answers to the query.

    :param default: of the first pass, and where the base is confident of a different answer.
    :param base_agrees: where the base answers the query as it answers an edit's question.
    :param base_uncertain: where the base is not confident of its answer, so that its answer in
        place of the edit's would be of little use.
    """

    default: float = 0.0
    base_agrees: float = 0.0
    base_uncertain: float = 0.0

    @property
    def depends_on_base(self) -> bool:
        """Whether a penalty depends on what the base answers."""
        return max(self.base_agrees, self.base_uncertain) > self.default

    def select(self, consistency: Consistency) -> float:
        """Return the penalty for what the base answered."""
        if any(consistency.agrees):
            return self.base_agrees
        return self.default if consistency.confident else self.base_uncertain


class AbstentionLogitsProcessor:
    """Subtracts a penalty from the end tokens at the first position of an answer.

    Training data holds more queries without a governing edit than the gate lets through; the
    penalty corrects for that prior.

    :param ends: ids of end tokens.
    :param start: position of the answer's first token in a row.
    :param penalty: log-odds.
    """

    def __init__(self, ends: Sequence[int], start: int, penalty: float) -> None:
        self.ends, self.start, self.penalty = list(ends), start, penalty

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores of the next token, float [rows, vocabulary].

        :param input_ids: int64 [rows, tokens].
        :param scores: float [rows, vocabulary].
        """
        if input_ids.shape[1] != self.start:
            return scores
        shifted = scores.clone()
        shifted[:, self.ends] -= self.penalty
        return shifted
