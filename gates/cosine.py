"""The plain gate: a threshold on the cosine, as a semantic cache has. A baseline, and for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.records import Edit, Hit, Query, RegexPatch
from errata.cache.text.normalize import normalize_query
from errata.gates.base import Decision, Scores
from errata.gates.routing import make_decision


class CosineGate:
    """Lets an edit govern a query where their cosine reaches a threshold.

    Its probabilities are cosines, clipped to 0 and 1, and not calibrated; it never says *follows*.

    :param encoder: encodes what comes without an encoding.
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

    def score(self, query: Query | str, edits: Sequence[Edit | Hit]) -> Scores:
        """Return the best window's cosine with each of n edits; 1 where the characters match."""
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
        # einsum, since BLAS rounds otherwise in otherwise sized batches
        cosines = np.einsum("wd,nd->nw", vectors, rows).astype(np.float64).max(axis=1)
        wanted = normalize_query(text)
        for position, edit in enumerate(plain):
            if isinstance(edit, RegexPatch):
                cosines[position] = 0.0
            elif normalize_query(edit.scope) == wanted:
                cosines[position] = 1.0
        return Scores(np.clip(cosines, 0.0, 1.0), np.zeros(len(edits)))

    def decide(self, query: Query, hits: Sequence[Hit]) -> Decision:
        """Return the decision for one query, given what the cache found; no hits, no edit fires."""
        return make_decision(
            query,
            hits,
            self.score(query, hits),
            threshold=self.threshold,
            near=self._near,
            edit_thresholds=self._edit_thresholds,
        )
