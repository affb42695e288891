"""Training on edits: shuffled epochs over all of them, only the answers' tokens count.

The pipeline that makes plain fine-tuning a strong baseline (LocFT-BF, arXiv:2509.22072): not edit
by edit until each is learned, but round by round over all, in mini-batches.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from errata.editors.shared.config import Tuning
from errata.editors.shared.examples import Example

if TYPE_CHECKING:
    import torch

Losses = Callable[[Sequence[Example]], "torch.Tensor"]


def train(
    parameters: Sequence[torch.Tensor],
    examples: Sequence[Example],
    losses: Losses,
    settings: Tuning,
    after_step: Callable[[], None] = lambda: None,
) -> float:
    """Train until every example is learned, or for so many epochs.

    :param parameters: leaves that need gradients; changed in place.
    :param examples: all edits.
    :param losses: gives a batch's losses in nats, float [rows], with gradients.
    :param settings: epochs, batch, rate, enough, seed.
    :param after_step: called after each step of Adam.
    :return: the largest loss of an example that the last round saw, before its steps.
    """
    import torch

    adam = torch.optim.Adam(parameters, lr=settings.rate)
    order, draw = list(examples), random.Random(settings.seed)
    worst = float("inf")
    for _ in range(settings.epochs):
        draw.shuffle(order)
        worst = 0.0
        for start in range(0, len(order), settings.batch):
            found = losses(order[start : start + settings.batch])
            largest = float(found.detach().max())
            worst = max(worst, largest)
            if largest < settings.enough:
                continue
            adam.zero_grad(set_to_none=True)
            found.mean().backward()
            adam.step()
            after_step()
        if worst < settings.enough:
            break
    return worst


@contextmanager
def gradients() -> Iterator[None]:
    """Turn gradients on, whatever the caller turned off (``no_grad``, ``inference_mode``)."""
    import torch

    with torch.inference_mode(False), torch.enable_grad():
        yield
