"""The codebook of GRACE: keys with radii, and the values that answer inside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.editors.shared.side_memory import SeparableMemory

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """An edit in the codebook.

    :param id: of the edit.
    :param label: ids of its answer.
    :param key: the layer's input at the last token of the prompt, float32 [d_in].
    :param value: the output instead, float32 [d_out].
    :param radius: of a new key.
    """

    id: str
    label: tuple[int, ...]
    key: torch.Tensor
    value: torch.Tensor
    radius: float


@dataclass(slots=True, eq=False)
class Ball:
    """A key with its radius, and the entry that it answers with."""

    key: torch.Tensor
    radius: float
    entry: Entry


_MARGIN = 1e-5
"""By which two balls that were split are apart."""


class Codebook(SeparableMemory):
    """Entries in order, and the balls that they make: added, expanded and split in turn.

    The balls follow from the entries, so that without one of them they are what they would be had
    it never been there.

    :param entries: in order of editing.
    :param rounding: see :class:`~errata.editors.grace.GraceConfig`.
    """

    def __init__(self, entries: Iterable[Entry], rounding: float) -> None:
        import torch

        self.entries, self.rounding = tuple(entries), rounding
        self.balls: list[Ball] = []
        for entry in self.entries:
            self._place(entry)
        self.keys = torch.stack([ball.key for ball in self.balls])
        self.values = torch.stack([ball.entry.value for ball in self.balls])
        smallest = rounding * self.keys.norm(dim=1)
        self.radii = torch.tensor([ball.radius for ball in self.balls]).maximum(smallest)

    def _place(self, entry: Entry) -> None:
        ball, distance = self.nearest(entry.key)
        if ball is None or distance > ball.radius + entry.radius:
            self.balls.append(Ball(entry.key, entry.radius, entry))
        elif distance <= self.rounding * float(entry.key.norm()):  # the same prompt again
            ball.entry = entry
        elif ball.entry.label == entry.label:
            ball.radius, ball.entry = max(ball.radius, distance), entry
        else:
            ball.radius = min(ball.radius, distance / 2 - _MARGIN)
            self.balls.append(Ball(entry.key, min(entry.radius, distance / 2), entry))

    def nearest(self, key: torch.Tensor) -> tuple[Ball | None, float]:
        """Return the ball with the nearest key, and the distance.

        :param key: float32 [d_in].
        """
        import torch

        if not self.balls:
            return None, float("inf")
        distances = (torch.stack([ball.key for ball in self.balls]) - key).norm(dim=1)
        index = int(distances.argmin())
        return self.balls[index], float(distances[index])

    def start_of(self, entry: Entry) -> torch.Tensor | None:
        """Return the value that an entry would share, because its key is near one of its label."""
        ball, distance = self.nearest(entry.key)
        near = ball is not None and distance <= ball.radius + entry.radius
        return ball.entry.value if ball and near and ball.entry.label == entry.label else None

    def hits(self, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return whether each position lies in a ball, and the index of the nearest key.

        :param query: float [..., d_in].
        :return: bool [...] and int64 [...].
        """
        import torch

        flat = query.detach().reshape(-1, query.shape[-1]).float()
        exact = "donot_use_mm_for_euclid_dist"  # by a product, a key is 1e-3 from itself
        distances = torch.cdist(flat, self.keys.to(query.device), compute_mode=exact)
        smallest, index = distances.min(1)
        hit = smallest <= self.radii.to(query.device)[index]
        return hit.view(query.shape[:-1]), index.view(query.shape[:-1])

    def __call__(self, query: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return the values inside balls, the output itself elsewhere."""
        import torch

        hit, index = self.hits(query)
        if not bool(hit.any()):
            return output
        return torch.where(hit[..., None], self.values.to(output)[index], output)

    def joined(self, later: Codebook) -> Codebook:
        """Return both codebooks as one, the other's entries after these."""
        return Codebook((*self.entries, *later.entries), later.rounding)

    def without(self, ids: Collection[str]) -> Codebook | None:
        """Return the codebook without some edits, None where none remain."""
        kept = [entry for entry in self.entries if entry.id not in ids]
        return Codebook(kept, self.rounding) if kept else None

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return keys and values of the entries."""
        import torch

        return {
            "keys": torch.stack([entry.key for entry in self.entries]),
            "values": torch.stack([entry.value for entry in self.entries]),
        }

    def notes(self) -> dict[str, Any]:
        """Return ids, labels and radii."""
        return {
            "entries": [[entry.id, list(entry.label), entry.radius] for entry in self.entries],
            "rounding": self.rounding,
        }

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], notes: Mapping[str, Any]) -> Codebook:
        """Return the codebook of these tensors and notes."""
        rows = zip(notes["entries"], tensors["keys"], tensors["values"], strict=True)
        entries = [Entry(i, tuple(label), k, v, radius) for (i, label, radius), k, v in rows]
        return cls(entries, notes["rounding"])
