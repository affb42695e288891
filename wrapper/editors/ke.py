"""KnowledgeEditor: a hypernetwork that reads an edit and masks its gradient.

De Cao et al. 2021, "Editing Factual Knowledge in Language Models"
(https://arxiv.org/abs/2104.08164). The text "old >> new || question" conditions, for each matrix, a
gate, a mask of rank one on the gradient, and a shift of rank one. Training is constrained: the
edits' loss falls while the divergence elsewhere is held under a margin by a Lagrange multiplier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from errata.editors.shared.examples import prompt_ids
from errata.editors.shared.hypernetwork import Hypernetwork
from errata.editors.shared.learner import Batch, Request, Updates
from errata.editors.shared.trained_editor import TrainedConfig, TrainedEditor
from errata.generation.free_generation import AnswerGenerator

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class KeConfig(TrainedConfig):
    """Hyperparameters of KnowledgeEditor; see De Cao et al. 2021, section 4 and appendix.

    The paper edits all matrices of the model. The rate is that of RMSprop, centred.

    :param state_size: of the LSTM, each way.
    :param condition_size: of the vector that conditions an edit (1,024 in the paper).
    :param hidden_size: of the layer before each matrix' parameters (128 in the paper).
    :param scale: s, of all updates, for each row of a matrix: the softmax over rows then is 1 in
        the mean. γ begins at 1 and δ near 0, so that the update begins as a step of plain descent
        of half this size. (The paper has s = 1, draws both at random, and takes 200,000 steps.)
    :param margin: the divergence elsewhere that is allowed when training begins, in nats a token.
    :param least_margin: it falls to this.
    :param margin_decay: factor of the margin at a validation that it falls at.
    :param target_success: success at a validation above which the margin falls.
    :param multiplier_rate: of the ascent of the Lagrange multiplier.
    :param answer_tokens: of the model's old answer, at most.
    """

    state_size: int = 128
    condition_size: int = 128
    hidden_size: int = 64
    scale: float = 0.6
    margin: float = 0.1
    least_margin: float = 1e-3
    margin_decay: float = 0.8
    target_success: float = 0.9
    multiplier_rate: float = 0.1
    answer_tokens: int = 12


class KeLearner(Hypernetwork):
    """The hypernetwork, and the multiplier of its constraint.

    :param model: a copy of the base model, whose input embeddings the LSTM reads.
    :param tokenizer: its tokenizer.
    :param names: of the modules whose weights are edited.
    :param config: the settings.
    """

    margin: torch.Tensor

    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        names: Sequence[str],
        config: KeConfig,
    ) -> None:
        super().__init__(model, tokenizer, names)
        self.config = config
        embeddings: Any = model.get_input_embeddings()
        width = embeddings.weight.shape[1]
        self.lstm = nn.LSTM(width, config.state_size, bidirectional=True, batch_first=True)
        self.condition = nn.Linear(2 * config.state_size, config.condition_size)
        self.heads = nn.ModuleList(_head(config, *self.shape(name)) for name in self.names)
        self.multiplier = nn.Parameter(torch.ones(()))
        self.register_buffer("margin", torch.tensor(config.margin))
        self._answers: dict[str, str] = {}
        self._generator = AnswerGenerator(model, tokenizer, config.answer_tokens, 64)

    def updates(self, requests: Sequence[Request]) -> Updates:
        """Return −s σ(η) (A ⊙ ∇L + B) of each edit (equation 4)."""
        condition = self.condition_of(requests)
        return {
            name: -self.config.scale * self.shift(number, condition, tokens.weight_gradients())
            for number, (name, tokens) in enumerate(self.gradients_of(requests).items())
        }

    def shift(self, number: int, condition: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
        """Return σ(η) (A ⊙ ∇L + B), [edits, d_out, d_in].

        A = softmax(α) γᵀ and B = softmax(β) δᵀ, of rank one; softmax over the rows of the matrix,
        times their number.

        :param number: of the module.
        :param condition: of each edit, [edits, condition_size].
        :param gradients: ∇L, [edits, d_out, d_in].
        """
        out, into = gradients.shape[1:]
        alpha, beta, gamma, delta, eta = self.heads[number](condition).split(
            [out, out, into, into, 1], -1
        )
        gate: torch.Tensor = eta.sigmoid()[..., None]
        mask = out * alpha.softmax(-1)[:, :, None] * gamma[:, None]
        shift = out * beta.softmax(-1)[:, :, None] * delta[:, None]
        changed: torch.Tensor = gate * (mask * gradients.to(mask.dtype) + shift)
        return changed

    def condition_of(self, requests: Sequence[Request]) -> torch.Tensor:
        """Return tanh of a linear map of the LSTM's last states, [edits, condition_size].

        :param requests: read as "old >> new || question"; old is what the model says now.
        """
        texts = [
            f"{old} >> {request.answer} || {request.question}"
            for request, old in zip(requests, self._old_answers(requests), strict=True)
        ]
        ids = [torch.tensor(prompt_ids(self.tokenizer, text)) for text in texts]
        embed = self.model.get_input_embeddings()
        dtype = self.multiplier.dtype
        # cloned: those of a model made in inference mode cannot be part of a graph
        vectors = [embed(row.to(self.model.device)).detach().to(dtype).clone() for row in ids]
        packed = nn.utils.rnn.pack_sequence(vectors, enforce_sorted=False)
        _, (state, _) = self.lstm(packed)
        both = state.transpose(0, 1).reshape(len(texts), -1)
        found: torch.Tensor = self.condition(both).tanh()
        return found

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return NLL + λ (KL − m), whose gradient descends everywhere but in λ."""
        outcome = self.outcome(batch)
        beyond = outcome.kl() - self.margin
        ascent = -self.multiplier * beyond.detach()
        return outcome.nll() + self.multiplier.detach() * beyond + ascent - ascent.detach()

    def optimizer(self) -> torch.optim.Optimizer:
        """Return centred RMSprop, with a rate of its own for the multiplier."""
        config = self.config
        others = [p for p in self.parameters() if p is not self.multiplier]
        return torch.optim.RMSprop(
            [
                {"params": others, "lr": config.learning_rate},
                {"params": [self.multiplier], "lr": config.multiplier_rate},
            ],
            centered=True,
        )

    def after_step(self) -> None:
        """Keep the multiplier at 0 or above."""
        with torch.no_grad():
            self.multiplier.clamp_(min=0)

    def after_validation(self, success: float) -> None:
        """Lower the margin where the edits succeed."""
        if success > self.config.target_success:
            lower = float(self.margin) * self.config.margin_decay
            self.margin.fill_(max(self.config.least_margin, lower))

    def _old_answers(self, requests: Sequence[Request]) -> list[str]:
        """Return what the model answers; in training its answers do not change."""
        if not self.training:
            self._answers = {}
        asked = dict.fromkeys(r.question for r in requests)
        new = [question for question in asked if question not in self._answers]
        answers = self._generator.answer(new) if new else []
        self._answers |= {q: found.text for q, found in zip(new, answers, strict=True)}
        return [self._answers[request.question] for request in requests]


class KnowledgeEditor(TrainedEditor[KeConfig]):
    """Edits facts by masked gradients; edits of one plan are summed."""

    name = "ke"
    config_class = KeConfig
    learner_class = KeLearner


def _head(config: KeConfig, out: int, into: int) -> nn.Sequential:
    """Return the network from the condition to α, β, γ, δ and η of a matrix."""
    first = nn.Linear(config.condition_size, config.hidden_size)
    last = nn.Linear(config.hidden_size, 2 * (out + into) + 1)
    with torch.no_grad():
        last.weight[2 * out :] *= _NEAR_ZERO
        last.bias[2 * out :] = 0.0
        last.bias[2 * out : 2 * out + into] = 1.0
    return nn.Sequential(weight_norm(first), nn.Tanh(), weight_norm(last))


_NEAR_ZERO = 0.01  # not 0: the direction of a weight-normed row has to be defined
