"""The base of gates that score by a similarity to the nearest examples of an edit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from errata.cache.encoder import TextEncoder
from errata.cache.records import Edit, Hit, Query, RegexPatch
from errata.gates.base import Scores, ThresholdGate
from errata.gates.examples import NearestExamples, nearest_examples


class SimilarityGate(ThresholdGate):
    """Scores by a similarity of the query and the nearest examples of an edit.

    Every relation is *paraphrase*; a query nearer to a counterexample, and a regex patch, score 0.

    :param encoder: encodes what comes without an embedding.
    :param threshold: the similarity from which an edit fires.
    :param near: share of the threshold from which a candidate is a near miss.
    :param edit_thresholds: thresholds of single edits, by id.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        threshold: float,
        near: float,
        edit_thresholds: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(threshold, near, edit_thresholds)
        self._encoder = encoder

    @abstractmethod
    def similarity(self, query: Query | str, nearest: NearestExamples) -> float:
        """Return the similarity, 0 to 1.

        :param nearest: at least one example.
        """

    def score_unlisted(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return the similarity of each query and each of its edits."""
        return [
            Scores(np.array([self._score(query, edit) for edit in some]), np.zeros(len(some)))
            for query, some in zip(queries, edits, strict=True)
        ]

    def _score(self, query: Query | str, edit: Edit | Hit) -> float:
        plain = edit.edit if isinstance(edit, Hit) else edit
        if isinstance(plain, RegexPatch):
            return 0.0
        nearest = nearest_examples(query, edit, self._encoder, also=plain.scope)
        usable = nearest.texts and not nearest.against
        return self.similarity(query, nearest) if usable else 0.0
