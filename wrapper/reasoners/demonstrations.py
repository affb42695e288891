"""Demonstrations of in-context editing: copy the edit, update by it, retain what it leaves alone.

Zheng et al. 2023, "Can we edit factual knowledge by in-context learning?", section 3.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.errors import ErrataError
from errata.cache.records import Fact, Vector
from errata.facts import FactRow, FactSource, fill
from errata.gates.embedding_cache import EmbeddingCache

Kind = Literal["copy", "update", "retain"]

ORDER: tuple[Kind, ...] = (
    "update", "retain", "copy", "retain", "update", "retain", "update", "retain",
)  # fmt: skip
"""Kinds of the nearest demonstrations, in turn: one copy, three updates and four to retain."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """An edit, a query, and what one who believes the edit answers.

    :param kind: what it shows.
    :param edits: the edit.
    :param query: the query.
    :param answer: the new object, or the old answer where the edit has no bearing on the query.
    """

    kind: Kind
    edits: tuple[Fact, ...]
    query: str
    answer: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """A fact of the table with a counterfactual object, and the demonstrations made of it."""

    subject: str
    edit: Fact
    shown: dict[Kind, Demonstration]


class DemonstrationBook:
    """Demonstrations made of the train subjects of a facts table, the nearest to an edit first.

    Facts about which the table holds something false on purpose are left out. Safe under threads.

    :param source: the table.
    :param encoder: tells what is near.
    :param size: facts drawn from the table, the relations in turn.
    :param seed: of the draw.
    :raises ErrataError: no relation has train facts with two objects.
    """

    def __init__(
        self, source: FactSource, encoder: Encoder, *, size: int = 512, seed: int = 0
    ) -> None:
        self._source, self._rng = source, random.Random(f"demonstrations/{seed}")
        self._facts: dict[str, list[FactRow]] = defaultdict(list)
        self._by_subject: dict[str, list[FactRow]] = defaultdict(list)
        for fact in source.facts:
            if fact.split == "train" and not fact.marked:
                self._facts[fact.relation].append(fact)
                self._by_subject[fact.subject].append(fact)
        self._entries = self._drawn(size)
        if not self._entries:
            raise ErrataError(
                "expected a facts table with relations of several train subjects and objects to "
                "make demonstrations of, found none; add facts, or use the table errata carries"
            )
        self._memory = EmbeddingCache(encoder)

    def near(self, question: str, count: int) -> list[Demonstration]:
        """Return the demonstrations nearest to an edit, none about a subject that it names.

        :param question: the edit's question.
        :param count: how many at most; their kinds are those of :data:`ORDER`.
        """
        if count < 1:
            return []
        cosines = self._rows @ self._memory.encode([question])[0]
        nearest = (self._entries[i] for i in np.argsort(-cosines, kind="stable").tolist())
        others = [entry for entry in nearest if entry.subject not in question][:count]
        return [entry.shown[ORDER[i % len(ORDER)]] for i, entry in enumerate(others)]

    @cached_property
    def _rows(self) -> Vector:
        """Encodings of the entries' edits, float32 [n, d]; made when first needed."""
        return self._memory.encode([entry.edit.question for entry in self._entries])

    def _drawn(self, size: int) -> list[_Entry]:
        queues = []
        for relation in sorted(self._facts):
            queue = list(self._facts[relation])
            self._rng.shuffle(queue)
            queues.append(queue)
        out: list[_Entry] = []
        while len(out) < size and any(queues):
            for queue in filter(None, queues):
                entry = self._entry(queue.pop())
                if entry is not None:
                    out.append(entry)
        return out[:size]

    def _entry(self, fact: FactRow) -> _Entry | None:
        relation, rng = self._source.relations[fact.relation], self._rng
        same = [f for f in self._facts[fact.relation] if f.object != fact.object]
        if not same:
            return None
        target = rng.choice(same).object
        question = fill(relation.questions[0], fact.subject)
        edit = Fact(question, target)
        another = fill(rng.choice(relation.questions[1:] or relation.questions), fact.subject)
        beside = [f for f in self._by_subject[fact.subject] if f.relation != fact.relation]
        kept = rng.choice(beside if beside and rng.random() < 0.5 else same)
        retained = fill(rng.choice(self._source.relations[kept.relation].questions), kept.subject)
        queries = {
            "copy": (question, target),
            "update": (another, target),
            "retain": (retained, kept.object),
        }
        shown: dict[Kind, Demonstration] = {
            kind: Demonstration(kind, (edit,), *queries[kind]) for kind in dict.fromkeys(ORDER)
        }
        return _Entry(fact.subject, edit, shown)
