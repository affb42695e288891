"""MEND: small networks that turn the rank-one parts of a gradient into those of an edit.

Mitchell et al. 2022, "Fast Model Editing at Scale" (https://arxiv.org/abs/2110.11309). The gradient
of a linear layer's weight is Σ_t δ_t u_tᵀ over tokens; networks shared by layers of equal shape
transform each pair (u_t, δ_t), and the update is −α Σ_t δ̃_t ũ_tᵀ. The released code adds where the
paper subtracts, and learns the sign; here the update descends from the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from errata.editors.shared.hypernetwork import Hypernetwork
from errata.editors.shared.learner import Batch, Request, Updates
from errata.editors.shared.per_edit import TokenGradients
from errata.editors.shared.trained_editor import TrainedConfig, TrainedEditor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class MendConfig(TrainedConfig):
    """Hyperparameters of MEND; see Mitchell et al. 2022, section 3 and appendix.

    The paper edits the last three blocks, too. The rate is Adam's, for the networks; the paper
    takes 1e-6 with large models.

    :param rank: of the networks' weights, at most the width of their input. The paper takes 1920
        with models of 1.5 billion and more.
    :param normalise: standardise each coordinate of (u, δ) by its mean and deviation in training.
        They are kept for each layer; the released code keeps them for each shape.
    :param step_size: α at the beginning of training; learned for each matrix. Of an update of
        standardised gradients 1e-3 makes nine in ten edits of atlas before any training; the paper
        begins with 1e-4.
    :param edit_weight: c_e, weight of the loss of the edits beside the divergence elsewhere.
    :param step_size_rate: of Adam, for ln α.
    """

    rank: int = 128
    normalise: bool = True
    step_size: float = 1e-3
    edit_weight: float = 0.1
    step_size_rate: float = 1e-2


class MendLearner(Hypernetwork):
    """The networks, the step sizes, and the statistics of gradients.

    :param model: a copy of the base model.
    :param tokenizer: its tokenizer.
    :param names: of the modules whose weights are edited.
    :param config: the settings.
    """

    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        names: Sequence[str],
        config: MendConfig,
    ) -> None:
        super().__init__(model, tokenizer, names)
        self.config = config
        shapes = [self.shape(name) for name in self.names]
        self.kinds = sorted(set(shapes))
        self.kind_of = [self.kinds.index(shape) for shape in shapes]
        self.networks = nn.ModuleList(
            _Network(sum(kind), config.rank, self.kind_of.count(number))
            for number, kind in enumerate(self.kinds)
        )
        self.statistics = nn.ModuleList(_Standardised(sum(shape)) for shape in shapes)
        start = torch.tensor(config.step_size).log()
        self.log_step_sizes = nn.Parameter(start.repeat(len(self.names)))

    def updates(self, requests: Sequence[Request]) -> Updates:
        """Return −α Σ_t δ̃_t ũ_tᵀ of each edit (equations 3 and 4)."""
        return {
            name: -size.exp() * self.pseudo_gradient(number, tokens)
            for number, (size, (name, tokens)) in enumerate(
                zip(self.log_step_sizes, self.gradients_of(requests).items(), strict=True)
            )
        }

    def pseudo_gradient(self, number: int, tokens: TokenGradients) -> torch.Tensor:
        """Return Σ_t δ̃_t ũ_tᵀ, [edits, d_out, d_in].

        :param number: of the module.
        :param tokens: its gradients; padding and tokens without a gradient change nothing.
        """
        used = tokens.used
        pair = torch.cat([tokens.inputs, tokens.deltas], -1).to(self.log_step_sizes.dtype)
        if self.config.normalise:
            pair = self.statistics[number](pair, used)
        kind = self.kind_of[number]
        changed: torch.Tensor = self.networks[kind](pair, self.kind_of[:number].count(kind))
        changed = changed * used[..., None]
        width = tokens.inputs.shape[-1]
        return changed[..., width:].mT @ changed[..., :width]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return c_e L_e + L_loc (equation 5): rewordings' loss, and divergence elsewhere."""
        outcome = self.outcome(batch)
        return self.config.edit_weight * outcome.nll() + outcome.kl()

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam, with a rate of its own for the step sizes."""
        config = self.config
        return torch.optim.Adam([
            {"params": list(self.networks.parameters()), "lr": config.learning_rate},
            {"params": [self.log_step_sizes], "lr": config.step_size_rate},
        ])  # fmt: skip


class Mend(TrainedEditor[MendConfig]):
    """Edits facts by transformed gradients; edits of one plan are summed."""

    name = "mend"
    config_class = MendConfig
    learner_class = MendLearner


class _Network(nn.Module):
    """Two residual layers of low rank, with a scale and an offset for each layer edited.

    h = z + ReLU(s₁ ⊙ (U₁ V₁ z + b₁) + o₁), g = h + ReLU(s₂ ⊙ (U₂ V₂ h + b₂) + o₂). U begins as
    0, so that g = z; the ReLU passes a gradient at 0.

    :param width: of z.
    :param rank: of U V, at most.
    :param layers: how many share it.
    """

    def __init__(self, width: int, rank: int, layers: int) -> None:
        super().__init__()
        rank = min(rank, width)
        self.up = nn.Parameter(torch.zeros(2, width, rank))
        self.down = nn.Parameter(torch.randn(2, rank, width) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(2, width))
        self.scale = nn.Parameter(torch.ones(layers, 2, width))
        self.offset = nn.Parameter(torch.zeros(layers, 2, width))

    def forward(self, values: torch.Tensor, layer: int) -> torch.Tensor:
        """Return g, of the shape of z."""
        for i in range(2):
            inner = values @ self.down[i].T @ self.up[i].T + self.bias[i]
            # clamp's gradient at its bound is 1, ReLU's is 0
            values = values + (self.scale[layer, i] * inner + self.offset[layer, i]).clamp(min=0)
        return values


class _Standardised(nn.Module):
    """Standardises coordinates by running statistics, which training updates.

    :param width: how many coordinates.
    """

    count: torch.Tensor
    mean: torch.Tensor
    squares: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("squares", torch.zeros(width))

    def forward(self, values: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
        """Return (values − mean) / deviation; the values where fewer than two rows were seen.

        :param values: [edits, tokens, width].
        :param used: the rows that count, bool [edits, tokens].
        """
        if self.training:
            self._update(values[used])
        if self.count < 2:
            return values
        deviation = (self.squares / (self.count - 1)).sqrt()
        return (values - self.mean) / (deviation + _LEAST)

    def _update(self, rows: torch.Tensor) -> None:
        """Add rows to mean and sum of squares (Chan et al.'s form of Welford's)."""
        if not len(rows):
            return
        total = self.count + len(rows)
        mean = rows.mean(0)
        apart = mean - self.mean
        self.squares += (rows - mean).square().sum(0) + apart.square() * (
            self.count * len(rows) / total
        )
        self.mean += apart * (len(rows) / total)
        self.count.copy_(total)


_LEAST = 1e-7  # below which a deviation is one of rounding, as in the released code
