"""ENN: a base model trained so that a few steps of gradient descent make an edit, and only that.

Sinitsin et al. 2020, "Editable Neural Networks" (https://arxiv.org/abs/2004.00345). The editor is
gradient descent; what is trained is the model itself, through the steps. So the first edit also
brings the weights that were trained beforehand, and an edited model is to be compared with these
weights before the edit as well as with the base model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from errata.cache.records import Edit
from errata.editing.base import Sequential
from errata.editing.changes import Change, WeightChange
from errata.editors.shared.examples import NO_TARGET, Padded
from errata.editors.shared.learner import (
    Batch,
    Learner,
    Outcome,
    Request,
    Updates,
    batch_of,
    shortfall,
)
from errata.editors.shared.per_edit import logits_with, row_means, target_log_probs
from errata.editors.shared.trained_editor import TrainedConfig, TrainedEditor, changes_of
from errata.module_paths import matrix, stored

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class EnnConfig(TrainedConfig):
    """Hyperparameters of ENN; see Sinitsin et al. 2020, section 3, and MEND's port of it.

    The paper trains all of the model, and edits a part of it; here ``layers`` are both. The seed is
    unused: training begins with the base model.

    :param steps: k, of gradient descent for an edit, at most; an edit that is made takes none.
    :param step_size: α at the beginning of training; learned for each matrix.
    :param edit_loss: by ``margin``, [margin + max log p(y) − log p(y*)]₊, or by ``nll``.
    :param margin: of that loss.
    :param edit_weight: c_edit, of the loss of the edits that were made.
    :param locality_weight: c_loc, of the loss of changes elsewhere.
    :param base_weight: of the divergence from the base model, before any edit.
    :param second_order: let gradients flow through the steps; otherwise the steps count as
        constants (first-order).
    :param learning_rate: of Adam, for the weights.
    :param step_size_rate: of Adam, for ln α.
    """

    steps: int = 3
    step_size: float = 0.1
    edit_loss: Literal["margin", "nll"] = "margin"
    margin: float = 1.0
    edit_weight: float = 0.1
    locality_weight: float = 1.0
    base_weight: float = 1.0
    second_order: bool = True
    learning_rate: float = 1e-4
    step_size_rate: float = 1e-2


class EnnLearner(Learner):
    """The weights before any edit, and the step sizes.

    :param model: a copy of the base model.
    :param tokenizer: its tokenizer.
    :param names: of the modules whose weights are trained and edited.
    :param config: the settings.
    """

    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        names: Sequence[str],
        config: EnnConfig,
    ) -> None:
        super().__init__(model, tokenizer, names)
        self.config = config
        modules = [model.get_submodule(name) for name in self.names]
        self.changes = nn.ParameterList(torch.zeros_like(matrix(each)) for each in modules)
        self.log_step_sizes = nn.Parameter(
            torch.tensor(config.step_size).log().repeat(len(self.names))
        )

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights before any edit, by parameter."""
        found = {}
        for name, change in zip(self.names, self.changes, strict=True):
            module = self.model.get_submodule(name)
            weight: Any = module.weight
            found[f"{name}.weight"] = (weight + stored(module, change)).to(weight.dtype)
        return found

    def use(self, model: GenerativeModel) -> None:
        """Edit the weights of a model that has the trained ones already, with edits or without.

        :param model: the weights of the learner's copy are this model's.
        """
        with torch.no_grad():
            for change in self.changes:
                change.zero_()

    def updates(self, requests: Sequence[Request]) -> Updates:
        """Return the sum of the steps −α ∇l_e of each edit (equation 2)."""
        batch, weights = batch_of(self.model, requests), self.weights()
        dtype, device = self.log_step_sizes.dtype, self.model.device
        found = {
            name: torch.zeros(
                len(requests), *change.shape, dtype=dtype, device=device, requires_grad=True
            )
            for name, change in zip(self.names, self.changes, strict=True)
        }
        training = self.training and self.config.second_order
        for _ in range(self.config.steps):
            with _differentiable_attention(training):
                losses = self._edit_losses(batch, logits_with(self.model, batch, found, weights))
                wrong = losses.detach() > 0
                if not bool(wrong.any()):
                    break
                steps = torch.autograd.grad(
                    losses.sum(), list(found.values()), create_graph=training,
                    retain_graph=self.training,
                )  # fmt: skip
            found = {
                name: update - size.exp() * step * wrong[:, None, None]
                for size, step, (name, update) in zip(
                    self.log_step_sizes, steps, found.items(), strict=True
                )
            }
        return found

    def _edit_losses(self, batch: Padded, logits: torch.Tensor) -> torch.Tensor:
        """Return l_e of each row, [rows]."""
        log_probs, row = target_log_probs(batch, logits)
        labels = batch.labels[batch.labels != NO_TARGET]
        if self.config.edit_loss == "margin":
            values = shortfall(log_probs, labels, self.config.margin)
        else:
            values = -log_probs.gather(1, labels[:, None])[:, 0]
        return row_means(values, row, len(batch.labels))

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return L_base + c_edit l_e + c_loc L_loc (equation 5)."""
        config = self.config
        with _differentiable_attention(config.second_order):
            unedited = Outcome(batch, logits_with(self.model, batch.rows, {}, self.weights()))
            outcome = self.outcome(batch)
            edit = outcome.margins(config.margin)[batch.in_scope].mean()
            return (
                config.base_weight * unedited.kl()
                + config.edit_weight * edit
                + config.locality_weight * outcome.cross_entropy()
            )

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam, with a rate of its own for the step sizes."""
        config = self.config
        return torch.optim.Adam([
            {"params": list(self.changes.parameters()), "lr": config.learning_rate},
            {"params": [self.log_step_sizes], "lr": config.step_size_rate},
        ])  # fmt: skip


