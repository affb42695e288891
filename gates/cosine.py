"""A threshold on the cosine similarity, as in a semantic cache. A baseline, and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.records import Edit, Hit, Query, RegexPatch
from errata.gates.base import Scores, ThresholdGate
from errata.gates.examples import nearest_examples


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

    def score_unlisted(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return the best window's cosine with the nearest example of each edit.

        A query nearer to a counterexample has cosine 0.
        """
        return [
            Scores(np.array([self._cosine(query, edit) for edit in some]), np.zeros(len(some)))
            for query, some in zip(queries, edits, strict=True)
        ]

    def _cosine(self, query: Query | str, edit: Edit | Hit) -> float:
        if isinstance(edit.edit if isinstance(edit, Hit) else edit, RegexPatch):
            return 0.0
        nearest = nearest_examples(query, edit, self._encoder, with_scope=True)
        return 0.0 if nearest.against else min(1.0, max(0.0, nearest.cosine))
