"""How readily a reader says that no edit bears on a query, by saying nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Reluctance:
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
