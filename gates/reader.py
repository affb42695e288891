"""A trained reader of pairs in any language, over embeddings of a multilingual encoder.

It sees a query and one text of an edit as two vectors and a few features of how they are worded.
Several projections, trained by contrast, bring the vectors of rewordings together (Hadsell et al.
2006); a small network reads the cosines that they give. It does not see single dimensions: of
so few pairs it would learn them by heart.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import ModelError
from errata.cache.index.terms import bigrams
from errata.cache.records import Vector
from errata.cache.storage.atomic import write_atomically
from errata.cache.text.language import language_code
from errata.cache.text.normalize import normalize_query
from errata.gates.artifact import check_digest, check_probabilities
from errata.gates.layers import Array, Network, Platt, Projection
from errata.gates.text import dice

CARD, WEIGHTS = "multilingual.json", "multilingual.safetensors"
FORMAT = 1

NAMES = (
    "cosine", "nearness", "same_language", "bigrams", "bigrams_same_language", "contained",
    "contains", "digits_query_only", "digits_text_only", "length_query", "length_text",
    "length_ratio", "subject_known", "subject_named",
)  # fmt: skip
"""Names of the features beside the projected vectors."""


@dataclass(frozen=True, slots=True)
class TextPair:
    """A query, or a segment of it, and a text of an edit.

    :param query: the query's side.
    :param text: the edit's question, condition or example.
    :param subject: of the edit, where it is known.
    """

    query: str
    text: str
    subject: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """Returns the probability that a query asks what a text asks.

    :param members: projections of the encoder's vectors, each with a network over
        :func:`reader_inputs`; their probabilities are averaged.
    :param heads: parts of a projection, each of which gives a cosine.
    :param calibration: of its probability.
    :param threshold: the probability from which an edit fires.
    :param encoder: fingerprint of the encoder it was trained with.
    :param card: what it was trained on, and measured at.
    """

    members: tuple[tuple[Projection, Network], ...]
    heads: int
    calibration: Platt
    threshold: float
    encoder: str
    card: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, pairs: Sequence[TextPair], queries: Vector, texts: Vector) -> Array:
        """Return calibrated probabilities, float64 [n].

        :param queries: encodings of the queries, float32 [n, d].
        :param texts: encodings of the edits' texts, float32 [n, d].
        """
        if not pairs:
            return np.zeros(0)
        named = pair_features(pairs, queries, texts)
        each = [
            network(reader_inputs(projection, self.heads, named, queries, texts))[:, 1]
            for projection, network in self.members
        ]
        return self.calibration(np.asarray(np.mean(each, axis=0), dtype=np.float64))

    def save(self, folder: str | Path) -> None:
        """Write the reader beside a gate, the card last, so that a card always has its weights.

        :param folder: the gate's folder; created if missing.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, NDArray[Any]] = {}
        for at, (projection, network) in enumerate(self.members):
            tensors[f"{at}.projection.mean"] = projection.mean
            tensors[f"{at}.projection.components"] = projection.components
            tensors |= network.tensors(f"{at}.network")
        data = save({name: array.astype(np.float16) for name, array in tensors.items()})
        card = {
            "format": FORMAT,
            **self.card,
            "encoder": self.encoder,
            "features": list(NAMES),
            "heads": self.heads,
            "threshold": self.threshold,
            "calibration": [self.calibration.slope, self.calibration.offset],
            "weights_sha256": hashlib.sha256(data).hexdigest(),
        }
        write_atomically(folder / WEIGHTS, data)
        text = json.dumps(card, indent=2, ensure_ascii=False)
        write_atomically(folder / CARD, f"{text}\n".encode())

    @classmethod
    def load(cls, folder: str | Path) -> Reader:
        """Read a reader.

        :param folder: with its card and weights.
        :raises ModelError: files are missing or malformed, or the card belongs to other weights.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        folder = Path(folder)
        try:
            data = (folder / WEIGHTS).read_bytes()
            card = json.loads((folder / CARD).read_text("utf-8"))
            found = card.get("format"), card.get("features")
            if found != (FORMAT, list(NAMES)):
                raise ModelError(
                    f"{folder / CARD}: expected a reader of format {FORMAT} and of this version's "
                    f"features, found format {found[0]!r}; train it again"
                )
            check_digest(card["weights_sha256"], data, folder, WEIGHTS)
            check_probabilities(card, ("threshold",), folder)
            tensors = {name: array.astype(np.float64) for name, array in load(data).items()}
            fields = {"format", "features", "heads", "encoder", "threshold", "calibration"}
            return cls(
                _members(tensors),
                int(card["heads"]),
                Platt(*card["calibration"]),
                float(card["threshold"]),
                str(card["encoder"]),
                {k: v for k, v in card.items() if k not in fields | {"weights_sha256"}},
            )
        except (AttributeError, OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"{folder}: expected {CARD} and {WEIGHTS} of a reader, found "
                f"{type(error).__name__}: {error}; restore both files, or name another folder"
            ) from error


def _members(tensors: Mapping[str, NDArray[Any]]) -> tuple[tuple[Projection, Network], ...]:
    """Return the members of the arrays; KeyError without any."""
    found: list[tuple[Projection, Network]] = []
    while (key := f"{len(found)}.projection.mean") in tensors or not found:
        components = tensors[f"{len(found)}.projection.components"]
        network = Network.from_tensors(tensors, f"{len(found)}.network")
        found.append((Projection(tensors[key], components), network))
    return tuple(found)


def pair_features(pairs: Sequence[TextPair], queries: Vector, texts: Vector) -> Array:
    """Return the named features, float64 [n, f].

    :param queries: encodings of the queries, float32 [n, d].
    :param texts: encodings of the texts, float32 [n, d].
    """
    cosines = np.einsum("nd,nd->n", queries, texts, dtype=np.float64).tolist()
    return np.array([_features(one, cosine) for one, cosine in zip(pairs, cosines, strict=True)])


def reader_inputs(
    projection: Projection, heads: int, named: Array, queries: Vector, texts: Vector
) -> Array:
    """Return the inputs of a network, float64 [n, f + 2h].

    The named features; the cosine of the projected vectors in each of h parts of their dimensions;
    -ln(1.05 - cosine) of each.

    :param named: of :func:`pair_features`, [n, f].
    :param queries: encodings of the queries, float32 [n, d].
    :param texts: encodings of the texts, float32 [n, d].
    """
    query, text = (_unit(projection(rows), heads) for rows in (queries, texts))
    cosines = np.minimum(1.0, (query * text).sum(axis=2))
    return np.column_stack([named, cosines, -np.log(1.05 - cosines)])


def _unit(rows: Array, heads: int) -> Array:
    """Return rows in parts of unit length, [n, h, p / h]."""
    parts = rows.reshape(len(rows), heads, -1)
    return np.asarray(parts / np.maximum(np.linalg.norm(parts, axis=2, keepdims=True), 1e-9))


def _features(pair: TextPair, cosine: float) -> tuple[float, ...]:
    """Return the features of a pair, in the order of :data:`NAMES`."""
    asked, edit = _traits(pair.query), _traits(pair.text)
    same = float(asked.language == edit.language)
    alike = dice(asked.bigrams, edit.bigrams)
    shared = len(asked.bigrams & edit.bigrams)
    subject = normalize_query(pair.subject)
    known = bool(subject) and subject in edit.plain
    return (
        cosine,
        -math.log(1.03 - min(1.0, cosine)),
        same,
        alike,
        alike * same,
        shared / max(1, len(edit.bigrams)),
        shared / max(1, len(asked.bigrams)),
        float(min(3, len(asked.digits - edit.digits))),
        float(min(3, len(edit.digits - asked.digits))),
        math.log1p(len(asked.plain)),
        math.log1p(len(edit.plain)),
        math.log((len(asked.plain) + 1) / (len(edit.plain) + 1)),
        float(known),
        float(known and subject in asked.plain),
    )


@dataclass(frozen=True, slots=True)
class _Traits:
    """Of one text: its language, its plain form, the bigrams of it and its numbers."""

    language: str
    plain: str
    bigrams: frozenset[str]
    digits: frozenset[str]


@lru_cache(maxsize=32768)
def _traits(text: str) -> _Traits:
    plain = normalize_query(text)
    numbers = "".join(letter if letter.isdigit() else " " for letter in plain).split()
    return _Traits(language_code(text), plain, bigrams(plain), frozenset(numbers))
