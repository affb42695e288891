"""The second stage: a cross-encoder, which reads an edit and a query together.

SERAC's other scope classifier (Mitchell et al. 2022, section 3.1: *cross-attention*), made of the
sentence encoder's own transformer with low-rank changes (Hu et al. 2022) and a head, so that what
is stored is small. It runs where the first stage is in doubt.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import ModelError
from errata.gates.features import Scope
from errata.gates.layers import Array

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
class CrossEncoderDelta:
    """A trained cross-encoder: what differs from the encoder's transformer.

    :param tensors: ``head.weight`` [3, 2d] and ``head.bias`` [3]; for each changed matrix ``NAME``
        of shape [out, in], ``NAME.A`` [r, in] and ``NAME.B`` [out, r]; where those are whole
        numbers (int8), ``NAME.scale`` [r] for each of the r products.
    :param scale: alpha / r, by which each product is multiplied.
    :raises ModelError: the arrays are not those of a cross-encoder.
    """

    tensors: Mapping[str, NDArray[Any]]
    scale: float

    def __post_init__(self) -> None:
        shapes = {name: array.shape for name, array in self.tensors.items()}
        expected = {"head.weight", "head.bias"}
        expected |= {f"{name}.{part}" for name in self.changed() for part in "AB"}
        scaled = {name for name in self.changed() if self._whole(name)}
        expected |= {f"{name}.scale" for name in scaled}
        if shapes.keys() != expected or not all(
            len(shapes[f"{name}.A"]) == len(shapes[f"{name}.B"]) == 2
            and shapes[f"{name}.A"][0] == shapes[f"{name}.B"][1]
            and (name not in scaled or shapes[f"{name}.scale"] == shapes[f"{name}.A"][:1])
            for name in self.changed()
        ):
            odd = sorted(shapes.keys() ^ expected)
            raise ModelError(
                "expected the arrays of a cross-encoder: head.weight, head.bias, and NAME.A "
                "[r, in] beside NAME.B [out, r] for each matrix changed, with NAME.scale [r] where "
                "they are int8, found others "
                f"({odd or shapes}); train the gate again"
            )

    @property
    def digest(self) -> str:
        """The SHA-256 of what is stored."""
        found = hashlib.sha256(repr(self.scale).encode())
        for name in sorted(self.tensors):
            found.update(name.encode() + np.ascontiguousarray(self.tensors[name]).tobytes())
        return found.hexdigest()

    def changed(self) -> tuple[str, ...]:
        """Return the names of the matrices it changes."""
        return tuple(name.removesuffix(".A") for name in self.tensors if name.endswith(".A"))

    def change(self, name: str) -> NDArray[np.float32]:
        """Return what is added to a matrix, float32 [out, in]."""
        down, up = (np.asarray(self.tensors[f"{name}.{part}"], np.float32) for part in "AB")
        each = self.tensors[f"{name}.scale"].astype(np.float32) if self._whole(name) else 1.0
        return np.asarray(self.scale * ((up * each) @ down), np.float32)

    def _whole(self, name: str) -> bool:
        return self.tensors[f"{name}.A"].dtype == np.int8


def factors(name: str, up: Array, down: Array) -> dict[str, NDArray[Any]]:
    """Return the arrays that store a product of rank r in a byte a number.

    Each of the r products has a scale of its own, so that small ones are kept as precisely.

    :param name: of the matrix that it changes.
    :param up: [out, r].
    :param down: [r, in].
    """
    most = [np.maximum(np.abs(up).max(0), 1e-12), np.maximum(np.abs(down).max(1), 1e-12)]
    return {
        f"{name}.A": np.rint(down / most[1][:, None] * 127).astype(np.int8),
        f"{name}.B": np.rint(up / most[0] * 127).astype(np.int8),
        f"{name}.scale": (most[0] * most[1] / 127**2).astype(np.float32),
    }


class CrossEncoder:
    """Tells, of pairs read together, whether the edit governs the query. Safe under threads.

    :param encoder: whose transformer was trained.
    :param stored: what training changed.
    :raises ModelError: the encoder has no transformer to read with.
    """

    def __init__(self, encoder: Any, stored: CrossEncoderDelta) -> None:
        self._encoder = transformer_of(encoder)
        self._stored = stored
        self._lock = threading.Lock()
        self._made: tuple[Any, Any] | None = None

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> Array:
        """Return logits of none, same and follows, float64 [n, 3].

        :param pairs: the edit's side as :func:`edit_text` writes it, and the query.
        :raises ModelError: the encoder's transformer is not the one that was trained.
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

    def of_edits(self, sides: Sequence[tuple[Scope, bool]], queries: Sequence[str]) -> Array:
        """Return logits of edits and queries, float64 [n, 3].

        A bare question, which answers nothing, is read before its query and behind it, as neither
        comes first; the mean counts.

        :param sides: of each edit its scope, and whether that is a condition.
        :param queries: n texts.
        """
        said = [edit_text(*side) for side in sides]
        pairs = list(zip(said, queries, strict=True))
        bare = [at for at, (scope, held) in enumerate(sides) if not scope.answer and not held]
        logits = self([*pairs, *((queries[at], said[at]) for at in bare)])
        logits[bare] = (logits[bare] + logits[len(pairs) :]) / 2
        return logits[: len(pairs)]

    def _model(self) -> tuple[Any, Any]:
        """Return the changed transformer and its tokenizer, made when first needed."""
        with self._lock:
            if self._made is None:
                self._made = self._changed()
            return self._made

    def _changed(self) -> tuple[Any, Any]:
        import copy

        import torch

        there, shared = self._encoder.transformer()
        model: Any = copy.deepcopy(there).float().eval().requires_grad_(False)
        own = dict(model.named_parameters())
        shapes = {name: tuple(weight.shape) for name, weight in own.items()}
        for name in self._stored.changed():
            change = self._stored.change(name)
            _same_shape(name, change.shape, shapes.get(name))
            own[name].data.add_(torch.from_numpy(change).to(own[name]))
        head = self._stored.tensors["head.weight"].shape
        _same_shape("head.weight", head, (3, 2 * model.config.hidden_size))
        # one of its own, set up here: a tokenizer's padding is state, which threads would race for
        tokenizer = copy.deepcopy(shared)
        tokens_together(tokenizer, [("", "")])
        return model, tokenizer


