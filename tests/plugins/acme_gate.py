"""A gate of another package: the share of words that query and edit have in common."""

import numpy as np

from errata.cache.records import Hit, RegexPatch
from errata.cache.text.normalize import normalize_query
from errata.gates.base import Scores, make_decision


class OverlapGate:
    def __init__(self, encoder, threshold=0.8, *, edit_thresholds=None):
        self.threshold, self.edit_thresholds = threshold, edit_thresholds or {}

    def score_batch(self, queries, edits):
        return [self.score(query, some) for query, some in zip(queries, edits, strict=True)]

    def decide_batch(self, queries, hits):
        return [self.decide(query, some) for query, some in zip(queries, hits, strict=True)]

    def score(self, query, edits):
        text = query if isinstance(query, str) else query.text
        plain = [edit.edit if isinstance(edit, Hit) else edit for edit in edits]
        shares = [0.0 if isinstance(e, RegexPatch) else _overlap(text, e.scope) for e in plain]
        return Scores(np.array(shares, dtype=np.float64), np.zeros(len(shares)))

    def decide(self, query, hits):
        return make_decision(
            query, hits, self.score(query, hits), threshold=self.threshold, near=0.5,
            edit_thresholds=self.edit_thresholds,
        )  # fmt: skip


def _overlap(one, other):
    words, others = (set(normalize_query(text).split()) for text in (one, other))
    return len(words & others) / max(1, len(words | others))
