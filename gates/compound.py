"""Score conditions of several clauses from the scores of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from errata.cache.records import Edit, Hit, LanguagePatch, Query
from errata.gates.conditions.parse import Condition, read_condition
from errata.gates.examples import moved

if TYPE_CHECKING:
    from errata.gates.base import Scores, ThresholdGate

_EVEN = 0.5
"""Where the thresholds of all clauses are moved to, so that they can be compared."""


def score_clauses(
    gate: ThresholdGate, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
) -> list[Scores]:
    """Return probabilities as ``gate.score_unlisted`` does, those of several clauses combined.

    Each clause is scored as a condition of its own. *All* is the least of its parts, *any* the
    greatest, *not* one minus it (Zadeh 1965), on scales on which every threshold is one half.

    :param gate: scores single clauses.
    :param queries: n queries or texts.
    :param edits: for each of them the edits.
    """
    clauses = [[_clauses(one) for one in some] for some in edits]
    single: list[list[Edit | Hit]] = []
    for some, found in zip(edits, clauses, strict=True):
        single.append([])
        for one, parts in zip(some, found, strict=True):
            single[-1] += parts or (one,)
    scores = gate.score_unlisted(queries, single)
    if not any(parts for found in clauses for parts in found):
        return scores
    combined = []
    for query, some, found, scored in zip(queries, edits, clauses, scores, strict=True):
        text = query if isinstance(query, str) else query.text
        probability, entailed, at = np.zeros(len(some)), np.zeros(len(some)), 0
        for place, (one, parts) in enumerate(zip(some, found, strict=True)):
            count = len(parts) or 1
            values = scored.probability[at : at + count]
            probability[place], entailed[place] = values[0], scored.entailed[at]
            if parts:
                edit = one.edit if isinstance(one, Hit) else one
                known = {
                    part.condition: moved(float(value), gate.threshold_of(part), _EVEN)
                    for part, value in zip(parts, values, strict=True)
                }
                value = _value(read_condition(edit.scope), known, text)
                # undecided does not hold
                probability[place] = moved(value or 0.0, _EVEN, gate.threshold_of(edit))
                entailed[place] = 0.0
            at += count
        combined.append(type(scored)(probability, entailed))
    return combined


def _clauses(one: Edit | Hit) -> list[LanguagePatch]:
    """Return the clauses of a condition that has several and is not decided by rules alone."""
    edit = one.edit if isinstance(one, Hit) else one
    if not isinstance(edit, LanguagePatch):
        return []
    condition = read_condition(edit.condition)
    if not condition.parts or condition.certain:
        return []
    sources = dict.fromkeys(leaf.source for leaf in _leaves(condition))
    return [LanguagePatch(text, edit.consequence, id=f"{edit.id}: {text}") for text in sources]


def _leaves(condition: Condition) -> list[Condition]:
    if not condition.parts:
        return [condition]
    return [leaf for part in condition.parts for leaf in _leaves(part)]


def _value(condition: Condition, known: dict[str, float], text: str) -> float | None:
    """Return how far a condition holds, 0 to 1; None: undecided."""
    if not condition.parts:
        if condition.certain:
            verdict = condition.verdict(text)
            return None if verdict is None else float(verdict)
        return known[condition.source]
    values = [_value(part, known, text) for part in condition.parts]
    decided = [value for value in values if value is not None]
    if condition.kind == "not":
        return 1.0 - decided[0] if decided else None
    if condition.kind == "any":
        best = max(decided, default=0.0)
        return best if best >= _EVEN or len(decided) == len(values) else None
    worst = min(decided, default=1.0)
    return worst if worst < _EVEN or len(decided) == len(values) else None
