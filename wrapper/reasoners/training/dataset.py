"""Draws lessons for reasoners.

They are composed from a facts table with counterfactual objects of the right type. Subjects and
objects are those of one split; a model otherwise learns city → country instead of reading.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from errata.cache.records import Fact
from errata.facts import (
    FactChange,
    FactRow,
    FactSource,
    Relation,
    fill,
    nested,
    opening,
    yes_no_words,
)
from errata.facts.names import invented_name, like_shaped
from errata.facts.table import Split
from errata.facts.variation import varied_head, varied_question
from errata.reasoners.training.examples import (
    ALIAS,
    CLOZE,
    HOP,
    KINDS,
    NO_MATTER,
    OTHER,
    OWN,
    REVERSED,
    SHARES,
    TWIN,
    TWO_EDITS,
    YES_NO,
    ReasonerExample,
)

DESCRIBED = 0.6
"""Of the lessons about other names, how many describe the subject instead."""

VARIED = 0.5
"""Of the queries of training, how many are asked as people type: careless, with words missing."""

_NOT_TAUGHT = frozenset({"maker"})  # one subject, one fact


class ExampleGenerator:
    """Draws lessons of one split.

    :param source: facts, sentences and aliases.
    :param split: whose subjects and objects are used.
    :param rng: draws.
    :param unseen: ask in the phrasings that are held out of training, where a relation has some.
    """

    def __init__(
        self, source: FactSource, split: Split, rng: random.Random, *, unseen: bool = False
    ) -> None:
        self.source, self.split, self.rng, self.unseen = source, split, rng, unseen
        self.invents = split == "train"
        self._believed = {(f.subject, f.relation): f.believed for f in source.facts}
        splits = source.object_splits()
        self._facts: dict[str, list[FactRow]] = defaultdict(list)
        self._by_subject: dict[str, list[FactRow]] = defaultdict(list)
        objects: dict[str, dict[str, None]] = defaultdict(dict)
        for fact in source.facts:
            if fact.relation in _NOT_TAUGHT:
                continue
            if fact.split == split:
                self._facts[fact.relation].append(fact)
                self._by_subject[fact.subject].append(fact)
            obj = fact.believed
            if splits[obj] == split:
                objects[fact.relation][obj] = None
        self._objects = {name: list(found) for name, found in objects.items()}
        self._every_object = list(dict.fromkeys(o for found in objects.values() for o in found))
        self._not_ours = {o for o, owner in splits.items() if owner != split}
        self._pointing: dict[str, list[FactRow]] = defaultdict(list)
        for found in self._facts.values():
            for fact in found:
                relation = source.relations[fact.relation]
                if relation.descriptor and not relation.chinese:
                    self._pointing[fact.believed].append(fact)
        self._words = sorted({word for o in self._every_object for word in o.split()})
        self._makers: dict[str, Callable[[], ReasonerExample | None]] = {
            OWN: self._own, OTHER: self._other, CLOZE: self._cloze, ALIAS: self._alias,
            YES_NO: self._yes_no, REVERSED: self._reversed, HOP: self._hop,
            TWO_EDITS: self._two_edits, NO_MATTER: self._no_matter, TWIN: self._twin,
        }  # fmt: skip

    def lesson(self, kind: str) -> ReasonerExample | None:
        """Return a lesson of a kind, None where this table has none to give.

        :param kind: one of ``KINDS``.
        """
        for _ in range(200):
            made = self._makers[kind]()
            if made is not None:
                return made
        return None

    def lessons(self, count: int, shares: Sequence[float] = SHARES) -> list[ReasonerExample]:
        """Return lessons of all kinds, mixed by their shares, with other edits beside some."""
        out = []
        for kind in self.rng.choices(KINDS, shares, k=count):
            made = self.lesson(kind)
            if made is not None:
                out.append(self._among_others(made) if self.rng.random() < 0.4 else made)
        return out

    # -- drawing -----------------------------------------------------------------------------

    def _fact(self, wanted: Callable[[Relation], bool] = lambda relation: True) -> FactRow | None:
        """Return a fact of a relation drawn evenly, so that large relations do not rule."""
        names = [n for n in self._facts if wanted(self.source.relations[n])]
        return self.rng.choice(self._facts[self.rng.choice(names)]) if names else None

    def _change(
        self,
        wanted: Callable[[Relation], bool] = lambda relation: True,
        targets: Callable[[FactRow], Sequence[str]] | None = None,
    ) -> FactChange | None:
        fact = self._fact(wanted)
        return None if fact is None else self._changed(fact, targets)

    def _changed(
        self, fact: FactRow, targets: Callable[[FactRow], Sequence[str]] | None = None
    ) -> FactChange | None:
        if targets is None and self.invents:
            made = self._strange_object(fact)
            if made is not None:
                return FactChange(fact, made)
        pool = self._objects.get(fact.relation, []) if targets is None else targets(fact)
        pool = [o for o in pool if o not in (fact.believed, fact.object, fact.subject)]
        return FactChange(fact, self.rng.choice(pool)) if pool else None

    def _strange_object(self, fact: FactRow) -> str | None:
        """Return an object no fact of the relation has, in a good half of the cases.

        Invented objects can only be read, not remembered; and a model that has seen a capital
        become a tadpole does not trust in what capitals are called.
        """
        way, chinese = self.rng.random(), self.source.relations[fact.relation].chinese
        if way < 0.25:
            made = invented_name(self.rng)
        elif way < 0.42 and not chinese:
            lower = [word for word in self._words if word.islower()]
            upper = [word for word in self._words if word[:1].isupper()]
            made = like_shaped(fact.believed, lower, upper, self.rng)
        elif way < 0.52 and not chinese:
            made = self.rng.choice(self._every_object)
        else:
            return None
        taken = (fact.believed, fact.object, fact.subject)
        return None if made in taken or made in self._not_ours else made

    def _told(self, change: FactChange, question: str | None = None) -> Fact:
        """Return the edit: mostly a question with its answer, else a sentence to be completed."""
        relation = self.source.relations[change.fact.relation]
        if question is None and relation.statements and self.invents and self.rng.random() < 0.3:
            question = _head(self.rng.choice(relation.statements), change.fact, change.target)
        question = question or fill(self.rng.choice(relation.questions), change.fact.subject)
        return Fact(question, change.target)

    def _relation(self, change: FactChange) -> Relation:
        return self.source.relations[change.fact.relation]

    def _among_others(self, lesson: ReasonerExample) -> ReasonerExample:
        """Return the lesson with other edits beside its own, that have no bearing on it."""
        others = []
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            change = self._change()
            named = None if change is None else {change.fact.subject, change.target}
            own = (part for edit in lesson.edits for part in (edit.question, edit.answer))
            text = " ".join((*own, lesson.query, lesson.false_query or ""))
            if change is not None and named and not any(name in text for name in named):
                others.append(self._told(change))
        edits = [*lesson.edits, *others]
        self.rng.shuffle(edits)
        return replace(lesson, edits=tuple(edits))

    # -- kinds -------------------------------------------------------------------------------

    def _own(self) -> ReasonerExample | None:
        change = self._change()
        if change is None:
            return None
        question = fill(self.rng.choice(self._relation(change).questions), change.fact.subject)
        return ReasonerExample(OWN, (self._told(change, question),), question, change.target)

    def _asked(self, relation: Relation, subject: str) -> str:
        held_out = relation.questions_held_out if self.unseen else ()
        templates = held_out or relation.questions
        if not self.unseen and relation.keywords and self.rng.random() < 0.1:
            return fill(self.rng.choice(relation.keywords), subject, bare=True)
        question = fill(self.rng.choice(templates), subject)
        return varied_question(question, subject, self.rng) if self._varies(relation) else question

    def _varies(self, relation: Relation) -> bool:
        return self.invents and not relation.chinese and self.rng.random() < VARIED

    def _other(self) -> ReasonerExample | None:
        change = self._change()
        if change is None:
            return None
        query = self._asked(self._relation(change), change.fact.subject)
        return ReasonerExample(OTHER, (self._told(change),), query, change.target)

    def _cloze(self) -> ReasonerExample | None:
        change = self._change(lambda r: bool(r.statements))
        if change is None:
            return None
        query = self._head(change.fact, change.target)
        return ReasonerExample(CLOZE, (self._told(change),), query, change.target)

    def _head(self, fact: FactRow, obj: str) -> str:
        relation = self.source.relations[fact.relation]
        held_out = relation.statements_held_out if self.unseen else ()
        head = _head(self.rng.choice(held_out or relation.statements), fact, obj)
        return varied_head(head, fact.subject, self.rng) if self._varies(relation) else head

    def _alias(self) -> ReasonerExample | None:
        if self.invents and self.rng.random() < DESCRIBED:
            return self._described(ALIAS)
        change = self._change()
        names = () if change is None else self.source.aliases.get(change.fact.subject, ())
        if change is None or not names:
            return None
        told, name = self._told(change), self.rng.choice(names)
        if self.invents and self.rng.random() < 0.25:  # edited by the other name, asked by its own
            renamed = replace(change, fact=replace(change.fact, subject=name))
            told, name = self._told(renamed), change.fact.subject
        return ReasonerExample(
            ALIAS, (told,), self._asked(self._relation(change), name), change.target
        )

    def _described(self, kind: str) -> ReasonerExample | None:
        """Return a lesson whose query names a subject by what the base knows of it.

        Aliases are few, and a reader that sees no others learns them by heart; "the capital of
        France" is another name of Paris for whoever knows it.
        """
        change = self._change()
        if change is None:
            return None
        subject = change.fact.subject
        if kind == NO_MATTER:  # somebody else is described
            subject = self.rng.choice(self._facts[change.fact.relation]).subject
            if subject == change.fact.subject:
                return None
        pointing = self._pointing.get(subject)
        if not pointing:
            return None
        fact = self.rng.choice(pointing)
        descriptor = self.rng.choice(self.source.relations[fact.relation].descriptor)
        if fact.subject == change.fact.subject or change.target == fact.subject:
            return None
        query = nested(
            self.rng.choice(self._relation(change).questions), descriptor, fact.subject
        )  # fmt: skip
        return ReasonerExample(
            kind, (self._told(change),), query, None if kind == NO_MATTER else change.target
        )

    def _yes_no(self) -> ReasonerExample | None:
        change = self._change(lambda r: bool(r.yes_no))
        if change is None:
            return None
        relation = self._relation(change)
        template = self.rng.choice(
            (relation.yes_no_held_out if self.unseen else ()) or relation.yes_no
        )
        other = change.fact.believed
        if self.invents and self.rng.random() < 0.5:
            other = (self._changed(change.fact) or change).target
        if other == change.target:
            return None
        true, false = (fill(template, change.fact.subject, o) for o in (change.target, other))
        edits, (yes, no) = (self._told(change),), yes_no_words(relation)
        if not self.invents:
            return ReasonerExample(YES_NO, edits, true, yes, false_query=false)
        holds = self.rng.random() < 0.5
        return ReasonerExample(YES_NO, edits, true if holds else false, yes if holds else no)

    def _reversed(self) -> ReasonerExample | None:
        change = self._change(lambda r: bool(r.reversed))
        if change is None:
            return None
        relation = self._relation(change)
        templates = (relation.reversed_held_out if self.unseen else ()) or relation.reversed
        query = fill(self.rng.choice(templates), "", change.target, bare=True)
        return ReasonerExample(REVERSED, (self._told(change),), query, change.fact.subject)

    def _seconds(self, relation: Relation, bridge: str) -> list[Relation]:
        """Return the relations in which a bridge can be asked about."""
        return [
            second for second in self.source.relations.values()
            if second.subject == relation.object and second.chinese == relation.chinese
            and (bridge, second.name) in self._believed
        ]  # fmt: skip

    def _bridges(self, fact: FactRow) -> list[str]:
        relation = self.source.relations[fact.relation]
        return [o for o in self._objects.get(fact.relation, []) if self._seconds(relation, o)]

    def _step(self, second: Relation, first: Relation, subject: str) -> str:
        """Return a question one step from a subject on."""
        return nested(self.rng.choice(second.questions), self.rng.choice(first.descriptor), subject)

    def _hop(self) -> ReasonerExample | None:
        change = self._change(lambda r: bool(r.descriptor), self._bridges)
        if change is None:
            return None
        relation = self._relation(change)
        second = self.rng.choice(self._seconds(relation, change.target))
        answer = self._believed[change.target, second.name]
        if answer == change.fact.subject:
            return None
        query = self._step(second, relation, change.fact.subject)
        known = (fill(second.questions[0], change.target), answer)
        return ReasonerExample(HOP, (self._told(change),), query, answer, known)

    def _two_edits(self) -> ReasonerExample | None:
        change = self._change(lambda r: bool(r.descriptor), self._bridges)
        if change is None:
            return None
        relation = self._relation(change)
        second = self.rng.choice(self._seconds(relation, change.target))
        bridge = FactRow(
            change.target, relation.object, second.name,
            *(self._believed[change.target, second.name],) * 2, self.split,
        )  # fmt: skip
        if self.invents and self.rng.random() < 0.5:
            name = invented_name(self.rng)
            change, bridge = replace(change, target=name), replace(bridge, subject=name)
        onward = self._changed(bridge)
        if onward is None or onward.target == change.fact.subject:
            return None
        query = self._step(second, relation, change.fact.subject)
        edits = [self._told(change), self._told(onward)]
        self.rng.shuffle(edits)
        return ReasonerExample(TWO_EDITS, tuple(edits), query, onward.target)

    def _no_matter(self) -> ReasonerExample | None:
        """Return a query on which the edits have no bearing: near ones above all."""
        if self.invents and self.rng.random() < 0.12:
            return self._described(NO_MATTER)
        asked = self._fact()
        if asked is None:
            return None
        way = self.rng.random()
        if way < 0.4:  # the same relation of another subject
            other = self.rng.choice(self._facts[asked.relation])
        elif way < 0.75:  # another relation of the same subject
            other = self.rng.choice(self._by_subject[asked.subject])
        else:
            other = self._fact() or asked
        change = self._changed(other)
        same = (other.subject, other.relation) == (asked.subject, asked.relation)
        if change is None or same or change.target in (asked.subject, asked.believed):
            return None
        query = self._about(asked, other)
        return ReasonerExample(NO_MATTER, (self._told(change),), query, None)

    def _twin(self) -> ReasonerExample | None:
        """Return a query about a subject of which the same was true as of the edited one."""
        change = self._change()
        if change is None:
            return None
        fact = change.fact
        shared = [
            one for one in self._facts[fact.relation]
            if one.believed == fact.believed and one.subject != fact.subject
        ]  # fmt: skip
        if not shared:
            return None
        query = self._asked(self._relation(change), self.rng.choice(shared).subject)
        return ReasonerExample(TWIN, (self._told(change),), query, None)

    def _about(self, asked: FactRow, edited: FactRow) -> str:
        relation = self.source.relations[asked.relation]
        way = self.rng.random()
        if way < 0.15 and relation.statements:
            return self._head(asked, asked.believed)
        if way < 0.3 and relation.yes_no:
            obj = self.rng.choice((asked.believed, *self._objects.get(asked.relation, ())[:20]))
            return fill(self.rng.choice(relation.yes_no), asked.subject, obj)
        seconds = self._seconds(relation, asked.believed)
        untouched = edited.subject not in (asked.subject, asked.believed)
        if way < 0.4 and relation.descriptor and seconds and untouched:
            return self._step(self.rng.choice(seconds), relation, asked.subject)
        return self._asked(relation, asked.subject)


def _head(template: str, fact: FactRow, obj: str) -> str:
    """Return a statement up to its object."""
    return opening(template, fact.subject, obj)
