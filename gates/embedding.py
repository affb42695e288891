"""SERAC's own gate: how far apart two texts lie in a space trained for it. A control.

The embedding classifier of Mitchell et al. 2022 (section 3), on this encoder's vectors. Nothing
else is known to it: no features, no calibration, no characters where the encoder cannot read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.errors import ModelError
from errata.cache.records import Edit, Hit, Query, RegexPatch
from errata.cache.storage.atomic import write_atomically
from errata.gates.artifact import CARD, WEIGHTS, only_chances
from errata.gates.base import Decision, Scores, SingleQueryMixin
from errata.gates.embedding_cache import EmbeddingCache
from errata.gates.layers import Array
from errata.gates.routing import make_decision

KIND = "serac"
FORMAT = 1
THRESHOLD = 0.5
"""As published: an edit fires within √ln 2 of the query."""

_WRITTEN = frozenset({"kind", "format", "encoder", "threshold", "weights_sha256"})


class EmbeddingGate(SingleQueryMixin):
    """Lets an edit govern a query with probability exp(−‖A e − A x‖²).

    e and x are the encodings of the edit's question and of the query (its best window), A a trained
    linear map. It never says *follows*. Safe under threads; pure.

    :param encoder: the encoder it was trained with.
    :param map: A, float [m, d].
    :param threshold: the probability from which an edit fires.
    :param near: share of the threshold from which a candidate is a near miss.
    :param edit_thresholds: thresholds of single edits, by id.
    :param card: what people should know: data, seed, figures; JSON values.
    """

    def __init__(
        self,
        encoder: Encoder,
        map: Array,
        threshold: float = THRESHOLD,
        *,
        near: float = 0.5,
        edit_thresholds: Mapping[str, float] | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        self.map = map.astype(np.float64)
        self.threshold = threshold
        self.card = dict(card or {})
        self._memory = EmbeddingCache(encoder)
        self._near = near
        self._edit_thresholds = dict(edit_thresholds or {})

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return the probability of each query against its edits; 0 for regex patches."""
        return [self._scores(query, some) for query, some in zip(queries, edits, strict=True)]

    def decide_batch(
        self, queries: Sequence[Query], hits: Sequence[Sequence[Hit]]
    ) -> list[Decision]:
        """Return the decision on each query, given what the cache found."""
        return [
            make_decision(
                query,
                found,
                scores,
                threshold=self.threshold,
                near=self._near,
                edit_thresholds=self._edit_thresholds,
            )
            for query, found, scores in zip(
                queries, hits, self.score_batch(queries, hits), strict=True
            )
        ]

    def _scores(self, query: Query | str, edits: Sequence[Edit | Hit]) -> Scores:
        if not edits:
            return Scores(np.zeros(0), np.zeros(0))
        if isinstance(query, str):
            windows = self._memory.encode(self._memory.windows(query))
        else:
            windows = query.vectors
        rows = np.stack(
            [
                edit.vector if isinstance(edit, Hit) else self._memory.encode([edit.scope])[0]
                for edit in edits
            ]
        )
        apart = rows[:, None].astype(np.float64) - windows[None]
        # einsum, since BLAS rounds otherwise in otherwise sized batches
        mapped = np.einsum("nwd,md->nwm", apart, self.map)
        probability = np.exp(-np.square(mapped).sum(axis=2).min(axis=1))
        for position, edit in enumerate(edits):
            if isinstance(edit.edit if isinstance(edit, Hit) else edit, RegexPatch):
                probability[position] = 0.0
        return Scores(probability, np.zeros(len(edits)))

    def save(self, folder: str | Path) -> None:
        """Write the gate, the card last, so that a card always has its weights.

        :param folder: where to; made if it is not there.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = save({"map": self.map.astype(np.float16)})
        card = {
            "kind": KIND,
            "format": FORMAT,
            **self.card,
            "encoder": self._memory.fingerprint,
            "threshold": self.threshold,
            "weights_sha256": hashlib.sha256(data).hexdigest(),
        }
        write_atomically(folder / WEIGHTS, data)
        text = json.dumps(card, indent=2, ensure_ascii=False)
        write_atomically(folder / CARD, f"{text}\n".encode())

    @classmethod
    def load(cls, folder: str | Path, encoder: Encoder, **options: Any) -> EmbeddingGate:
        """Read a gate.

        :param folder: what ``errata gate train --kind serac`` wrote.
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
            found = load(data)["map"]
            options = {"threshold": float(card["threshold"]), **options}
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"{folder}: expected a gate of kind {KIND}, {WEIGHTS} and {CARD}, found "
                f"{type(error).__name__}: {error}; train one with `errata gate train --kind "
                f"{KIND} --out DIR`, or name another folder"
            ) from error
        told = {key: value for key, value in card.items() if key not in _WRITTEN}
        return cls(encoder, found, card=told, **options)


def is_embedding_gate(folder: Path) -> bool:
    """Tell whether a folder's card says that its gate is of this kind."""
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and card.get("kind") == KIND


def _check(card: Any, data: bytes, folder: Path, encoder: Encoder) -> None:
    """Refuse a card of another kind or version, of other weights, or of another encoder."""
    found = (card.get("kind"), card.get("format")) if isinstance(card, dict) else type(card)
    if found != (KIND, FORMAT):
        raise ModelError(
            f"{folder / CARD}: expected a gate of kind {KIND}, format {FORMAT}, found {found!r}; "
            f"train one with `errata gate train --kind {KIND} --out DIR`"
        )
    digest = hashlib.sha256(data).hexdigest()
    if card.get("weights_sha256") != digest:
        raise ModelError(
            f"{folder / CARD}: expected weights of SHA-256 {card.get('weights_sha256')}, found "
            f"{digest} in {WEIGHTS}; restore both files from the same training run"
        )
    only_chances(card, ("threshold",), folder)
    if card.get("encoder") != encoder.fingerprint:
        raise ModelError(
            f"{folder}: this gate was trained with the encoder {card.get('encoder')}, found "
            f"{encoder.fingerprint}; use that encoder, or train a gate for this one: "
            f"`errata gate train --kind {KIND} --out DIR`"
        )
