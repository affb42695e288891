"""Training on edits: shuffled epochs over all of them, only the answers' tokens count.

The recipe that makes plain fine-tuning a strong baseline (LocFT-BF, arXiv:2509.22072): epochs over
all edits in mini-batches, in place of one edit at a time until it is learned.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from errata.cache.records import Edit
from errata.editing.base import Capabilities
from errata.editors.shared.config import FineTuneConfig, checked_options, config_for
from errata.editors.shared.examples import Example, trainable
from errata.module_paths import ModulePaths

if TYPE_CHECKING:
    import torch

    from errata.generation.base_model import GenerativeModel

Losses = Callable[[Sequence[Example]], "torch.Tensor"]


class FineTuneEditor:
    """An editor that trains on all edits together.

    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    :param options: single settings of :class:`~errata.editors.shared.config.FineTuneConfig`, such
        as ``layer_fractions=(0.5,)`` or ``epochs=20``.
    :raises errata.cache.errors.EditError: there is no such setting.
    """

    name: ClassVar[str]
    capabilities = Capabilities(together=True)

    def __init__(self, *, module_paths: ModulePaths | None = None, **options: Any) -> None:
        self._options = checked_options(self.name, options)
        self.module_paths = self._options.pop("module_paths", module_paths)

    def supports(self, edit: Edit) -> bool:
        """Return whether an edit is a question with an answer to be learned."""
        return trainable(edit)

    def config_for(self, model: GenerativeModel) -> FineTuneConfig:
        """Return the settings that will be used on a model."""
        return config_for(self.name, model, self._options)


def train(
    parameters: Sequence[torch.Tensor],
    examples: Sequence[Example],
    losses: Losses,
    config: FineTuneConfig,
    after_step: Callable[[], None] = lambda: None,
) -> float:
    """Train until every example is learned, at most for the configured epochs.

    :param parameters: leaves that need gradients; changed in place.
    :param examples: all edits.
    :param losses: returns a batch's losses in nats, float [rows], with gradients.
    :param config: epochs, batch size, learning rate, target loss, seed.
    :param after_step: called after each step of Adam.
    :return: the largest loss of an example in the last epoch, before its steps.
    """
    import torch

    adam = torch.optim.Adam(parameters, lr=config.learning_rate)
    order, rng = list(examples), random.Random(config.seed)
    largest_loss = float("inf")
    for _ in range(config.epochs):
        rng.shuffle(order)
        largest_loss = 0.0
        for start in range(0, len(order), config.batch_size):
            found = losses(order[start : start + config.batch_size])
            batch_loss = float(found.detach().max())
            largest_loss = max(largest_loss, batch_loss)
            if batch_loss < config.target_loss:
                continue
            adam.zero_grad(set_to_none=True)
            found.mean().backward()
            adam.step()
            after_step()
        if largest_loss < config.target_loss:
            break
    return largest_loss


@contextmanager
def gradients() -> Iterator[None]:
    """Enable gradients, also inside the caller's ``no_grad`` or ``inference_mode``."""
    import torch

    with torch.inference_mode(False), torch.enable_grad():
        yield
