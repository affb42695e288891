"""The loss of a reasoner in training: the answer's tokens, given edits and query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.reasoners.answer_logits import answer_logits

if TYPE_CHECKING:
    import torch

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True)
class Item:
    """A lesson as ids.

    :param prompt: edits and query.
    :param answer: the answer, the end token last; the end token alone stands for no answer.
    """

    prompt: Sequence[int]
    answer: Sequence[int]


def loss_of(student: GenerativeModel, items: Sequence[Item]) -> torch.Tensor:
    r"""Return the mean cross-entropy of answer tokens, :math:`CE(y \mid e, x)`.

    :param student: what is trained.
    :param items: a batch.
    """
    import torch
    from torch.nn.functional import cross_entropy

    logits = answer_logits(student, [(item.prompt, item.answer) for item in items])
    wanted = torch.tensor([t for item in items for t in item.answer], device=logits.device)
    return cross_entropy(logits, wanted)
