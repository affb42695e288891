"""The second stage: a cross-encoder, which reads an edit and a query together.

SERAC's other scope classifier (Mitchell et al. 2022, section 3.1: *cross-attention*), made of the
sentence encoder's own transformer with low-rank changes (Hu et al. 2022) and a head, so that what
is stored is small. It runs where the first stage is in doubt.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import ModelError
from errata.gates.features import Scope
from errata.gates.network import Array

if TYPE_CHECKING:
    import torch

MOST_TOKENS = 192
"""Tokens of an edit and a query together; what is longer is cut."""
BATCH = 32
CONDITION = "if "
"""Before a condition, so that it is told from a question."""


@runtime_checkable
class HasTransformer(Protocol):
    """An encoder whose transformer can be had, to be copied."""

    def transformer(self) -> tuple[torch.nn.Module, Any]:
        """Return the transformer and its tokenizer."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredCross:
    """A trained cross-encoder: what differs from the encoder's transformer.

    :param tensors: ``head.weight`` [3, 2d] and ``head.bias`` [3]; for each changed matrix ``NAME``
        of shape [out, in], ``NAME.A`` [r, in] and ``NAME.B`` [out, r].
    :param scale: alpha / r, by which each product is multiplied.
    """

    tensors: Mapping[str, NDArray[Any]]
    scale: float


class CrossEncoder:
    """Tells, of pairs read together, whether the edit governs the query. Safe under threads.

    :param encoder: whose transformer was trained.
    :param stored: what training changed.
    :raises ModelError: the encoder has no transformer to read with, or another one.
    """

    def __init__(self, encoder: Any, stored: StoredCross) -> None:
        self._encoder = transformer_of(encoder)
        self._stored = stored
        self._lock = threading.Lock()
        self._made: tuple[Any, Any] | None = None

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> Array:
        """Return logits of none, same and follows, float64 [n, 3].

        :param pairs: the edit's side as :func:`edit_text` writes it, and the query.
        """
        import torch

        out = np.zeros((len(pairs), 3))
        if not pairs:
            return out
        model, tokenizer = self._model()
        head = self._stored.tensors["head.weight"], self._stored.tensors["head.bias"]
        weight, bias = (torch.from_numpy(np.asarray(part, np.float32)) for part in head)
        place = next(model.parameters()).device
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
        with torch.no_grad():
            for start in range(0, len(order), BATCH):
                chunk = order[start : start + BATCH]
                pooled = read_pairs_together(model, tokenizer, [pairs[i] for i in chunk])
                out[chunk] = (pooled @ weight.to(place).T + bias.to(place)).double().cpu().numpy()
        return out

    def _model(self) -> tuple[Any, Any]:
        """Return the changed transformer, made when first needed."""
        with self._lock:
            if self._made is None:
                self._made = self._changed()
            return self._made

    def _changed(self) -> tuple[Any, Any]:
        import copy

        import torch

        there, tokenizer = self._encoder.transformer()
        model = copy.deepcopy(there).eval().requires_grad_(False)
        own = dict(model.named_parameters())
        for key in [key for key in self._stored.tensors if key.endswith(".A")]:
            name = key.removesuffix(".A")
            if name not in own:
                raise ModelError(
                    f"this gate's cross-encoder changes {name}, which the encoder's transformer "
                    "does not have; use the encoder it was trained with"
                )
            down, up = (
                torch.from_numpy(np.asarray(self._stored.tensors[f"{name}.{part}"], np.float32))
                for part in "AB"
            )
            own[name].data += (self._stored.scale * (up @ down)).to(own[name])
        return model, tokenizer


def transformer_of(encoder: Any) -> HasTransformer:
    """Return the encoder that stands behind one that remembers.

    :raises ModelError: it has no transformer.
    """
    inner = getattr(encoder, "encoder", encoder)
    if not isinstance(inner, HasTransformer):
        raise ModelError(
            f"expected an encoder with a transformer to read pairs with, found "
            f"{type(inner).__name__}; use a sentence-transformers model, or a gate of one stage"
        )
    return inner


def read_pairs_together(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]]
) -> torch.Tensor:
    """Return each pair's first token beside the mean of its tokens, float32 [n, 2d].

    :param model: a transformer that reads pairs.
    :param pairs: edits and queries.
    """
    import torch

    read = tokenizer(
        [one for one, _ in pairs], [other for _, other in pairs], padding=True, truncation=True,
        max_length=MOST_TOKENS, return_tensors="pt", verbose=False,
    ).to(next(model.parameters()).device)  # fmt: skip
    states = model(**read).last_hidden_state.float()
    mask = read["attention_mask"].unsqueeze(-1).float()
    mean = (states * mask).sum(1) / mask.sum(1)
    return torch.cat([states[:, 0], mean], dim=-1)


def edit_text(scope: Scope, condition: bool = False) -> str:
    """Return an edit's side as the cross-encoder reads it: its question and what it answers.

    :param condition: whether the scope is a condition.
    """
    if condition:
        return CONDITION + scope.text
    return f"{scope.text} {scope.answer}".rstrip()
