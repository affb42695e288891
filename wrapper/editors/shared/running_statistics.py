"""Mean and standard deviation of rows that come in parts (Chan et al. 1979)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class RunningStatistics:
    """Statistics of all rows so far.

    :param count: number of rows, float64, a scalar.
    :param mean: float64 [d].
    :param squares: sum of squared differences from the mean, float64 [d].
    """

    count: torch.Tensor
    mean: torch.Tensor
    squares: torch.Tensor

    @classmethod
    def empty(cls, width: int) -> RunningStatistics:
        """Return the statistics of no rows."""
        import torch

        zeros = torch.zeros(width, dtype=torch.float64)
        return cls(torch.zeros((), dtype=torch.float64), zeros, zeros)

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor]) -> RunningStatistics | None:
        """Return what :meth:`tensors` gave, None where it is not there."""
        if not {"count", "mean", "squares"} <= tensors.keys():
            return None
        return cls(tensors["count"], tensors["mean"], tensors["squares"])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the statistics by name."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def updated(self, rows: torch.Tensor) -> RunningStatistics:
        """Return the statistics with more rows.

        :param rows: float64 [rows, d], at least one.
        """
        more, mean = len(rows), rows.mean(0)
        total = self.count + more
        apart = mean - self.mean
        squares = (rows - mean).square().sum(0) + apart.square() * self.count * more / total
        return RunningStatistics(total, self.mean + apart * more / total, self.squares + squares)

    def standardised(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows less the mean, by the standard deviation; 0 where nothing varies.

        :param rows: float64 [rows, d].
        """
        import torch

        deviation = (self.squares / (self.count - 1).clamp(min=1)).sqrt()
        varies = deviation > 1e-12 * self.mean.abs().clamp(min=1e-300)
        return torch.where(varies, (rows - self.mean) / deviation.where(varies, 1.0), 0.0)
