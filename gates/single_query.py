"""Gates of the version 0.1 protocol, which take one query at a time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from errata.cache.records import Edit, Hit, Query
from errata.gates.base import Decision, Scores


@runtime_checkable
class SingleQueryGate(Protocol):
    """The gate protocol of version 0.1: one query at a time."""

    def score(self, query: Query | str, edits: Sequence[Edit | Hit]) -> Scores:
        """Return calibrated probabilities of one query against each edit."""

    def decide(self, query: Query, hits: Sequence[Hit]) -> Decision:
        """Return the decision on one query."""


class BatchAdapter:
    """The batch methods for a gate that takes one query at a time.

    :param gate: a gate of the version 0.1 protocol.
    """

    def __init__(self, gate: SingleQueryGate) -> None:
        warnings.warn(
            f"expected a gate with score_batch and decide_batch, found {type(gate).__name__} with "
            "score and decide; implement the batch methods (errata.gates.base.Gate)",
            DeprecationWarning,
            stacklevel=4,
        )
        self.gate = gate

    def score_batch(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return the scores of each query, one call a query."""
        return [self.gate.score(query, some) for query, some in zip(queries, edits, strict=True)]

    def decide_batch(
        self, queries: Sequence[Query], hits: Sequence[Sequence[Hit]]
    ) -> list[Decision]:
        """Return the decision on each query, one call a query."""
        return [self.gate.decide(query, found) for query, found in zip(queries, hits, strict=True)]
