"""Hypernetworks: networks that turn the gradient of an edit into an update of weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from errata.editors.shared.learner import Learner, Request, batch_of
from errata.editors.shared.per_edit import TokenGradients, token_gradients
from errata.module_paths import matrix


class Hypernetwork(Learner):
    """A learner that reads the gradients of the edits' losses.

    Parameters are those of its base class.
    """

    def gradients_of(self, requests: Sequence[Request]) -> dict[str, TokenGradients]:
        """Return the gradients of each edit's mean loss, in nats a token, by module."""
        batch = batch_of(self.model, requests)
        with torch.enable_grad():
            return token_gradients(self.model, batch, self.names, len(requests))

    def shape(self, name: str) -> tuple[int, int]:
        """Return d_out and d_in of a module."""
        out, into = matrix(self.model.get_submodule(name)).shape
        return out, into
