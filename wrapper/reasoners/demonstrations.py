"""Demonstrations of in-context editing: copy the edit, update by it, retain other facts.

Zheng et al. 2023, "Can we edit factual knowledge by in-context learning?", section 3.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from errata.cache.encoder import EmbeddingCache, Encoder
from errata.cache.errors import ErrataError
from errata.cache.records import Fact, Vector
from errata.facts import FactRow, FactSource, fill

Kind = Literal["copy", "update", "retain"]

ORDER: tuple[Kind, ...] = (
    "update", "retain", "copy", "retain", "update", "retain", "update", "retain",
)  # fmt: skip
"""Kinds of the nearest demonstrations, in turn: one copy, three updates, four retain."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """An edit, a query, and the answer under the edit.

    :param kind: copy, update or retain.
    :param edits: the edit.
    :param query: the query.
    :param answer: the edit's target, or the old answer where the edit does not govern the query.
    """

    kind: Kind
    edits: tuple[Fact, ...]
    query: str
    answer: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """An edit of a fact of the table, and its demonstrations."""

    subject: str
    edit: Fact
    demonstrations: dict[Kind, Demonstration]


class DemonstrationBook:
    """Demonstrations of the train subjects of a facts table, retrieved by similarity to an edit.

    Facts that atlas is taught wrong on purpose are left out. Safe under threads.

    :param source: the table.
    :param encoder: the sentence encoder.
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
        self._entries = self._draw(size)
        if not self._entries:
            raise ErrataError(
                "expected a facts table with relations of several train subjects and objects to "
                "make demonstrations of, found none; add facts, or use the table errata carries"
            )
        self._embeddings = EmbeddingCache(encoder)

    def nearest(self, question: str, count: int) -> list[Demonstration]:
        """Return the demonstrations nearest to an edit, none about a subject that it names.

        :param question: the edit's question.
        :param count: how many at most; their kinds follow :data:`ORDER`.
        """
        if count < 1:
            return []
        cosines = self._rows @ self._embeddings.encode([question])[0]
        ranked = (self._entries[i] for i in np.argsort(-cosines, kind="stable").tolist())
        chosen = [entry for entry in ranked if entry.subject not in question][:count]
        return [entry.demonstrations[ORDER[i % len(ORDER)]] for i, entry in enumerate(chosen)]

    @cached_property
    def _rows(self) -> Vector:
        """Embeddings of the entries' edits, float32 [n, d]; computed on first use."""
        return self._embeddings.encode([entry.edit.question for entry in self._entries])

    def _draw(self, size: int) -> list[_Entry]:
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
        same_relation = [f for f in self._facts[fact.relation] if f.object != fact.object]
        if not same_relation:
            return None
        target = rng.choice(same_relation).object
        question = fill(relation.questions[0], fact.subject)
        edit = Fact(question, target)
        paraphrase = fill(rng.choice(relation.questions[1:] or relation.questions), fact.subject)
        same_subject = [f for f in self._by_subject[fact.subject] if f.relation != fact.relation]
        pool = same_subject if same_subject and rng.random() < 0.5 else same_relation
        kept = rng.choice(pool)
        retained = fill(rng.choice(self._source.relations[kept.relation].questions), kept.subject)
        queries = {
            "copy": (question, target),
            "update": (paraphrase, target),
            "retain": (retained, kept.object),
        }
        demonstrations: dict[Kind, Demonstration] = {
            kind: Demonstration(kind, (edit,), *queries[kind]) for kind in dict.fromkeys(ORDER)
        }
        return _Entry(fact.subject, edit, demonstrations)
