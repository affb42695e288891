"""Scoring pairs of a text and an edit with a gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from errata.cache.encoder import Encoder, encode_queries
from errata.cache.records import Edit, Hit
from errata.gates.base import Decision, Gate
from errata.gates.evaluation.metrics import Array, Truths

CHUNK = 256


class Progress(Protocol):
    """Receives the progress of an evaluation."""

    def __call__(self, suite: str, done: int, total: int, /) -> object:
        """Show the number of the suite's queries that are done."""


def no_progress(suite: str, done: int, total: int, /) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """Scores of n pairs of a text and an edit.

    :param probability: that the edit governs the text, float64 [n].
    :param fires: whether it reaches the gate's threshold, bool [n].
    :param entailed: whether the relation is entailed and not paraphrase, bool [n].
    """

    probability: Array
    fires: Truths
    entailed: Truths


def score_pairs(
    gate: Gate,
    encoder: Encoder,
    pairs: Sequence[tuple[str, Edit]],
    progress: Callable[[int], object] = lambda done: None,
) -> PairScores:
    """Return the scores of each text and its edit.

    :param encoder: of the gate.
    :param progress: called after each chunk with the number done.
    """
    found: list[Decision] = []
    for start in range(0, len(pairs), CHUNK):
        some = pairs[start : start + CHUNK]
        queries = encode_queries(encoder, [text for text, _ in some])
        rows = encoder.encode([edit.scope for _, edit in some])
        hits = [
            [Hit(edit, float((query.vectors @ row).max()), row)]
            for query, (_, edit), row in zip(queries, some, rows, strict=True)
        ]
        found += gate.decide_batch(queries, hits)
        progress(len(found))
    first = [decision.candidates[0] for decision in found]
    return PairScores(
        np.array([one.probability for one in first]),
        np.array([decision.hit for decision in found], dtype=bool),
        np.array([one.relation == "entailed" for one in first], dtype=bool),
    )
