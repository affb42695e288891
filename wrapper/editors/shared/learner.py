"""What training an editor changes, and what every trained editor is judged by.

A *learner* turns edits into updates of weights, and has parameters that are trained so that the
updates make the edits, reach their rewordings, and leave unrelated questions as they were.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn

from errata.editors.shared.examples import Example, Padded, padded, prompt_ids, target_ids
from errata.editors.shared.per_edit import logits_with, row_means, target_log_probs
from errata.editors.shared.prompts import end_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.editing.base import TrainingEdit
    from errata.generation.base_model import GenerativeModel

Updates = Mapping[str, torch.Tensor]
"""By module, Δ of each edit, float [edits, d_out, d_in]."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an editor is told of an edit.

    :param question: its question.
    :param example: prompt and new answer.
    """

    question: str
    answer: str
    example: Example


class Batch:
    """Edits to learn from, each by itself, with their rewordings and unrelated questions.

    :param model: the base model; of an edit as many rewordings and unrelated questions are taken
        as the edit with the fewest has.
    :param tokenizer: its tokenizer.
    :param edits: at least one.
    """

    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[TrainingEdit],
    ) -> None:
        self.model, ends = model, tuple(end_ids(model))

        def example(question: str, answer: str) -> Example:
            target = target_ids(model, tokenizer, question, answer)
            return Example(prompt_ids(tokenizer, question), (*target, *ends))

        self.requests = [
            Request(e.fact.question, e.fact.answer, example(e.fact.question, e.fact.answer))
            for e in edits
        ]
        rewordings = min(len(edit.rewordings) for edit in edits)
        unrelated = min(len(edit.unrelated) for edit in edits)
        rows: list[Example] = []
        for edit, request in zip(edits, self.requests, strict=True):
            rows.append(request.example)
            rows += [example(text, edit.fact.answer) for text in edit.rewordings[:rewordings]]
            rows += [example(*pair) for pair in edit.unrelated[:unrelated]]
        each = 1 + rewordings + unrelated
        self.rows = padded(model, rows)
        place = torch.arange(len(rows), device=model.device) % each
        self.in_scope = place <= rewordings
        """Rows of the edits and their rewordings; the others are unrelated, bool [rows]."""
        self.is_edit = place == 0
        """Rows of the edits' own questions, bool [rows]."""

    @cached_property
    def before(self) -> torch.Tensor:
        """Log-probabilities of the unedited model at the answers, [positions, vocabulary]."""
        with torch.no_grad():
            return target_log_probs(self.rows, logits_with(self.model, self.rows, {}))[0]


class Outcome:
    """What the edited models say to the rows of a batch.

    :param batch: the batch.
    :param logits: of its rows, each under its own edit, float [rows, tokens, vocabulary].
    :param before: log-probabilities to compare with; by default the base model's.
    """

    def __init__(
        self, batch: Batch, logits: torch.Tensor, before: torch.Tensor | None = None
    ) -> None:
        self.batch, rows = batch, batch.rows
        self.log_probs, self.row = target_log_probs(rows, logits)
        self.before = batch.before if before is None else before
        self.labels = rows.labels[rows.labels != -100]

    def nll(self) -> torch.Tensor:
        """Return the mean loss of the edits' and rewordings' answers, in nats a token."""
        nll = -self.log_probs.gather(1, self.labels[:, None])[:, 0]
        return self._means(nll)[self.batch.in_scope].mean()

    def margins(self, margin: float) -> torch.Tensor:
        """Return [margin + max over y ≠ y* of log p(y) − log p(y*)]₊, means of the rows, [rows]."""
        return self._means(shortfall(self.log_probs, self.labels, margin))

    def kl(self) -> torch.Tensor:
        """Return KL(before ‖ after) of unrelated answers, mean a token, in nats."""
        divergence = (self.before.exp() * (self.before - self.log_probs)).sum(-1)
        return self._means(divergence)[~self.batch.in_scope].mean()

    def cross_entropy(self) -> torch.Tensor:
        """Return the cross-entropy of before and after, over unrelated answers, in nats."""
        entropy = -(self.before.exp() * self.log_probs).sum(-1)
        return self._means(entropy)[~self.batch.in_scope].mean()

    def right(self) -> torch.Tensor:
        """Return which rows have every token of their answer as the likeliest, bool [rows]."""
        return self._means((self.log_probs.argmax(-1) == self.labels).float()) == 1

    def same(self) -> torch.Tensor:
        """Return which rows have the likeliest tokens of the unedited model, bool [rows]."""
        equal = self.log_probs.argmax(-1) == self.before.argmax(-1)
        return self._means(equal.float()) == 1

    def _means(self, values: torch.Tensor) -> torch.Tensor:
        return row_means(values, self.row, len(self.batch.rows.labels))


def shortfall(log_probs: torch.Tensor, labels: torch.Tensor, margin: float) -> torch.Tensor:
    """Return [margin + max over y ≠ y* of log p(y) − log p(y*)]₊ (Sinitsin et al. 2020, eq. 3).

    :param log_probs: float [positions, vocabulary].
    :param labels: y*, int64 [positions].
    """
    own = log_probs.gather(1, labels[:, None])[:, 0]
    others = log_probs.scatter(1, labels[:, None], float("-inf")).max(-1).values
    return (margin + others - own).relu()


class Learner(nn.Module):
    """The trained part of an editor, for one base model.

    :param model: a copy of the base model without gradients, of which it holds no parameter.
    :param tokenizer: its tokenizer.
    :param names: of the modules whose weights are edited.
    """

    def __init__(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, names: Sequence[str]
    ) -> None:
        super().__init__()
        self._base = (model, tokenizer)  # in a tuple, so that it is no submodule
        self.names = tuple(names)

    @property
    def model(self) -> GenerativeModel:
        """The base model."""
        return self._base[0]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Its tokenizer."""
        return self._base[1]

    @abstractmethod
    def updates(self, requests: Sequence[Request]) -> Updates:
        """Return the updates of each edit by itself, with gradients of the learner's parameters."""

    @abstractmethod
    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the training loss of a batch."""

    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """Return a new optimizer of the learner's parameters."""

    def weights(self) -> dict[str, torch.Tensor]:
        """Return values in place of the base model's own, by parameter: those before any edit."""
        return {}

    def after_step(self) -> None:
        """Do what follows a step of the optimizer, such as projecting a parameter."""

    def after_validation(self, success: float) -> None:
        """Do what follows a validation.

        :param success: share of the edits' answers that come out.
        """

    def outcome(self, batch: Batch) -> Outcome:
        """Return what the edited models say to a batch, compared with their own unedited one."""
        before = None
        weights = self.weights()
        if weights:
            with torch.no_grad():
                logits = logits_with(self.model, batch.rows, {}, weights)
                before = target_log_probs(batch.rows, logits)[0]
        updates = self.updates(batch.requests)
        return Outcome(batch, logits_with(self.model, batch.rows, updates, weights), before)


def batch_of(model: GenerativeModel, requests: Sequence[Request]) -> Padded:
    """Return the prompts and answers of edits, one row each."""
    return padded(model, [request.example for request in requests])
