"""The loss of a reasoner: cross-entropy of the answer's tokens, given edits and query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


def group_loss(model: GenerativeModel, batch: Sequence[Sequence[TokenizedExample]]) -> torch.Tensor:
    r"""Return the mean cross-entropy of answer tokens of groups with a common beginning.

    The examples of a group are one row: the ids that all their prompts begin with, then the rest of
    each prompt with its answer. A token attends to the common ids and to its own example only, and
    its position is that after the common ids, so that the loss equals :func:`answer_loss` of the
    examples one by one; the common ids are computed once.

    :param model: a causal model, in training.
    :param batch: groups of examples.
    """
    import torch
    from torch.nn.functional import cross_entropy

    rows = [_packed(group) for group in batch]
    width = max(len(row.ids) for row in rows)
    shape = (len(rows), width)
    ids, positions = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    part = torch.full(shape, -1)
    labels = torch.full(shape, -100)
    for i, row in enumerate(rows):
        n = len(row.ids)
        ids[i, :n], positions[i, :n] = torch.tensor(row.ids), torch.tensor(row.positions)
        part[i, :n], labels[i, :n] = torch.tensor(row.parts), torch.tensor(row.labels)
    own = part[:, :, None] == part[:, None, :]
    common = part[:, None, :] == 0
    seen = (own | common) & torch.ones(width, width, dtype=torch.bool).tril()
    device = model.device
    mask = torch.zeros(seen.shape, dtype=model.dtype).masked_fill(
        ~seen, torch.finfo(model.dtype).min
    )
    causal: Any = model
    hidden = causal.get_decoder()(
        input_ids=ids.to(device), position_ids=positions.to(device),
        attention_mask=mask[:, None].to(device), use_cache=False,
    ).last_hidden_state  # fmt: skip
    kept = (labels != -100).to(device)
    logits = causal.get_output_embeddings()(hidden[kept]).float()
    return cross_entropy(logits, labels.to(device)[kept])


@dataclass(frozen=True, slots=True)
class _Row:
    """A group as one row: ids, positions, number of the example (0: common), label of the next."""

    ids: list[int]
    positions: list[int]
    parts: list[int]
    labels: list[int]


def _packed(group: Sequence[TokenizedExample]) -> _Row:
    first = group[0].prompt
    longest = min(len(one.prompt) for one in group) - 1
    common = next(
        (i for i in range(longest) if any(one.prompt[i] != first[i] for one in group)), longest
    )
    row = _Row(list(first[:common]), [*range(common)], [0] * common, [-100] * common)
    for number, one in enumerate(group, start=1):
        rest = [*one.prompt[common:], *one.answer[:-1]]
        row.ids.extend(rest)
        row.positions.extend(range(common, common + len(rest)))
        row.parts.extend([number] * len(rest))
        row.labels.extend([-100] * (len(rest) - len(one.answer)) + list(one.answer))
    return row
