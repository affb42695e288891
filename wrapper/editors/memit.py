"""MEMIT: many facts at once, spread over the feed-forward layers of several blocks.

Meng et al. 2023, "Mass-Editing Memory in a Transformer" (https://arxiv.org/abs/2210.07229).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from errata.editors.shared.covariance import SecondMoment
from errata.editors.shared.memit_config import MemitConfig
from errata.editors.shared.spreading import SpreadingEditor

if TYPE_CHECKING:
    import torch


class Memit(SpreadingEditor[MemitConfig]):
    """Edits facts together by least squares in which old keys keep their values softly.

    Parameters are those of :class:`~errata.editors.shared.located.LocatedEditor`, and the options
    of :class:`~errata.editors.shared.memit_config.MemitConfig`.
    """

    name = "memit"
    config_class = MemitConfig

    def update(
        self,
        moment: SecondMoment,
        keys: torch.Tensor,
        residual: torch.Tensor,
        known: torch.Tensor,
        config: MemitConfig,
    ) -> torch.Tensor:
        """Return the update of one layer; to keys of earlier edits nothing is to be added."""
        preserved = config.second_moment_weight * len(keys) * moment.regularised(config.ridge)
        return ridge_update(preserved + known @ known.T, keys, residual)


def ridge_update(
    preserved: torch.Tensor, keys: torch.Tensor, residual: torch.Tensor
) -> torch.Tensor:
    """Return Δ = R Kᵀ (S + K Kᵀ)⁻¹ (MEMIT, equation 14), which minimises ‖Δ K − R‖² + tr(Δ S Δᵀ).

    :param preserved: S, λ C and what else is preserved, float64 [d_mlp, d_mlp], positive definite.
    :param keys: K, float64 [d_mlp, edits].
    :param residual: R, float64 [d, edits].
    :return: float64 [d, d_mlp], of rank at most the number of edits.
    """
    import torch

    factor = torch.linalg.cholesky(preserved + keys @ keys.T)
    return torch.cholesky_solve(keys @ residual.T, factor).T.contiguous()
