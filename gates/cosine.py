"""A threshold on the cosine similarity, as in a semantic cache. A baseline, and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.index.characters import normalise
from errata.cache.records import Edit, Hit, Query, RegexPatch
from errata.gates.base import Decision, Scores, SingleQueryMixin
from errata.gates.routing import make_decision


class CosineGate(SingleQueryMixin):
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
        self._encoder = encoder
        self.threshold = threshold
        self._near = near
        self._edit_thresholds = dict(edit_thresholds or {})

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return the best window's cosine with each edit; 1 where the characters match."""
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
            text, vectors = query, self._encoder.encode(self._encoder.windows(query))
        else:
            text, vectors = query.text, query.vectors
        plain = [edit.edit if isinstance(edit, Hit) else edit for edit in edits]
        rows = np.stack(
            [
                edit.vector if isinstance(edit, Hit) else self._encoder.encode([edit.scope])[0]
                for edit in edits
            ]
        )
        # einsum: BLAS rounds differently in batches of different size
        cosines = np.einsum("wd,nd->nw", vectors, rows).astype(np.float64).max(axis=1)
        normalised = normalise(text)
        for position, edit in enumerate(plain):
            if isinstance(edit, RegexPatch):
                cosines[position] = 0.0
            elif normalise(edit.scope) == normalised:
                cosines[position] = 1.0
        return Scores(np.clip(cosines, 0.0, 1.0), np.zeros(len(edits)))
