"""The embedding classifier of SERAC (Mitchell et al. 2022, section 3). A control.

Distance in a trained linear map of the encoder's embeddings; without features and calibration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from errata.cache.encoder import EmbeddingCache, Encoder
from errata.cache.errors import ModelError
from errata.cache.records import Query
from errata.cache.storage.atomic import write_atomically
from errata.gates.artifact import CARD, WEIGHTS, check_digest, check_probabilities
from errata.gates.examples import NearestExamples
from errata.gates.layers import Array
from errata.gates.similarity import SimilarityGate

KIND = "serac"
FORMAT = 1

_FIELDS = frozenset({"kind", "format", "encoder", "threshold", "weights_sha256"})


class EmbeddingGate(SimilarityGate):
    """Lets an edit govern a query with probability exp(−‖A e − A x‖²).

    e and x are the embeddings of the edit's question and of the query (its best window), A is a
    trained linear map. Every relation is *paraphrase*. Safe under threads; pure.

    :param encoder: the encoder it was trained with.
    :param map: A, float [m, d].
    :param threshold: the probability from which an edit fires; by default as published, within
        √ln 2 of the query.
    :param examples: examples of an edit that are compared in the map, the nearest by cosine.
    :param near: share of the threshold from which a candidate is a near miss.
    :param edit_thresholds: thresholds of single edits, by id.
    :param card: data, seed and figures, for people; JSON values.
    """

    def __init__(
        self,
        encoder: Encoder,
        map: Array,
        threshold: float = 0.5,
        *,
        near: float = 0.5,
        examples: int = 3,
        edit_thresholds: Mapping[str, float] | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        self._embeddings = EmbeddingCache(encoder)
        super().__init__(self._embeddings, threshold, near, edit_thresholds)
        self.examples = examples
        self.map = map.astype(np.float64)
        self.card = dict(card or {})

    def similarity(self, query: Query | str, nearest: NearestExamples) -> float:
        """Return the probability by the nearest examples."""
        rows = self._embeddings.encode(nearest.texts[: self.examples]).astype(np.float64)
        windows = (
            self._embeddings.encode(self._embeddings.windows(query))
            if isinstance(query, str)
            else query.vectors
        )
        # einsum: BLAS rounds differently in batches of different size
        mapped = np.einsum("nwd,md->nwm", rows[:, None] - windows[None], self.map)
        return float(np.exp(-np.square(mapped).sum(axis=2).min()))

    def save(self, folder: str | Path) -> None:
        """Write the gate, the card last, so that a card always has its weights.

        :param folder: the target folder; created if missing.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = save({"map": self.map.astype(np.float16)})
        card = {
            "kind": KIND,
            "format": FORMAT,
            **self.card,
            "encoder": self._embeddings.fingerprint,
            "threshold": self.threshold,
            "weights_sha256": hashlib.sha256(data).hexdigest(),
        }
        write_atomically(folder / WEIGHTS, data)
        text = json.dumps(card, indent=2, ensure_ascii=False)
        write_atomically(folder / CARD, f"{text}\n".encode())

    @classmethod
    def load(cls, folder: str | Path, encoder: Encoder, **options: Any) -> EmbeddingGate:
        """Read a gate.

        :param folder: a folder written by ``errata gate train --kind serac``.
        :param encoder: the encoder it was trained with.
        :param options: for the constructor.
        :raises ModelError: files are missing or malformed, the card belongs to other weights, or
            the gate to another encoder.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        folder = Path(folder)
        try:
            data = (folder / WEIGHTS).read_bytes()
            card = json.loads((folder / CARD).read_text("utf-8"))
            _check(card, data, folder, encoder)
            weights = load(data)["map"]
            options = {"threshold": float(card["threshold"]), **options}
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"{folder}: expected a gate of kind {KIND}, {WEIGHTS} and {CARD}, found "
                f"{type(error).__name__}: {error}; train one with `errata gate train --kind "
                f"{KIND} --out DIR`, or name another folder"
            ) from error
        description = {key: value for key, value in card.items() if key not in _FIELDS}
        return cls(encoder, weights, card=description, **options)


def is_embedding_gate(folder: Path) -> bool:
    """Return whether a folder's card names this kind of gate."""
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and card.get("kind") == KIND


def _check(card: Any, data: bytes, folder: Path, encoder: Encoder) -> None:
    """Raise ModelError for a card of another kind, format or encoder, or of other weights."""
    found = (card.get("kind"), card.get("format")) if isinstance(card, dict) else type(card)
    if found != (KIND, FORMAT):
        raise ModelError(
            f"{folder / CARD}: expected a gate of kind {KIND}, format {FORMAT}, found {found!r}; "
            f"train one with `errata gate train --kind {KIND} --out DIR`"
        )
    check_digest(card.get("weights_sha256"), data, folder, WEIGHTS)
    check_probabilities(card, ("threshold",), folder)
    if card.get("encoder") != encoder.fingerprint:
        raise ModelError(
            f"{folder}: this gate was trained with the encoder {card.get('encoder')}, found "
            f"{encoder.fingerprint}; use that encoder, or train a gate for this one: "
            f"`errata gate train --kind {KIND} --out DIR`"
        )