MARK = "trained beforehand"
"""In the memory of the changes that bring the trained weights."""


class Enn(TrainedEditor[EnnConfig], Sequential):
    """Edits facts by gradient descent in weights that were trained for it.

    Edits of one plan are summed, each from the weights before it.
    """

    name = "enn"
    config_class = EnnConfig
    learner_class = EnnLearner

    def before_edits(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase
    ) -> list[WeightChange]:
        """Return the changes from the base model to the weights before any edit."""
        learner = self.learner(model, tokenizer)
        trained = {name: update.detach() for name, update in _trained(learner).items()}
        return [
            WeightChange(change.name, change.delta, {MARK: torch.ones(())})
            for change in changes_of(learner.model, trained)
        ]

    def plan_after(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
        earlier: Sequence[Change],
    ) -> list[WeightChange]:
        """Return the updates of all edits, the first time after the weights trained beforehand.

        :param earlier: the changes that are in the model already, of this editor.
        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: an unknown or quantised model, or one that the
            editor was not trained for.
        """
        requests = self._requests(model, tokenizer, edits)
        learner = self.learner(model, tokenizer)
        done = any(isinstance(c, WeightChange) and MARK in c.memory for c in earlier)
        first = [] if done else self.before_edits(model, tokenizer)
        if done and isinstance(learner, EnnLearner):
            learner.use(model)
        return [*first, *self._changes(learner, requests, self.config_for(model).batch_size)]

    def plan(
        self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, edits: Sequence[Edit]
    ) -> list[WeightChange]:
        """Return the changes that make the first edits; as :meth:`plan_after`."""
        return self.plan_after(model, tokenizer, edits, ())


def _trained(learner: Learner) -> dict[str, torch.Tensor]:
    """Return what was trained beforehand, by module, [d_out, d_in]."""
    if not isinstance(learner, EnnLearner):
        raise TypeError(f"expected the learner of enn, found {type(learner).__name__}")
    return dict(zip(learner.names, learner.changes, strict=True))


def _differentiable_attention(second_order: bool) -> Any:
    """Return a context in which attention has second derivatives, which fused kernels have not."""
    from contextlib import nullcontext

    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH) if second_order else nullcontext()
