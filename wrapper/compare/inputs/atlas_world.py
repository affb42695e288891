"""The facts table as a bench sees it: what may be changed, to what, and what must then stay."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from errata.compare.inputs import chinese
from errata.facts import FactRow, FactSource, Relation, fill
from errata.facts.table import Split
from errata.gates.text import likeness, plain

NO_EDITS = frozenset({"maker", "address"})  # one subject; to be forgotten, not corrected
_MOST_OF_RELATION = 0.8
"""Share of a relation's facts that are edited at most, so that neighbours remain."""

_ENTAILED = frozenset(
    {("capital", "country"), ("state_capital", "country"), ("state_largest_city", "country"),
     ("leader", "nationality")}
)  # fmt: skip
"""Steps whose answer is open after the edit: the new capital of Peru lies in France, or in Peru."""


class World:
    """Facts of one split that are edited, and all others.

    :param source: facts, sentences and aliases.
    :param split: whose subjects are edited, and whose objects they are given.
    """

    def __init__(self, source: FactSource, split: Split) -> None:
        self.source, self.split = source, split
        self.edited: frozenset[tuple[str, str]] = frozenset()
        self._given: Counter[tuple[str, str]] = Counter()
        self._names: dict[str, tuple[str, ...]] = {}
        self._folded: dict[str, frozenset[str]] = {}
        self._believed = {(f.subject, f.relation): f.believed for f in source.facts}
        self.by_relation: dict[str, list[FactRow]] = defaultdict(list)
        self.by_subject: dict[tuple[str, str], list[FactRow]] = defaultdict(list)
        self._owned: set[tuple[str, str]] = set()
        of_kind: dict[str, dict[str, None]] = defaultdict(dict)
        objects: dict[str, dict[str, None]] = defaultdict(dict)
        splits = source.object_splits()
        for fact in source.facts:
            self.by_relation[fact.relation].append(fact)
            self.by_subject[fact.kind, fact.subject].append(fact)
            self._owned |= {(fact.relation, fact.believed), (fact.relation, fact.object)}
            if fact.split == split:
                of_kind[fact.kind][fact.subject] = None
            if splits[fact.believed] == split:
                objects[fact.relation][fact.believed] = None
        self._of_kind, self._objects = of_kind, objects
        self._further = {
            first.name: [
                second for second in source.relations.values()
                if second.subject == first.object and second.chinese == first.chinese
                and (first.name, second.name) not in _ENTAILED
            ]
            for first in source.relations.values()
        }  # fmt: skip

    # -- what is edited ----------------------------------------------------------------------

    def choose(self, n: int, rng: random.Random) -> list[FactRow]:
        """Return facts to edit, relations in turn, and keep in mind which.

        Relations that can be asked in reverse come round twice, since few can without doubt.
        At most half of a subject's facts and four fifths of a relation's, so that there are
        neighbours no edit touches; a fact that the table has in two languages only once.
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
        # The last comes first: what the table has in two languages, and rather what has aliases.
        place = {f.subject: rng.random() + (f.subject in self.source.aliases) / 2 for f in facts}
        facts.sort(key=lambda f: (chinese.twin(f.subject, f.relation) is not None,
                                  place[f.subject]))  # fmt: skip
        return facts[-max(1, int(_MOST_OF_RELATION * len(facts))) :] if facts else []

    def _pool(self, fact: FactRow) -> Iterator[str]:
        """Yield the objects that a fact may be given: of its type and split, and not its own."""
        relation = self.relation(fact)
        known = {**self._objects[relation.name], **self._of_kind[relation.object]}
        own = (fact.believed, fact.object, fact.subject)
        return (name for name in known if not any(self.same_thing(name, one) for one in own))

    def target(self, fact: FactRow, rng: random.Random) -> str:
        """Return a counterfactual object: one that allows the most probes, drawn at random."""
        relation = self.relation(fact)
        pool = list(self._pool(fact))
        wanted: list[Callable[[str], bool]] = []
        if chinese.twin(fact.subject, fact.relation):
            wanted.append(lambda name: chinese.other_name(name) is not None)
        if relation.reversed:
            wanted.append(lambda name: self._free(fact.relation, name))
        if relation.descriptor:
            wanted.append(lambda name: bool(self.seconds(relation, name)))
        for fits in wanted:
            pool = [name for name in pool if fits(name)] or pool
        chosen = rng.choice(pool)
        self._given[fact.relation, chosen] += 1
        return chosen

    # -- what is known -----------------------------------------------------------------------

    def relation(self, fact: FactRow) -> Relation:
        """Return a fact's relation."""
        return self.source.relations[fact.relation]

    def key(self, fact: FactRow) -> tuple[str, str]:
        """Return what names a fact in any language."""
        return chinese.canonical(fact.subject, fact.relation)

    def names(self, name: str) -> tuple[str, ...]:
        """Return the ways to write a name, itself first."""
        if name not in self._names:
            ways = (name, fill("{s}", name), *self.source.aliases.get(name, ()))
            self._names[name] = tuple({plain(way): way for way in reversed(ways)}.values())[::-1]
        return self._names[name]

    def same_thing(self, one: str, other: str) -> bool:
        """Tell whether two names share a way to be written."""
        for name in (one, other):
            if name not in self._folded:
                self._folded[name] = frozenset(map(plain, self.names(name)))
        return not self._folded[one].isdisjoint(self._folded[other])

    def in_sentence(self, obj: str, relation: Relation) -> str:
        """Return an object as it stands within a sentence: the United States."""
        said = fill("{s}", obj) if relation.object == "country" else obj
        return f"the {obj}" if said != obj and said.startswith("The ") else obj

    def believed(self, subject: str, relation: str) -> str | None:
        """Return a fact's object as no edit has touched it, None where one has or none is known."""
        if chinese.canonical(subject, relation) in self.edited:
            return None
        return self._believed.get((subject, relation))

    def before(self, subject: str, relation: str) -> str | None:
        """Return a fact's object before all edits."""
        return self._believed.get((subject, relation))

    def _free(self, relation: str, target: str) -> bool:
        """Tell whether no subject has an object, and no edit gives it."""
        return (relation, target) not in self._owned and not self._given[relation, target]

    def leads_back(self, fact: FactRow, target: str) -> bool:
        """Tell whether a new object, once all are given, leads back to its subject alone."""
        asked = (fact.relation, target)
        return asked not in self._owned and self._given[asked] == 1

    def seconds(self, relation: Relation, bridge: str) -> list[Relation]:
        """Return the relations in which what a relation gives can be asked about further."""
        return [r for r in self._further[relation.name] if self.believed(bridge, r.name)]

    # -- neighbours --------------------------------------------------------------------------

    def untouched(self, facts: Sequence[FactRow]) -> list[FactRow]:
        """Return the facts that no edit changes."""
        return [fact for fact in facts if self.key(fact) not in self.edited]

    def other_subjects(self, fact: FactRow, count: int, rng: random.Random) -> list[FactRow]:
        """Return facts of other subjects in the same relation, the one most alike in name first.

        From the same split as far as it has any, so that they are no better known to what was
        trained on the others.
        """
        others = [
            other for other in self.untouched(self.by_relation[fact.relation])
            if other.kind == fact.kind and not self.same_thing(other.subject, fact.subject)
        ]  # fmt: skip
        rng.shuffle(others)
        others.sort(key=lambda f: (f.split != self.split, f.split == "train"))
        near = max(others, key=lambda f: _alike(fact.subject, f.subject), default=None)
        return sorted(others, key=lambda f: f is not near)[:count]

    def same_object(self, fact: FactRow, count: int, rng: random.Random) -> list[FactRow]:
        """Return facts of other subjects that have the old object."""
        found = [f for f in self.untouched(self.by_relation[fact.relation])
                 if f.believed == fact.believed and f.subject != fact.subject]  # fmt: skip
        return rng.sample(found, min(count, len(found)))

    def other_relations(self, fact: FactRow) -> Iterator[FactRow]:
        """Yield the subject's facts that the edit leaves alone."""
        alike = {"birthplace", "nationality"}  # both may be asked as: where does she come from?
        for other in self.untouched(self.by_subject[fact.kind, fact.subject]):
            if other.relation != fact.relation and {other.relation, fact.relation} != alike:
                yield other


def _alike(one: str, other: str) -> float:
    """Return how easily a name is taken for another: a word in common, or nearly all letters."""
    one, other = plain(one), plain(other)
    return likeness(one, other) + bool(set(one.split()) & set(other.split()))
