"""A trial: a cache of facts, queries about them and beside them, and what a gate makes of each.

Rates are per query, over all that the cache finds near it, because that is what a user sees: one
wrong candidate among ten is a wrong answer.
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
from errata.gates.data.distractors import unnamed
from errata.gates.data.popular_negatives import famous_neighbours
from errata.gates.data.questions import Item, Label, QuestionBook
from errata.gates.evaluation.base_agreement import BaseAgreement

CHUNK = 64
_EITHER_WAY = frozenset({"distance"})
NEIGHBOURS = 16
"""Candidates that a search returns for a query."""


@dataclass(frozen=True, slots=True)
class TrialQuery:
    """One query of a trial.

    :param text: the query.
    :param kind: what sort of query.
    :param label: ``same`` or ``follows`` where an edit of the trial governs it, else ``none``.
    :param edit_id: that edit, or empty.
    :param about: the edit it was made for, governed or not; empty for an open question.
    """

    text: str
    kind: str
    label: Label
    edit_id: str = ""
    about: str = ""


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
    :param agreed: of the most probable candidate whose question the base model answers as the
        query; 0 where there is none, or no base was asked.
    """

    query: TrialQuery
    probability: float
    best_id: str
    follows: bool
    hit: bool
    agreed: float = 0.0

    @property
    def right(self) -> bool:
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

    :param book: whose subjects are asked about.
    :param open_questions: questions that no edit governs, if they name no subject of the trial's;
        those that do are left out.
    :param size: facts in the cache, one a subject; fewer where the book has fewer subjects.
    :param only: relations of those facts; any if empty.
    :param famous: ask the same of famous subjects, too.
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
            queries.append(TrialQuery(asking.text, asking.kind, asking.label, edit.id, edit.id))
        beside = [*book.neighbours(item, rng, 3)]
        if famous:
            beside += famous_neighbours(item, rng)
        for asking in beside:
            if careless(asking.text) not in governed:
                queries.append(TrialQuery(asking.text, asking.kind, "none", about=edit.id))
    names = {
        name for item in items for name in (item.subject, *load_aliases().get(item.subject, ()))
    }
    apart = unnamed(open_questions, names)
    queries += [TrialQuery(text, "open question", "none") for text in apart]
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
    base: BaseAgreement | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Outcome]:
    """Put every query of a trial to the cache, and what it finds to a gate.

    :param encoder: the gate's own; one that remembers saves time.
    :param base: is asked where the gate is in doubt.
    :param progress: called now and then with the number of queries done.
    """
    outcomes: list[Outcome] = []
    with EditCache(encoder) as cache:
        cache.add(trial.edits)
        view = cache.view()
        for start in range(0, len(trial.queries), CHUNK):
            asked = trial.queries[start : start + CHUNK]
            queries = encode_queries(encoder, [one.text for one in asked])
            decided = gate.decide_batch(queries, view.search(queries, NEIGHBOURS))
            agreed = base.agreed(decided) if base is not None else [0.0] * len(decided)
            outcomes += map(_outcome, asked, decided, agreed)
            if progress is not None:
                progress(len(outcomes))
    return outcomes


def _outcome(query: TrialQuery, decision: Decision, agreed: float) -> Outcome:
    first = decision.candidates[0]
    follows = first.relation == "entailed"
    return Outcome(query, first.probability, first.edit_id, follows, decision.hit, agreed)


def parted(trial: Trial, size: int) -> tuple[Trial, ...]:
    """Return the trial as several, each a cache of some of the edits and the queries about them.

    :param size: edits in each; a rest too small for another is left out. Open questions are dealt
        out in turn.
    """
    caches = [trial.edits[at : at + size] for at in range(0, len(trial.edits) - size + 1, size)]
    place = {edit.id: at for at, edits in enumerate(caches) for edit in edits}
    queries: list[list[TrialQuery]] = [[] for _ in caches]
    for turn, query in enumerate(trial.queries):
        at = place.get(query.about) if query.about else turn % len(caches)
        if at is not None:
            queries[at].append(query)
    return tuple(Trial(edits, tuple(some)) for edits, some in zip(caches, queries, strict=True))


def turned_pairs(book: QuestionBook, rng: random.Random) -> Iterator[tuple[str, Fact]]:
    """Yield questions about two things and edits that ask the same the other way round.

    Only where it is another question: not of distances.
    """
    for item in book.items:
        forms = [form for form in item.topic.forms if "{t}" in form]
        others = [
            other.subject
            for other in book.by_topic[item.kind, item.topic.name]
            if other.subject != item.subject
        ]
        if not forms or not others or item.topic.name in _EITHER_WAY:
            continue
        second = rng.choice(others)
        edit = bare(item.say(forms[0], other=second))
        yield item.say(rng.choice(forms), second, item.subject), edit


def bare(question: str) -> Fact:
    """Return an edit that is a question alone, as pairs of questions are learned."""
    return Fact(question, forget=True)
