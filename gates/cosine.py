"""A threshold on the cosine similarity, as in a semantic cache. A baseline, and for tests."""

from __future__ import annotations

from collections.abc import Mapping

from errata.cache.encoder import Encoder
from errata.cache.records import Query
from errata.gates.examples import NearestExamples
from errata.gates.similarity import SimilarityGate


class CosineGate(SimilarityGate):
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
        super().__init__(encoder, threshold, near, edit_thresholds)

    def similarity(self, query: Query | str, nearest: NearestExamples) -> float:
        """Return the best window's cosine with the nearest example."""
        return min(1.0, max(0.0, nearest.cosine))
