"""Settings of the methods that spread an edit over several layers: MEMIT and AlphaEdit."""

from __future__ import annotations

from dataclasses import dataclass

from errata.cache.errors import EditError
from errata.deprecation import accepts_old_names
from errata.editors.shared.value_config import RENAMED, ValueConfig


@accepts_old_names(RENAMED)
@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadConfig(ValueConfig):
    """What MEMIT and AlphaEdit have in common.

    :param layers: the layers whose down-projections are changed, ascending, from 0; the value is
        searched for in the residual stream after the last.
    """

    layers: tuple[int, ...]
    contexts: tuple[tuple[int, int], ...] = ((10, 5),)


@accepts_old_names(RENAMED)
@dataclass(frozen=True, slots=True, kw_only=True)
class MemitConfig(SpreadConfig):
    """Hyperparameters of MEMIT; see Meng et al. 2023, appendix B.

    :param second_moment_weight: λ / d_mlp, the weight of what is preserved. One edit of one layer
        realises the fraction s / (1 + s) of its residual, with s = kᵀ C⁻¹ k / λ, and kᵀ C⁻¹ k is
        d_mlp for the average key: at 1 it is half.
    """

    second_moment_weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the weight.

        :raises EditError: it is not positive.
        """
        ValueConfig.__post_init__(self)
        if not self.second_moment_weight > 0:
            raise EditError(
                f"expected second_moment_weight above 0, found {self.second_moment_weight}; "
                "small values such as 0.01 preserve little"
            )


@accepts_old_names(RENAMED)
@dataclass(frozen=True, slots=True, kw_only=True)
class AlphaEditConfig(SpreadConfig):
    """Hyperparameters of AlphaEdit; see Fang et al. 2025, appendix A.

    :param null_space_share: the null space is spanned by the eigenvectors of C with the smallest
        eigenvalues, as many as have this share of tr(C) together.
    :param null_space_threshold: instead, by those with eigenvalues below this, as in the published
        code; depends on the scale of the keys.
    :param l2: weight of ‖Δ‖², β.
    """

    null_space_share: float = 0.01
    null_space_threshold: float | None = None
    l2: float = 1.0

    def __post_init__(self) -> None:
        """Check the weights.

        :raises EditError: the share is not between 0 and 1, or ``l2`` is not positive.
        """
        ValueConfig.__post_init__(self)
        if not 0 < self.null_space_share <= 1:
            raise EditError(
                f"expected null_space_share from 0 to 1, found {self.null_space_share}; "
                "0.01 is usual"
            )
        if not self.l2 > 0:
            raise EditError(f"expected l2 above 0, found {self.l2}; 0.1 to 10 is usual")
