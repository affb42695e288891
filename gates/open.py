"""The open gate: no gate at all, for controls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from errata.cache.records import Edit, Hit, Query, RegexPatch
from errata.gates.base import Decision, Scores
from errata.gates.routing import make_decision


class OpenGate:
    """Lets every edit that the cache proposes govern the query; regex patches aside."""

    def score(self, query: Query | str, edits: Sequence[Edit | Hit]) -> Scores:
        """Return 1 for each of n edits, 0 for regex patches."""
        plain = [edit.edit if isinstance(edit, Hit) else edit for edit in edits]
        governs = [0.0 if isinstance(edit, RegexPatch) else 1.0 for edit in plain]
        return Scores(np.array(governs, dtype=np.float64), np.zeros(len(edits)))

    def decide(self, query: Query, hits: Sequence[Hit]) -> Decision:
        """Return the decision for one query: all that the cache found fires, in its order."""
        return make_decision(query, hits, self.score(query, hits), threshold=1.0, near=1.0)