def _same_shape(name: str, stored: tuple[int, ...], there: tuple[int, ...] | None) -> None:
    """Refuse an encoder whose transformer is not the one that was trained."""
    if stored != there:
        raise ModelError(
            f"this gate's cross-encoder has {name} of shape {list(stored)}, to which the encoder's "
            f"transformer has {'nothing' if there is None else list(there)}; use the encoder it "
            "was trained with"
        )


def transformer_of(encoder: Any) -> HasTransformer:
    """Return the encoder that stands behind one that remembers.

    :raises ModelError: it has no transformer.
    """
    inner = encoder
    while not isinstance(inner, HasTransformer) and hasattr(inner, "encoder"):
        inner = inner.encoder
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

    read = tokens_together(tokenizer, pairs).to(next(model.parameters()).device)
    states = model(**read).last_hidden_state.float()
    mask = read["attention_mask"].unsqueeze(-1).float()
    mean = (states * mask).sum(1) / mask.sum(1)
    return torch.cat([states[:, 0], mean], dim=-1)


def tokens_together(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    """Return the tokens of pairs, padded on the right: the first token is to be a word's, always.

    :param pairs: edits and queries.
    """
    return tokenizer(
        [one for one, _ in pairs], [other for _, other in pairs],
        padding=True, padding_side="right", truncation=True,
        max_length=min(MOST_TOKENS, tokenizer.model_max_length), return_tensors="pt",
        verbose=False,
    )  # fmt: skip


def edit_text(scope: Scope, condition: bool = False) -> str:
    """Return an edit's side as the cross-encoder reads it: its question and what it answers.

    :param condition: whether the scope is a condition.
    """
    if condition:
        return CONDITION + scope.text
    return f"{scope.text} {scope.answer}".rstrip()
