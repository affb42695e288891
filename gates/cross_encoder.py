"""The second stage: a cross-encoder over edit and query.

SERAC's cross-attention scope classifier (Mitchell et al. 2022, section 3.1): the sentence encoder's
transformer with low-rank weight changes (LoRA, Hu et al. 2022) and a classification head. Only the
changes and the head are stored.
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

MAX_TOKENS = 192
"""Tokens of an edit and a query together; longer pairs are truncated."""
BATCH_SIZE = 32
CONDITION_PREFIX = "if "
"""Prefix that marks a condition."""


@runtime_checkable
class HasTransformer(Protocol):
    """An encoder that gives access to its transformer."""

    def transformer(self) -> tuple[torch.nn.Module, Any]:
        """Return the transformer and its tokenizer."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossEncoderDelta:
    """The weights of a cross-encoder: low-rank changes of a transformer, and a head.

    :param tensors: ``head.weight`` [3, 2d] and ``head.bias`` [3]; for each changed matrix ``NAME``
        of shape [out, in], ``NAME.A`` [r, in] and ``NAME.B`` [out, r]; where these are
        int8, ``NAME.scale`` [r], one for each of the r products.
    :param scale: alpha / r, the factor of each product.
    :raises ModelError: the arrays are not those of a cross-encoder.
    """

    tensors: Mapping[str, NDArray[Any]]
    scale: float

    def __post_init__(self) -> None:
        shapes = {name: array.shape for name, array in self.tensors.items()}
        expected = {"head.weight", "head.bias"}
        names = self.matrix_names()
        expected |= {f"{name}.{part}" for name in names for part in "AB"}
        scaled = {name for name in names if self._is_quantized(name)}
        expected |= {f"{name}.scale" for name in scaled}
        if shapes.keys() != expected or not all(
            len(shapes[f"{name}.A"]) == len(shapes[f"{name}.B"]) == 2
            and shapes[f"{name}.A"][0] == shapes[f"{name}.B"][1]
            and (name not in scaled or shapes[f"{name}.scale"] == shapes[f"{name}.A"][:1])
            for name in names
        ):
            odd = sorted(shapes.keys() ^ expected)
            raise ModelError(
                "expected the arrays of a cross-encoder: head.weight, head.bias, and NAME.A "
                "[r, in] and NAME.B [out, r] for each changed matrix, with NAME.scale [r] where "
                "they are int8, found others "
                f"({odd or shapes}); train the gate again"
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        found = hashlib.sha256(repr(self.scale).encode())
        for name in sorted(self.tensors):
            found.update(name.encode() + np.ascontiguousarray(self.tensors[name]).tobytes())
        return found.hexdigest()

    def matrix_names(self) -> tuple[str, ...]:
        """Return the names of the changed matrices."""
        return tuple(name.removesuffix(".A") for name in self.tensors if name.endswith(".A"))

    def delta(self, name: str) -> NDArray[np.float32]:
        """Return the change of a matrix, scale · B A, float32 [out, in]."""
        down, up = (np.asarray(self.tensors[f"{name}.{part}"], np.float32) for part in "AB")
        each = self.tensors[f"{name}.scale"].astype(np.float32) if self._is_quantized(name) else 1.0
        return np.asarray(self.scale * ((up * each) @ down), np.float32)

    def _is_quantized(self, name: str) -> bool:
        return self.tensors[f"{name}.A"].dtype == np.int8


def quantize_factors(name: str, up: Array, down: Array) -> dict[str, NDArray[Any]]:
    """Return the int8 arrays of a product of rank r, quantized with one scale a rank.

    :param name: name of the changed matrix.
    :param up: [out, r].
    :param down: [r, in].
    """
    up_max, down_max = np.maximum(np.abs(up).max(0), 1e-12), np.maximum(np.abs(down).max(1), 1e-12)
    return {
        f"{name}.A": np.rint(down / down_max[:, None] * 127).astype(np.int8),
        f"{name}.B": np.rint(up / up_max * 127).astype(np.int8),
        f"{name}.scale": (up_max * down_max / 127**2).astype(np.float32),
    }


class CrossEncoder:
    """Classifies pairs of edit and query. Safe under threads; loads at the first call.

    :param encoder: the encoder whose transformer was trained.
    :param weights: the trained changes.
    :raises ModelError: the encoder has no transformer.
    """

    def __init__(self, encoder: Any, weights: CrossEncoderDelta) -> None:
        self._encoder = unwrap_transformer(encoder)
        self._weights = weights
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> Array:
        """Return logits of none, same and follows, float64 [n, 3].

        :param pairs: edits (:func:`edit_text`) and queries.
        :raises ModelError: the encoder's transformer is not the one that was trained.
        """
        import torch

        out = np.zeros((len(pairs), 3))
        if not pairs:
            return out
        model, tokenizer = self._model()
        head = self._weights.tensors["head.weight"], self._weights.tensors["head.bias"]
        weight, bias = (torch.from_numpy(np.asarray(part, np.float32)) for part in head)
        device = next(model.parameters()).device
        tokens = tokenize_pairs(tokenizer, pairs)
        lengths = tokens["attention_mask"].sum(1).tolist()
        order = sorted(range(len(pairs)), key=lengths.__getitem__)
        with torch.no_grad():
            for start in range(0, len(order), BATCH_SIZE):
                chunk = order[start : start + BATCH_SIZE]
                width = lengths[chunk[-1]]
                batch = {name: ids[chunk, :width].to(device) for name, ids in tokens.items()}
                pooled = pooled_states(model, batch)
                out[chunk] = (pooled @ weight.to(device).T + bias.to(device)).double().cpu().numpy()
        return out

    def score_edits(self, sides: Sequence[tuple[Scope, bool]], queries: Sequence[str]) -> Array:
        """Return logits of edits and queries, float64 [n, 3].

        A question without an answer is scored in both orders, as the pair is symmetric, and the
        logits are averaged.

        :param sides: for each edit its scope, and whether that is a condition.
        :param queries: n texts.
        """
        texts = [edit_text(*side) for side in sides]
        pairs = list(zip(texts, queries, strict=True))
        bare = [at for at, (scope, held) in enumerate(sides) if not (scope.answer or held)]
        logits = self([*pairs, *((queries[at], texts[at]) for at in bare)])
        logits[bare] = (logits[bare] + logits[len(pairs) :]) / 2
        return logits[: len(pairs)]

    def _model(self) -> tuple[Any, Any]:
        """Return the transformer and its tokenizer, loaded when first needed."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> tuple[Any, Any]:
        import copy

        import torch

        base, shared = self._encoder.transformer()
        model: Any = copy.deepcopy(base).float().eval().requires_grad_(False)
        parameters = dict(model.named_parameters())
        shapes = {name: tuple(weight.shape) for name, weight in parameters.items()}
        for name in self._weights.matrix_names():
            delta = self._weights.delta(name)
            _check_shape(name, delta.shape, shapes.get(name))
            parameters[name].data.add_(torch.from_numpy(delta).to(parameters[name]))
        head = self._weights.tensors["head.weight"].shape
        _check_shape("head.weight", head, (3, 2 * model.config.hidden_size))
        # a copy, set up here: padding is state of the tokenizer, a race between threads
        tokenizer = copy.deepcopy(shared)
        tokenize_pairs(tokenizer, [("", "")])
        return model, tokenizer


def _check_shape(name: str, stored: tuple[int, ...], found: tuple[int, ...] | None) -> None:
    """Raise ModelError for an encoder with another transformer than the one trained."""
    if stored != found:
        raise ModelError(
            f"this gate's cross-encoder has {name} of shape {list(stored)}, to which the encoder's "
            f"transformer has {'nothing' if found is None else list(found)}; use the encoder it "
            "was trained with"
        )


def unwrap_transformer(encoder: Any) -> HasTransformer:
    """Return the encoder with a transformer, unwrapped from caches.

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


def encode_pairs(model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> torch.Tensor:
    """Return each pair's first hidden state and the mean of all, concatenated, float32 [n, 2d].

    :param model: a transformer trained on pairs.
    :param pairs: edits and queries.
    """
    device = next(model.parameters()).device
    return pooled_states(model, tokenize_pairs(tokenizer, pairs).to(device))


def pooled_states(model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return each row's first hidden state and the mean of all, concatenated, float32 [n, 2d].

    :param model: a transformer trained on pairs.
    :param batch: of :func:`tokenize_pairs`.
    """
    import torch

    states = model(**batch).last_hidden_state.float()
    mask = batch["attention_mask"].unsqueeze(-1).float()
    mean = (states * mask).sum(1) / mask.sum(1)
    return torch.cat([states[:, 0], mean], dim=-1)


def tokenize_pairs(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    """Return the tokens of pairs, padded on the right, so that the first position is a token.

    :param pairs: edits and queries.
    """
    return tokenizer(
        [one for one, _ in pairs], [other for _, other in pairs],
        padding=True, padding_side="right", truncation=True,
        max_length=min(MAX_TOKENS, tokenizer.model_max_length), return_tensors="pt",
        verbose=False,
    )  # fmt: skip


def edit_text(scope: Scope, condition: bool = False) -> str:
    """Return the cross-encoder's text of an edit: question and answer, or a condition.

    :param condition: whether the scope is a condition.
    """
    if condition:
        return CONDITION_PREFIX + scope.text
    return f"{scope.text} {scope.answer}".rstrip()
