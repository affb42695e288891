"""Putting texts to a gate, each against one edit."""

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
    """Told how far an evaluation is."""

    def __call__(self, suite: str, done: int, total: int, /) -> object:
        """Note that so many of the suite's queries are done."""


def no_progress(suite: str, done: int, total: int, /) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What a gate says of n texts, each held against one edit.

    :param probability: that the edit governs, float64 [n].
    :param fires: whether it does at the gate's threshold, bool [n].
    :param follows: whether the text only follows from the edit, bool [n].
    """

    probability: Array
    fires: Truths
    follows: Truths


def judge_pairs(
    gate: Gate,
    encoder: Encoder,
    pairs: Sequence[tuple[str, Edit]],
    progress: Callable[[int], object] = lambda done: None,
) -> Judged:
    """Return what a gate says of each text and its edit.

    :param encoder: the gate's own.
    :param progress: called now and then with the number done.
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
    return Judged(
        np.array([one.probability for one in first]),
        np.array([decision.hit for decision in found], dtype=bool),
        np.array([one.relation == "entailed" for one in first], dtype=bool),
    )
