"""Counterfactual edits drawn from a facts table, of the subjects and objects of one split.

Edits have counterfactual objects of the right type. Subjects and objects are of one split;
otherwise a model memorises city → country instead of reading the edit.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence

from errata.cache.records import Fact
from errata.facts import FactChange, FactRow, FactSource, Relation, cloze, fill
from errata.facts.names import invented_name, similar_object
from errata.facts.table import Split

_EXCLUDED = frozenset({"maker"})  # one subject, one fact


class EditDrawer:
    """Draws edits of one split.

    :param source: facts, sentences and aliases.
    :param split: of the subjects and objects.
    :param rng: of all draws.
    :param unseen: use the phrasings held out of training, where a relation has some.
    """

    def __init__(
        self, source: FactSource, split: Split, rng: random.Random, *, unseen: bool = False
    ) -> None:
        self.source, self.split, self.rng, self.unseen = source, split, rng, unseen
        self.augment = split == "train"
        self._believed = {(f.subject, f.relation): f.believed for f in source.facts}
        splits = source.object_splits()
        self._facts: dict[str, list[FactRow]] = defaultdict(list)
        self._by_subject: dict[str, list[FactRow]] = defaultdict(list)
        objects: dict[str, dict[str, None]] = defaultdict(dict)
        for fact in source.facts:
            if fact.relation in _EXCLUDED:
                continue
            if fact.split == split:
                self._facts[fact.relation].append(fact)
                self._by_subject[fact.subject].append(fact)
            if splits[fact.believed] == split:
                objects[fact.relation][fact.believed] = None
        self._objects = {name: list(found) for name, found in objects.items()}
        self._all_objects = list(dict.fromkeys(o for found in objects.values() for o in found))
        self._other_splits = {o for o, of in splits.items() if of != split}
        self._by_object: dict[str, list[FactRow]] = defaultdict(list)
        for found in self._facts.values():
            for fact in found:
                relation = source.relations[fact.relation]
                if relation.descriptor and not relation.chinese:
                    self._by_object[fact.believed].append(fact)
        self._words = sorted({word for o in self._all_objects for word in o.split()})

    def _fact(self, wanted: Callable[[Relation], bool] = lambda relation: True) -> FactRow | None:
        """Return a fact of a relation drawn uniformly over relations."""
        names = [n for n in self._facts if wanted(self.source.relations[n])]
        return self.rng.choice(self._facts[self.rng.choice(names)]) if names else None

    def _change(
        self,
        wanted: Callable[[Relation], bool] = lambda relation: True,
        targets: Callable[[FactRow], Sequence[str]] | None = None,
    ) -> FactChange | None:
        """Return a drawn fact with a counterfactual object."""
        fact = self._fact(wanted)
        return None if fact is None else self._change_of(fact, targets)

    def _change_of(
        self, fact: FactRow, targets: Callable[[FactRow], Sequence[str]] | None = None
    ) -> FactChange | None:
        """Return a fact with a counterfactual object."""
        if targets is None and self.augment:
            made = self._unusual_object(fact)
            if made is not None:
                return FactChange(fact, made)
        pool = self._objects.get(fact.relation, []) if targets is None else targets(fact)
        pool = [o for o in pool if o not in (fact.believed, fact.object, fact.subject)]
        return FactChange(fact, self.rng.choice(pool)) if pool else None

    def _unusual_object(self, fact: FactRow) -> str | None:
        """Return an object that no fact of the relation has, in half of the cases.

        It has to be read from the edit: neither memory nor the relation's type gives it away.
        """
        draw, chinese = self.rng.random(), self.source.relations[fact.relation].chinese
        if draw < 0.25:
            made = invented_name(self.rng)
        elif draw < 0.42 and not chinese:
            lower = [word for word in self._words if word.islower()]
            upper = [word for word in self._words if word[:1].isupper()]
            made = similar_object(fact.believed, lower, upper, self.rng)
        elif draw < 0.52 and not chinese:
            made = self.rng.choice(self._all_objects)
        else:
            return None
        taken = (fact.believed, fact.object, fact.subject)
        return None if made in taken or made in self._other_splits else made

    def _edit(self, change: FactChange, question: str | None = None) -> Fact:
        """Return the edit: mostly of a question, else of a sentence to complete."""
        relation = self.source.relations[change.fact.relation]
        if question is None and relation.statements and self.augment and self.rng.random() < 0.3:
            template = self.rng.choice(relation.statements)
            question = cloze(template, change.fact.subject, change.target)
        question = question or fill(self.rng.choice(relation.questions), change.fact.subject)
        return Fact(question, change.target)

    def _relation(self, change: FactChange) -> Relation:
        return self.source.relations[change.fact.relation]
