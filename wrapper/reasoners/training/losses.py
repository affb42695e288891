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


def group_loss(
    model: GenerativeModel,
    batch: Sequence[Sequence[TokenizedExample]],
    end: int | None = None,
    decision_weight: float = 0.0,
) -> torch.Tensor:
    r"""Return the mean cross-entropy of answer tokens of groups with a common beginning.

    The examples of a group are one row: the ids that all their prompts begin with, then the rest of
    each prompt with its answer. A token attends to the common ids and to its own example only, and
    its position is that after the common ids, so that the loss equals :func:`answer_loss` of the
    examples one by one; the common ids are computed once.

    To that is added the mean binary cross-entropy of the decision that no edit governs the query,
    whose probability is that of the end token in the first place: among the tokens of all answers
    that one counts for little.

    :param model: a causal model, in training.
    :param batch: groups of examples.
    :param end: the end token, which an empty answer consists of; None: no decision is learned.
    :param decision_weight: of the decision, beside 1 of the answer's tokens.
    """
    import torch
    from torch.nn.functional import cross_entropy

    rows = [_packed(group) for group in batch]
    width = max(len(row.ids) for row in rows)
    shape = (len(rows), width)
    ids, positions = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    part = torch.full(shape, -1)
    labels, empty = torch.full(shape, -100), torch.full(shape, -1)
    for i, row in enumerate(rows):
        n = len(row.ids)
        ids[i, :n], positions[i, :n] = torch.tensor(row.ids), torch.tensor(row.positions)
        part[i, :n], labels[i, :n] = torch.tensor(row.parts), torch.tensor(row.labels)
        for place, answer in row.answers:
            empty[i, place] = int(list(answer) == [end])
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
    loss = cross_entropy(logits, labels.to(device)[kept])
    if end is None or not decision_weight:
        return loss
    decided = empty.to(device)[kept]
    return loss + decision_weight * _decision_loss(
        logits[decided >= 0], decided[decided >= 0] == 1, end
    )


def _decision_loss(logits: torch.Tensor, empty: torch.Tensor, end: int) -> torch.Tensor:
    """Return the mean binary cross-entropy of an empty answer.

    :param logits: of the first token of each answer, float [n, vocabulary].
    :param empty: whether the answer is empty, bool [n].
    :param end: the end token.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    others = logits.clone()
    others[:, end] = -torch.inf
    log_odds = logits[:, end] - others.logsumexp(-1)
    return binary_cross_entropy_with_logits(log_odds, empty.to(log_odds.dtype))


@dataclass(frozen=True, slots=True)
class _Row:
    """A group as one row: ids, positions, number of the example (0: common), label of the next.

    ``answers`` has the place that predicts the first token of each answer, and the answer.
    """

    ids: list[int]
    positions: list[int]
    parts: list[int]
    labels: list[int]
    answers: list[tuple[int, Sequence[int]]]


def _packed(group: Sequence[TokenizedExample]) -> _Row:
    first = group[0].prompt
    longest = min(len(one.prompt) for one in group) - 1
    common = next(
        (i for i in range(longest) if any(one.prompt[i] != first[i] for one in group)), longest
    )
    row = _Row(list(first[:common]), [*range(common)], [0] * common, [-100] * common, [])
    for number, one in enumerate(group, start=1):
        rest = [*one.prompt[common:], *one.answer[:-1]]
        row.ids.extend(rest)
        row.positions.extend(range(common, common + len(rest)))
        row.parts.extend([number] * len(rest))
        row.labels.extend([-100] * (len(rest) - len(one.answer)) + list(one.answer))
        row.answers.append((len(row.ids) - len(one.answer), one.answer))
    return row
