"""Hypernetworks: networks that turn the gradient of an edit into an update of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from errata.editors.shared.learner import Learner, Request, batch_of
from errata.editors.shared.per_edit import TokenGradients, token_gradients
from errata.module_paths import matrix

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class Hypernetwork(Learner):
    """A learner that reads the gradients of the edits' losses.

    :param model: a copy of the base model.
    :param tokenizer: its tokenizer.
    :param names: of the modules whose weights are edited.
    """

    def __init__(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        names: Sequence[str],
    ) -> None:
        super().__init__(model, tokenizer)
        self.names = tuple(names)

    def gradients_of(self, requests: Sequence[Request]) -> dict[str, TokenGradients]:
        """Return the gradients of each edit's mean loss, in nats a token, by module."""
        batch = batch_of(self.model, requests)
        with torch.enable_grad():
            return token_gradients(self.model, batch, self.names, len(requests))

    def shape(self, name: str) -> tuple[int, int]:
        """Return d_out and d_in of a module."""
        out, into = matrix(self.model.get_submodule(name)).shape
        return out, into
