"""The open gate: every candidate governs. A control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from errata.cache.records import Edit, Hit, Query, RegexPatch
from errata.gates.base import Decision, Scores, SingleQueryMixin
from errata.gates.routing import make_decision


class OpenGate(SingleQueryMixin):
    """Lets every edit that the cache proposes govern the query, except regex patches."""

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return probability 1 for each edit, 0 for regex patches."""
        return [_open_scores(against) for against in edits]

    def decide_batch(
        self, queries: Sequence[Query], hits: Sequence[Sequence[Hit]]
    ) -> list[Decision]:
        """Return decisions by which all hits fire, in the cache's order."""
        return [
            make_decision(query, found, _open_scores(found), threshold=1.0, near=1.0)
            for query, found in zip(queries, hits, strict=True)
        ]


def _open_scores(edits: Sequence[Edit | Hit]) -> Scores:
    plain = [edit.edit if isinstance(edit, Hit) else edit for edit in edits]
    governs = [0.0 if isinstance(edit, RegexPatch) else 1.0 for edit in plain]
    return Scores(np.array(governs, dtype=np.float64), np.zeros(len(edits)))
