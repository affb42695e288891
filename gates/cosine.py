"""A threshold on the cosine similarity, as in a semantic cache. A baseline, and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.records import Edit, Hit, Query, RegexPatch
from errata.cache.text.normalize import normalize_query
from errata.gates.base import Scores
from errata.gates.routing import ThresholdGate, encode_sides


class CosineGate(ThresholdGate):
    """Lets an edit govern a query where their cosine similarity reaches a threshold.

    Its probabilities are uncalibrated cosines, clipped to [0, 1]; every relation is *paraphrase*.

    :param encoder: encodes what comes without an embedding.
    :param threshold: the cosine from which an edit fires.
    :param near: share of the threshold from which a candidate is a near miss.
    :param edit_thresholds: thresholds of single edits, by id.
    """

    def __init__(
        self,
        encoder: Encoder,
        threshold: float = 0.9,
        *,
        near: float = 0.9,
        edit_thresholds: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(threshold, near, edit_thresholds)
        self._encoder = encoder

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return the best window's cosine with each edit; 1 where the characters match."""
        return [self._scores(query, some) for query, some in zip(queries, edits, strict=True)]

    def _scores(self, query: Query | str, edits: Sequence[Edit | Hit]) -> Scores:
        if not edits:
            return Scores(np.zeros(0), np.zeros(0))
        windows, rows = encode_sides(query, edits, self._encoder)
        # einsum: BLAS rounds differently in batches of different size
        cosines = np.einsum("wd,nd->nw", windows, rows).astype(np.float64).max(axis=1)
        text = normalize_query(query if isinstance(query, str) else query.text)
        for position, edit in enumerate(edits):
            plain = edit.edit if isinstance(edit, Hit) else edit
            if isinstance(plain, RegexPatch):
                cosines[position] = 0.0
            elif normalize_query(plain.scope) == text:
                cosines[position] = 1.0
        return Scores(np.clip(cosines, 0.0, 1.0), np.zeros(len(edits)))
