"""A trial: a cache of facts, queries about them and beside them, and what a gate makes of each.

Rates are per query, over all that the cache finds near it, because that is what a user sees: one
wrong candidate among ten is a wrong answer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.records import Fact, Hit, Query, Vector
from errata.gates.base import Decision, Gate
from errata.gates.classifier import ScopeClassifier
from errata.gates.noise import careless
from errata.gates.questions import Item, Label, QuestionBook

CHUNK = 64
NEIGHBOURS = 16
"""Candidates that a search returns for a query."""


@dataclass(frozen=True, slots=True)
class TrialQuery:
    """One query of a trial.

    :param text: the query.
    :param kind: what sort of query.
    :param label: ``same`` or ``follows`` where an edit of the trial governs it, else ``none``.
    :param edit_id: that edit, or empty.
    """

    text: str
    kind: str
    label: Label
    edit_id: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """Edits in force and queries to put to them."""

    edits: tuple[Fact, ...]
    queries: tuple[TrialQuery, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a gate made of one query.

    :param query: the query.
    :param probability: of the most probable candidate.
    :param best_id: its edit.
    :param follows: whether the gate says that the query only follows from it.
    :param hit: whether anything fired.
    """

    query: TrialQuery
    probability: float
    best_id: str
    follows: bool
    hit: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95% Wilson interval."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """The share itself; NaN of nothing."""
        return self.hits / self.n if self.n else math.nan

    def interval(self, z: float = 1.959964) -> tuple[float, float]:
        """Return the Wilson interval."""
        if not self.n:
            return (0.0, 1.0)
        p, n = self.value, self.n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
        return (max(0.0, centre - half), min(1.0, centre + half))


def build_trial(
    book: QuestionBook,
    open_questions: Sequence[str],
    *,
    size: int,
    seed: int = 0,
    only: frozenset[str] = frozenset(),
) -> Trial:
    """Return a trial about the subjects of a book.

    :param book: whose subjects are asked about.
    :param open_questions: questions that no edit governs.
    :param size: facts in the cache, one a subject; fewer where the book has fewer subjects.
    :param only: relations of those facts; any if empty.
    """
    rng = random.Random(seed)
    subjects = sorted(book.by_subject)
    rng.shuffle(subjects)
    items: list[Item] = []
    for key in subjects:
        known = [
            item
            for item in book.by_subject[key]
            if item.topic.base and item.kind != "model" and (not only or item.topic.name in only)
        ]
        if known and len(items) < size:
            items.append(rng.choice(known))
    edits = [_edit(item, position) for position, item in enumerate(items)]
    governed = {careless(text) for item in items for text in _governed(item)}
    queries = []
    for item, edit in zip(items, edits, strict=True):
        for asking in (*book.same(item, rng, 3), *book.follows(item, rng)):
            queries.append(TrialQuery(asking.text, asking.kind, asking.label, edit.id))
        for asking in book.neighbours(item, rng, 3):
            if careless(asking.text) not in governed:
                queries.append(TrialQuery(asking.text, asking.kind, "none"))
    queries += [TrialQuery(text, "open question", "none") for text in open_questions]
    return Trial(tuple(edits), tuple(queries))


def _edit(item: Item, position: int) -> Fact:
    """Return the item as an edit; every other one leaves its subject to be found."""
    return Fact(
        item.say(item.topic.forms[0]),
        item.answer,
        subject=item.subject if position % 2 else None,
    )


def _governed(item: Item) -> list[str]:
    base = item.topic.base
    forms = list(item.topic.forms + item.topic.held_out)
    if base is not None:
        forms += [*base.yes_no, *base.yes_no_held_out, *base.reversed, *base.reversed_held_out]
        forms += base.keywords
    return [item.say(form) for form in forms]


def run_trial(
    gate: Gate,
    encoder: Encoder,
    trial: Trial,
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """Put every query of a trial to a gate.

    :param progress: called now and then with the number of queries done.
    """
    rows = encoder.encode([edit.scope for edit in trial.edits])
    outcomes: list[Outcome] = []
    for start in range(0, len(trial.queries), CHUNK):
        asked = trial.queries[start : start + CHUNK]
        queries = _read([one.text for one in asked], encoder)
        hits = [_search(query, trial.edits, rows) for query in queries]
        for one, decision in zip(asked, _decide(gate, queries, hits), strict=True):
            first = decision.candidates[0]
            follows = first.relation == "follows"
            outcomes.append(Outcome(one, first.probability, first.edit_id, follows, decision.hit))
        if progress is not None:
            progress(len(outcomes))
    return outcomes


def _read(texts: Sequence[str], encoder: Encoder) -> list[Query]:
    windows = [encoder.windows(text) for text in texts]
    rows = encoder.encode([window for some in windows for window in some])
    unknown = encoder.unknown_share(texts)
    queries, start = [], 0
    for text, some, share in zip(texts, windows, unknown.tolist(), strict=True):
        queries.append(Query(text, some, rows[start : start + len(some)], share))
        start += len(some)
    return queries


def _search(query: Query, edits: Sequence[Fact], rows: Vector) -> list[Hit]:
    """Return the edits nearest to a query."""
    scores = (query.vectors @ rows.T).max(axis=0)
    nearest = np.argsort(-scores, kind="stable")[:NEIGHBOURS]
    return [Hit(edits[at], float(scores[at]), rows[at]) for at in nearest.tolist()]


def _decide(gate: Gate, queries: list[Query], hits: list[list[Hit]]) -> list[Decision]:
    if isinstance(gate, ScopeClassifier):
        return gate.decide_batch(queries, hits)
    return [gate.decide(query, found) for query, found in zip(queries, hits, strict=True)]
