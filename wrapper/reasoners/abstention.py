"""How readily a reader says that no edit bears on a query, by saying nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from errata.reasoners.base_consistency import Consistency


@dataclass(frozen=True, slots=True)
class AbstentionPenalties:
    """Log-odds taken off saying nothing, by what the base model makes of the query.

    :param usual: by itself, and where the base, asked, is sure of an answer of its own.
    :param agreeing: where it answers the query as it answers an edit's own question.
    :param unsure: where it has no answer that it is sure of: its silence would help nobody.
    """

    usual: float = 0.0
    agreeing: float = 0.0
    unsure: float = 0.0

    @property
    def heeds_the_base(self) -> bool:
        """Whether anything depends on what the base makes of a query."""
        return max(self.agreeing, self.unsure) > self.usual

    def after(self, belief: Consistency) -> float:
        """Return the one that holds after the base was asked."""
        if any(belief.alike):
            return self.agreeing
        return self.usual if belief.sure else self.unsure


class AbstentionPenalty:
    """A logits processor that makes an answer's end less likely at its beginning.

    A reader in training sees as many queries that no edit concerns as teach it well, in use as
    many as the gate lets through: the prior differs, and is set by this shift of the log-odds.

    :param ends: ids of end tokens.
    :param start: where the answer begins in a row, in tokens.
    :param shift: log-odds taken off.
    """

    def __init__(self, ends: Sequence[int], start: int, shift: float) -> None:
        self.ends, self.start, self.shift = list(ends), start, shift

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores of the next token, float [rows, vocabulary].

        :param input_ids: int64 [rows, tokens].
        :param scores: float [rows, vocabulary].
        """
        if input_ids.shape[1] != self.start:
            return scores
        shifted = scores.clone()
        shifted[:, self.ends] -= self.shift
        return shifted
