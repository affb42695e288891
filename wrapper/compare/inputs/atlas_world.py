"""The facts table of a bench: facts to edit, their new objects, and their neighbours."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from errata.compare.inputs import chinese
from errata.facts import FactRow, FactSource, Relation, fill
from errata.facts.table import Split
from errata.gates.text import likeness, plain

NO_EDITS = frozenset({"maker", "address"})  # one subject each; to be forgotten
_MAX_SHARE = 0.8
"""Largest share of a relation's facts that are edited, so that neighbours remain."""

_AMBIGUOUS = frozenset(
    {("capital", "country"), ("state_capital", "country"), ("state_largest_city", "country"),
     ("leader", "nationality")}
)  # fmt: skip
"""Ambiguous hops after an edit: the new capital of Peru lies in France, or in Peru."""


class World:
    """Edited facts of one split, and all others.

    :param source: facts, sentences and aliases.
    :param split: of the edited subjects and of their new objects.
    """

    def __init__(self, source: FactSource, split: Split) -> None:
        self.source, self.split = source, split
        self.edited: frozenset[tuple[str, str]] = frozenset()
        self._assigned: Counter[tuple[str, str]] = Counter()
        self._names: dict[str, tuple[str, ...]] = {}
        self._folded: dict[str, frozenset[str]] = {}
        self._believed = {(f.subject, f.relation): f.believed for f in source.facts}
        self.by_relation: dict[str, list[FactRow]] = defaultdict(list)
        self.by_subject: dict[tuple[str, str], list[FactRow]] = defaultdict(list)
        self._taken: set[tuple[str, str]] = set()
        of_kind: dict[str, dict[str, None]] = defaultdict(dict)
        objects: dict[str, dict[str, None]] = defaultdict(dict)
        splits = source.object_splits()
        for fact in source.facts:
            self.by_relation[fact.relation].append(fact)
            self.by_subject[fact.kind, fact.subject].append(fact)
            self._taken |= {(fact.relation, fact.believed), (fact.relation, fact.object)}
            if fact.split == split:
                of_kind[fact.kind][fact.subject] = None
            if splits[fact.believed] == split:
                objects[fact.relation][fact.believed] = None
        self._of_kind, self._objects = of_kind, objects
        self._next_relations = {
            first.name: [
                second for second in source.relations.values()
                if second.subject == first.object and second.chinese == first.chinese
                and (first.name, second.name) not in _AMBIGUOUS
            ]
            for first in source.relations.values()
        }  # fmt: skip

    # -- edits -------------------------------------------------------------------------------

    def choose(self, n: int, rng: random.Random) -> list[FactRow]:
        """Return facts to edit, relations in turn, and store them as ``edited``.

        Reversible relations have two turns, since few of their facts are unambiguous in reverse.
        At most half of a subject's facts and four fifths of a relation's are chosen, so that
        unedited neighbours remain; a fact that is in two languages only once.
        """
        relations = list(self.source.relations.values())
        relations += [one for one in relations if one.reversed and one.descriptor]
        rng.shuffle(relations)
        queue_of = {one.name: self._queue(one, rng) for one in self.source.relations.values()}
        queues = [queue_of[one.name] for one in relations]
        chosen: list[FactRow] = []
        keys: set[tuple[str, str]] = set()
        per_subject: dict[str, int] = defaultdict(int)
        while queues and len(chosen) < n:
            for queue in queues:
                while queue and len(chosen) < n:
                    fact = queue.pop()
                    key = self.key(fact)
                    facts = len(self.by_subject[fact.kind, fact.subject])
                    if key in keys or per_subject[key[0]] >= (facts + 1) // 2:
                        continue
                    chosen.append(fact)
                    keys.add(key)
                    per_subject[key[0]] += 1
                    break
            queues = [queue for queue in queues if queue]
        self.edited = frozenset(keys)
        return chosen

    def _queue(self, relation: Relation, rng: random.Random) -> list[FactRow]:
        facts = [f for f in self.by_relation[relation.name] if f.split == self.split]
        facts = [f for f in facts if relation.name not in NO_EDITS and any(self._pool(f))]
        # Popped from the end: facts in two languages first, then subjects with aliases.
        place = {f.subject: rng.random() + (f.subject in self.source.aliases) / 2 for f in facts}
        facts.sort(key=lambda f: (chinese.twin(f.subject, f.relation) is not None,
                                  place[f.subject]))  # fmt: skip
        return facts[-max(1, int(_MAX_SHARE * len(facts))) :] if facts else []

    def _pool(self, fact: FactRow) -> Iterator[str]:
        """Yield possible new objects of a fact: of its type and split, different from its own."""
        relation = self.relation(fact)
        known = {**self._objects[relation.name], **self._of_kind[relation.object]}
        excluded = (fact.believed, fact.object, fact.subject)
        return (name for name in known if not any(self.same_entity(name, one) for one in excluded))

    def target(self, fact: FactRow, rng: random.Random) -> str:
        """Return a random counterfactual object among those that allow the most kinds of probes."""
        relation = self.relation(fact)
        pool = list(self._pool(fact))
        wanted: list[Callable[[str], bool]] = []
        if chinese.twin(fact.subject, fact.relation):
            wanted.append(lambda name: chinese.other_name(name) is not None)
        if relation.reversed:
            wanted.append(lambda name: self._is_free(fact.relation, name))
        if relation.descriptor:
            wanted.append(lambda name: bool(self.next_relations(relation, name)))
        for fits in wanted:
            pool = [name for name in pool if fits(name)] or pool
        chosen = rng.choice(pool)
        self._assigned[fact.relation, chosen] += 1
        return chosen

    # -- facts -------------------------------------------------------------------------------

    def relation(self, fact: FactRow) -> Relation:
        """Return a fact's relation."""
        return self.source.relations[fact.relation]

    def key(self, fact: FactRow) -> tuple[str, str]:
        """Return a fact's key, the same in every language."""
        return chinese.canonical(fact.subject, fact.relation)

    def names(self, name: str) -> tuple[str, ...]:
        """Return a name's aliases, the name first."""
        if name not in self._names:
            aliases = (name, fill("{s}", name), *self.source.aliases.get(name, ()))
            distinct = {plain(alias): alias for alias in reversed(aliases)}
            self._names[name] = tuple(distinct.values())[::-1]
        return self._names[name]

    def same_entity(self, one: str, other: str) -> bool:
        """Return whether two names share an alias."""
        for name in (one, other):
            if name not in self._folded:
                self._folded[name] = frozenset(map(plain, self.names(name)))
        return not self._folded[one].isdisjoint(self._folded[other])

    def in_sentence(self, obj: str, relation: Relation) -> str:
        """Return an object with its article, as within a sentence: the United States."""
        filled = fill("{s}", obj) if relation.object == "country" else obj
        return f"the {obj}" if filled != obj and filled.startswith("The ") else obj

    def believed(self, subject: str, relation: str) -> str | None:
        """Return the believed object of an unedited fact; None if edited or unknown."""
        if chinese.canonical(subject, relation) in self.edited:
            return None
        return self._believed.get((subject, relation))

    def before(self, subject: str, relation: str) -> str | None:
        """Return the believed object of a fact before all edits."""
        return self._believed.get((subject, relation))

    def _is_free(self, relation: str, target: str) -> bool:
        """Return whether no subject has an object, and no edit assigns it."""
        return (relation, target) not in self._taken and not self._assigned[relation, target]

    def leads_back(self, fact: FactRow, target: str) -> bool:
        """Return whether only the edited subject has a new object, after all edits."""
        key = (fact.relation, target)
        return key not in self._taken and self._assigned[key] == 1

    def next_relations(self, relation: Relation, bridge: str) -> list[Relation]:
        """Return the relations of a bridge entity that form a second hop."""
        return [r for r in self._next_relations[relation.name] if self.believed(bridge, r.name)]

    # -- neighbours --------------------------------------------------------------------------

    def untouched(self, facts: Sequence[FactRow]) -> list[FactRow]:
        """Return the unedited facts."""
        return [fact for fact in facts if self.key(fact) not in self.edited]

    def other_subjects(self, fact: FactRow, count: int, rng: random.Random) -> list[FactRow]:
        """Return facts of other subjects in the same relation, the most similar name first.

        Of the same split where possible, so that gates and reasoners were not trained on them.
        """
        others = [
            other for other in self.untouched(self.by_relation[fact.relation])
            if other.kind == fact.kind and not self.same_entity(other.subject, fact.subject)
        ]  # fmt: skip
        rng.shuffle(others)
        others.sort(key=lambda f: (f.split != self.split, f.split == "train"))
        nearest = max(others, key=lambda f: _similarity(fact.subject, f.subject), default=None)
        return sorted(others, key=lambda f: f is not nearest)[:count]

    def same_object(self, fact: FactRow, count: int, rng: random.Random) -> list[FactRow]:
        """Return facts of other subjects that have the old object."""
        found = [f for f in self.untouched(self.by_relation[fact.relation])
                 if f.believed == fact.believed and f.subject != fact.subject]  # fmt: skip
        return rng.sample(found, min(count, len(found)))

    def other_relations(self, fact: FactRow) -> Iterator[FactRow]:
        """Yield the subject's other unedited facts."""
        similar = {"birthplace", "nationality"}  # both answer: where does she come from?
        for other in self.untouched(self.by_subject[fact.kind, fact.subject]):
            if other.relation != fact.relation and {other.relation, fact.relation} != similar:
                yield other


def _similarity(one: str, other: str) -> float:
    """Return the similarity of two names: of their letters, plus 1 for a common word."""
    one, other = plain(one), plain(other)
    return likeness(one, other) + bool(set(one.split()) & set(other.split()))
