"""Trials: a cache of facts, queries in and out of their scope, and a gate's decision on each.

Rates are per query, over all candidates that the cache finds: one wrong candidate among ten is a
wrong answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from errata.cache.encoder import Encoder, encode_queries
from errata.cache.records import Fact
from errata.cache.store import EditCache
from errata.facts import load_aliases
from errata.gates.base import Decision, Gate
from errata.gates.data.augment import careless
from errata.gates.data.distractors import questions_without
from errata.gates.data.popular_negatives import famous_neighbours
from errata.gates.data.questions import Item, Label, QuestionBook
from errata.gates.evaluation.base_agreement import BaseAgreement

CHUNK = 64
_SYMMETRIC = frozenset({"distance"})
NEIGHBOURS = 16
"""Candidates that a search returns for a query."""


@dataclass(frozen=True, slots=True)
class TrialQuery:
    """One query of a trial.

    :param text: the query.
    :param kind: its kind, for tables.
    :param label: ``paraphrase`` or ``entailed`` by an edit of the trial, else ``none``.
    :param edit_id: id of that edit, or empty.
    :param about: id of the edit it was made for; empty for an open question.
    """

    text: str
    kind: str
    label: Label
    edit_id: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """Edits in force and queries."""

    edits: tuple[Fact, ...]
    queries: tuple[TrialQuery, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The decision on one query.

    :param query: the query.
    :param probability: of the most probable candidate.
    :param best_id: id of its edit.
    :param entailed: whether its relation is entailed and not paraphrase.
    :param hit: whether an edit fired.
    :param agreement: probability of the likeliest candidate whose question the base model answers
        as the query; 0 without one, or without a base model.
    """

    query: TrialQuery
    probability: float
    best_id: str
    entailed: bool
    hit: bool
    agreement: float = 0.0

    @property
    def correct(self) -> bool:
        """Whether the most probable candidate is the edit that governs the query."""
        return bool(self.query.edit_id) and self.best_id == self.query.edit_id


def build_trial(
    book: QuestionBook,
    open_questions: Sequence[str],
    *,
    size: int,
    seed: int = 0,
    only: frozenset[str] = frozenset(),
    famous: bool = False,
) -> Trial:
    """Return a trial about the subjects of a book.

    :param book: of the subjects.
    :param open_questions: questions out of scope; those that name a subject of the trial are left
        out.
    :param size: facts in the cache, one a subject; fewer where the book has fewer subjects.
    :param only: relations of those facts; any if empty.
    :param famous: whether to add the same questions about popular subjects.
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
        for one in (*book.paraphrases(item, rng, 3), *book.entailed(item, rng)):
            queries.append(TrialQuery(one.text, one.kind, one.label, edit.id, edit.id))
        negatives = [*book.neighbours(item, rng, 3)]
        if famous:
            negatives += famous_neighbours(item, rng)
        for one in negatives:
            if careless(one.text) not in governed:
                queries.append(TrialQuery(one.text, one.kind, "none", about=edit.id))
    names = {
        name for item in items for name in (item.subject, *load_aliases().get(item.subject, ()))
    }
    unrelated = questions_without(open_questions, names)
    queries += [TrialQuery(text, "open question", "none") for text in unrelated]
    return Trial(tuple(edits), tuple(queries))


def _edit(item: Item, position: int) -> Fact:
    """Return the item as an edit; every second one has no subject given."""
    return Fact(
        item.render(item.topic.forms[0]),
        item.answer,
        subject=item.subject if position % 2 else None,
    )


def _governed(item: Item) -> list[str]:
    base = item.topic.base
    forms = list(item.topic.forms + item.topic.held_out)
    if base is not None:
        forms += [*base.yes_no, *base.yes_no_held_out, *base.reversed, *base.reversed_held_out]
        forms += base.keywords
    return [item.render(form) for form in forms]


def run_trial(
    gate: Gate,
    encoder: Encoder,
    trial: Trial,
    *,
    base: BaseAgreement | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """Return the outcome of every query: search in the cache, then the gate's decision.

    :param encoder: of the gate; a caching one saves time.
    :param base: checks uncertain candidates.
    :param progress: called after each chunk with the number of queries done.
    """
    outcomes: list[Outcome] = []
    with EditCache(encoder) as cache:
        cache.add(trial.edits)
        view = cache.view()
        for start in range(0, len(trial.queries), CHUNK):
            chunk = trial.queries[start : start + CHUNK]
            queries = encode_queries(encoder, [one.text for one in chunk])
            decided = gate.decide_batch(queries, view.search(queries, NEIGHBOURS))
            agreement = base.agreement(decided) if base is not None else [0.0] * len(decided)
            outcomes += map(_outcome, chunk, decided, agreement)
            if progress is not None:
                progress(len(outcomes))
    return outcomes


def _outcome(query: TrialQuery, decision: Decision, agreement: float) -> Outcome:
    first = decision.candidates[0]
    entailed = first.relation == "entailed"
    return Outcome(query, first.probability, first.edit_id, entailed, decision.hit, agreement)


def split_trial(trial: Trial, size: int) -> tuple[Trial, ...]:
    """Return the trial as several, each with some of the edits and the queries about them.

    :param size: edits in each; a smaller remainder is left out. Open questions are distributed in
        turn.
    """
    caches = [trial.edits[at : at + size] for at in range(0, len(trial.edits) - size + 1, size)]
    place = {edit.id: at for at, edits in enumerate(caches) for edit in edits}
    queries: list[list[TrialQuery]] = [[] for _ in caches]
    for turn, query in enumerate(trial.queries):
        at = place.get(query.about) if query.about else turn % len(caches)
        if at is not None:
            queries[at].append(query)
    return tuple(Trial(edits, tuple(some)) for edits, some in zip(caches, queries, strict=True))


def reversed_pairs(book: QuestionBook, rng: random.Random) -> Iterator[tuple[str, Fact]]:
    """Yield questions about two things, and edits with the two in reverse order.

    Symmetric relations, such as distance, are left out.
    """
    for item in book.items:
        forms = [form for form in item.topic.forms if "{t}" in form]
        others = [
            other.subject
            for other in book.by_topic[item.kind, item.topic.name]
            if other.subject != item.subject
        ]
        if not forms or not others or item.topic.name in _SYMMETRIC:
            continue
        second = rng.choice(others)
        edit = question_only(item.render(forms[0], other=second))
        yield item.render(rng.choice(forms), second, item.subject), edit


def question_only(question: str) -> Fact:
    """Return an edit that is a question without an answer, as in labelled question pairs."""
    return Fact(question, forget=True)
