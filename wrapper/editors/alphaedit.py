"""AlphaEdit: many facts at once, in directions that keys of running text hardly have.

Fang et al. 2025, "AlphaEdit: Null-Space Constrained Knowledge Editing for Language Models"
(https://arxiv.org/abs/2410.02355).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError
from errata.editors.shared.covariance import SecondMoment
from errata.editors.shared.memit_config import AlphaEditConfig
from errata.editors.shared.spreading import SpreadingEditor

if TYPE_CHECKING:
    import torch

_REMEMBERED = 8


class AlphaEdit(SpreadingEditor[AlphaEditConfig]):
    """Edits facts together, projected onto the approximate null space of preserved keys.

    The guarantee covers the directions below the threshold: values of keys of running text hardly
    move. Single stored facts are no directions, and may.

    Parameters are those of :class:`~errata.editors.shared.located.LocatedEditor`, and the options
    of :class:`~errata.editors.shared.memit_config.AlphaEditConfig`.
    """

    name = "alphaedit"
    config_class = AlphaEditConfig

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # with the editor they go: a projector of a model of 7 billion has a gigabyte
        self._projectors: OrderedDict[tuple[str, float, float | None], torch.Tensor] = OrderedDict()

    def update(
        self,
        moment: SecondMoment,
        keys: torch.Tensor,
        residual: torch.Tensor,
        known: torch.Tensor,
        config: AlphaEditConfig,
    ) -> torch.Tensor:
        """Return the update of one layer.

        :raises EditError: no direction lies in the null space.
        """
        share, threshold = config.null_space_share, config.null_space_threshold
        key = (moment.key, share, threshold)
        if key not in self._projectors:
            self._projectors[key] = null_space(moment.matrix, share=share, threshold=threshold)
            while len(self._projectors) > _REMEMBERED:
                self._projectors.popitem(last=False)
        return projected_update(self._projectors[key], keys, residual, known, config.l2)


def null_space(
    moment: torch.Tensor, *, share: float, threshold: float | None = None
) -> torch.Tensor:
    """Return the projector P = U₀ U₀ᵀ onto the eigenvectors with the smallest eigenvalues.

    :param moment: C, float64 [d_mlp, d_mlp], symmetric.
    :param share: as many as have this share of tr(C) together.
    :param threshold: instead, those with eigenvalues below this.
    :return: float64 [d_mlp, d_mlp], symmetric and idempotent.
    :raises EditError: there are none, and an edit would do nothing.
    """
    import torch

    values, vectors = torch.linalg.eigh(moment)
    values = values.clamp(min=0)
    if threshold is None:
        chosen = values.cumsum(0) <= share * values.sum()
        bound = f"the smallest with {share:.2%} of the trace together; raise null_space_share"
    else:
        chosen = values < threshold
        bound = f"those below {threshold:g}; raise null_space_threshold"
    if not bool(chosen.any()):
        raise EditError(
            f"expected eigenvalues of the second moment in its null space ({bound}), found none: "
            f"they lie between {float(values[0]):.2g} and {float(values[-1]):.2g}"
        )
    basis = vectors[:, chosen]
    projector: torch.Tensor = basis @ basis.T
    return projector


def projected_update(
    projector: torch.Tensor,
    keys: torch.Tensor,
    residual: torch.Tensor,
    known: torch.Tensor,
    l2: float,
) -> torch.Tensor:
    """Return Δ = R Kᵀ P (K Kᵀ P + K_p K_pᵀ P + β I)⁻¹ (AlphaEdit, equation 14).

    :param projector: P, float64 [d_mlp, d_mlp].
    :param keys: K, float64 [d_mlp, edits].
    :param residual: R, float64 [d, edits].
    :param known: K_p, the keys of earlier edits, float64 [d_mlp, earlier edits].
    :param l2: β.
    :return: float64 [d, d_mlp], with Δ (I − P) = 0.
    """
    import torch

    # With N = P [K, K_p], (N Nᵀ + β I) Δᵀ = P K Rᵀ: P is idempotent, so that Δ P solves the same
    # equation, which is symmetric. The solution lies in the range of P up to rounding.
    both = projector @ torch.cat([keys, known], 1)
    identity = torch.eye(len(projector), dtype=projector.dtype)
    factor = torch.linalg.cholesky(both @ both.T + l2 * identity)
    solved = torch.cholesky_solve(projector @ keys @ residual.T, factor)
    return (projector @ solved).T.contiguous()
