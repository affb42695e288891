"""The open gate: every candidate governs. A control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from errata.cache.records import Edit, Hit, Query, RegexPatch
from errata.gates.base import Scores, ThresholdGate


class OpenGate(ThresholdGate):
    """Lets every edit that the cache proposes govern the query, except regex patches."""

    def __init__(self) -> None:
        super().__init__(threshold=1.0, near=1.0)

    def score_unlisted(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return probability 1 for each edit, 0 for regex patches."""
        return [
            Scores(np.array([_governs(edit) for edit in some], np.float64), np.zeros(len(some)))
            for _, some in zip(queries, edits, strict=True)
        ]


def _governs(edit: Edit | Hit) -> bool:
    return not isinstance(edit.edit if isinstance(edit, Hit) else edit, RegexPatch)
