"""The loss of a reasoner: cross-entropy of the answer's tokens, given edits and query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.reasoners.answer_logits import answer_logits

if TYPE_CHECKING:
    import torch

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """An example as ids.

    :param prompt: edits and query.
    :param answer: the answer, then the end token; the end token only for an empty answer.
    """

    prompt: Sequence[int]
    answer: Sequence[int]


def answer_loss(model: GenerativeModel, batch: Sequence[TokenizedExample]) -> torch.Tensor:
    r"""Return the mean cross-entropy of answer tokens, :math:`CE(y \mid e, x)`.

    :param model: the model in training.
    :param batch: a batch.
    """
    import torch
    from torch.nn.functional import cross_entropy

    logits = answer_logits(model, [(one.prompt, one.answer) for one in batch])
    labels = torch.tensor([token for one in batch for token in one.answer], device=logits.device)
    return cross_entropy(logits, labels)
