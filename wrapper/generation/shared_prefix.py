"""Prompts that begin alike: the tokens that they share are read once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from errata.generation.base_model import unwrapped

if TYPE_CHECKING:
    from errata.generation.base_model import GenerativeModel


def shared_length(rows: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all rows begin with, less than the length of any.

    A single row shares nothing.
    """
    if len(rows) < 2:
        return 0
    room = min(map(len, rows)) - 1
    same = takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    return max(0, min(room, sum(1 for _ in same)))


def is_worth_sharing(rows: Sequence[Sequence[int]], length: int) -> bool:
    """Return whether most of the tokens of a batch are repetitions of a beginning.

    :param rows: ids of each prompt.
    :param length: of the beginning that they share.
    """
    return 2 * length * (len(rows) - 1) > sum(map(len, rows))


def read_prefix(model: GenerativeModel, ids: Sequence[int], rows: int) -> Any:
    """Return keys and values of tokens that all rows of a batch begin with.

    :param model: a causal model.
    :param ids: the tokens.
    :param rows: of the batch.
    :return: what `transformers` takes as ``past_key_values``.
    """
    import torch

    inner = unwrapped(model).base_model  # without the head: no logits are needed
    tokens = torch.tensor([list(ids)], device=model.device)
    with torch.no_grad():
        past = inner(input_ids=tokens, use_cache=True).past_key_values
    past.batch_repeat_interleave(rows)
    return past
