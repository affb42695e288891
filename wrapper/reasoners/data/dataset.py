"""Examples for reasoners, drawn from a facts table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from errata.cache.patches.kinds import context
from errata.facts import (
    FactChange,
    FactRow,
    Relation,
    cloze,
    fill,
    nested,
    uncapitalised,
    yes_no_words,
)
from errata.facts.names import invented_name
from errata.facts.variation import varied_head, varied_question
from errata.reasoners.data.draws import EditDrawer
from errata.reasoners.data.examples import (
    ALIAS,
    CLOZE,
    EDIT_QUESTION,
    KINDS,
    LOCALITY,
    ONE_HOP,
    PARAPHRASE,
    REVERSED,
    SAME_ANSWER_LOCALITY,
    SHARES,
    TWO_EDITS,
    YES_NO,
    ReasonerExample,
)

DESCRIPTION_SHARE = 0.6
"""Share of alias examples that describe the subject instead of using an alias."""

TYPO_SHARE = 0.5
"""Share of training queries written as people type: careless, with words missing."""


class ExampleGenerator(EditDrawer):
    """Draws examples of one split; made as its base class."""

    @cached_property
    def _generators(self) -> dict[str, Callable[[], ReasonerExample | None]]:
        """The method that draws an example, by its kind."""
        return {
            EDIT_QUESTION: self._edit_question, PARAPHRASE: self._paraphrase, CLOZE: self._cloze,
            ALIAS: self._alias, YES_NO: self._yes_no, REVERSED: self._reversed,
            ONE_HOP: self._one_hop, TWO_EDITS: self._two_edits, LOCALITY: self._locality,
            SAME_ANSWER_LOCALITY: self._same_answer_locality,
        }  # fmt: skip

    def example(self, kind: str) -> ReasonerExample | None:
        """Return an example of a kind, None where the table has none.

        :param kind: one of ``KINDS``.
        """
        for _ in range(200):
            made = self._generators[kind]()
            if made is not None:
                return made
        return None

    def examples(self, count: int, shares: Sequence[float] = SHARES) -> list[ReasonerExample]:
        """Return examples of all kinds by their shares, 40% of them with distractor edits."""
        out = []
        for kind in self.rng.choices(KINDS, shares, k=count):
            made = self.example(kind)
            if made is not None:
                out.append(self._with_distractors(made) if self.rng.random() < 0.4 else made)
        return out

    def _with_distractors(self, example: ReasonerExample) -> ReasonerExample:
        """Return the example with one to three further edits that do not govern its query."""
        distractors = []
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            change = self._change()
            named = None if change is None else {change.fact.subject, change.target}
            parts = map(context, example.edits)
            text = " ".join((*parts, example.query, example.false_query or ""))
            if change is not None and named and not any(name in text for name in named):
                distractors.append(self._edit(change))
        edits = [*example.edits, *distractors]
        self.rng.shuffle(edits)
        return replace(example, edits=tuple(edits))

    def _edit_question(self) -> ReasonerExample | None:
        change = self._change()
        if change is None:
            return None
        question = fill(self.rng.choice(self._relation(change).questions), change.fact.subject)
        return ReasonerExample(
            EDIT_QUESTION, (self._edit(change, question),), question, change.target,
            sentence=self._sentence(change), old=change.fact.believed,
        )  # fmt: skip

    def _sentence(self, change: FactChange, subject: str | None = None) -> str:
        """Return the answer as a sentence: the first statement of the relation."""
        statements = self._relation(change).statements
        subject = subject or change.fact.subject
        return fill(statements[0], subject, change.target) if statements else ""

    def _question(self, relation: Relation, subject: str) -> str:
        """Return a question of a relation about a subject, at times as keywords or with typos."""
        held_out = relation.questions_held_out if self.unseen else ()
        templates = held_out or relation.questions
        if not self.unseen and relation.keywords and self.rng.random() < 0.1:
            return fill(self.rng.choice(relation.keywords), subject, bare=True)
        question = fill(self.rng.choice(templates), subject)
        typed = self._with_typos(relation)
        return varied_question(question, subject, self.rng) if typed else question

    def _with_typos(self, relation: Relation) -> bool:
        return self.augment and not relation.chinese and self.rng.random() < TYPO_SHARE

    def _paraphrase(self) -> ReasonerExample | None:
        change = self._change()
        if change is None:
            return None
        query = self._question(self._relation(change), change.fact.subject)
        return ReasonerExample(
            PARAPHRASE, (self._edit(change),), query, change.target,
            sentence=self._sentence(change), old=change.fact.believed,
        )  # fmt: skip

    def _cloze(self) -> ReasonerExample | None:
        change = self._change(lambda r: bool(r.statements))
        if change is None:
            return None
        query = self._head(change.fact, change.target)
        return ReasonerExample(CLOZE, (self._edit(change),), query, change.target)

    def _head(self, fact: FactRow, obj: str) -> str:
        relation = self.source.relations[fact.relation]
        held_out = relation.statements_held_out if self.unseen else ()
        head = cloze(self.rng.choice(held_out or relation.statements), fact.subject, obj)
        return varied_head(head, fact.subject, self.rng) if self._with_typos(relation) else head

    def _alias(self) -> ReasonerExample | None:
        if self.augment and self.rng.random() < DESCRIPTION_SHARE:
            return self._described(ALIAS)
        change = self._change()
        names = () if change is None else self.source.aliases.get(change.fact.subject, ())
        if change is None or not names:
            return None
        edit, name = self._edit(change), self.rng.choice(names)
        if self.augment and self.rng.random() < 0.25:  # the alias in the edit, not in the query
            renamed = replace(change, fact=replace(change.fact, subject=name))
            edit, name = self._edit(renamed), change.fact.subject
        return ReasonerExample(
            ALIAS, (edit,), self._question(self._relation(change), name), change.target,
            sentence=self._sentence(change, name),
        )  # fmt: skip

    def _described(self, kind: str) -> ReasonerExample | None:
        """Return an example whose query describes its subject: "the capital of France" for Paris.

        Aliases are few, and a model trained on them only would memorise them.
        """
        change = self._change()
        if change is None:
            return None
        subject = change.fact.subject
        if kind == LOCALITY:  # another subject is described
            subject = self.rng.choice(self._facts[change.fact.relation]).subject
            if subject == change.fact.subject:
                return None
        facts = self._by_object.get(subject)
        if not facts:
            return None
        fact = self.rng.choice(facts)
        descriptor = self.rng.choice(self.source.relations[fact.relation].descriptor)
        if fact.subject == change.fact.subject or change.target == fact.subject:
            return None
        questions = self._relation(change).questions
        query = nested(self.rng.choice(questions), descriptor, fact.subject)
        return ReasonerExample(
            kind, (self._edit(change),), query, None if kind == LOCALITY else change.target
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
        if self.augment and self.rng.random() < 0.5:
            other = (self._change_of(change.fact) or change).target
        if other == change.target:
            return None
        true, false = (fill(template, change.fact.subject, o) for o in (change.target, other))
        edits, (yes, no) = (self._edit(change),), yes_no_words(relation)
        if not self.augment:
            return ReasonerExample(YES_NO, edits, true, yes, false_query=false)
        holds = self.rng.random() < 0.5
        word, query = (yes, true) if holds else (no, false)
        clause = uncapitalised(self._sentence(change), change.fact.subject)
        sentence = f"{word}, {clause}" if clause and not relation.chinese else ""
        return ReasonerExample(YES_NO, edits, query, word, sentence=sentence)

    def _reversed(self) -> ReasonerExample | None:
        change = self._change(lambda r: bool(r.reversed))
        if change is None:
            return None
        relation = self._relation(change)
        templates = (relation.reversed_held_out if self.unseen else ()) or relation.reversed
        query = fill(self.rng.choice(templates), "", change.target, bare=True)
        return ReasonerExample(
            REVERSED, (self._edit(change),), query, change.fact.subject,
            sentence=self._sentence(change),
        )  # fmt: skip

    def _second_relations(self, relation: Relation, bridge: str) -> list[Relation]:
        """Return the relations of which a bridge entity is the subject."""
        return [
            second for second in self.source.relations.values()
            if second.subject == relation.object and second.chinese == relation.chinese
            and (bridge, second.name) in self._believed
        ]  # fmt: skip

    def _bridges(self, fact: FactRow) -> list[str]:
        """Return the objects of a fact's relation about which more is known."""
        relation, objects = self.source.relations[fact.relation], self._objects
        return [o for o in objects.get(fact.relation, []) if self._second_relations(relation, o)]

    def _hop_question(self, second: Relation, first: Relation, subject: str) -> str:
        """Return a question one hop from a subject."""
        return nested(self.rng.choice(second.questions), self.rng.choice(first.descriptor), subject)

    def _one_hop(self) -> ReasonerExample | None:
        change = self._change(lambda r: bool(r.descriptor), self._bridges)
        if change is None:
            return None
        relation = self._relation(change)
        second = self.rng.choice(self._second_relations(relation, change.target))
        answer = self._believed[change.target, second.name]
        if answer == change.fact.subject:
            return None
        query = self._hop_question(second, relation, change.fact.subject)
        known = (fill(second.questions[0], change.target), answer)
        sentence = fill(second.statements[0], change.target, answer) if second.statements else ""
        return ReasonerExample(
            ONE_HOP, (self._edit(change),), query, answer, known, sentence=sentence
        )

    def _two_edits(self) -> ReasonerExample | None:
        change = self._change(lambda r: bool(r.descriptor), self._bridges)
        if change is None:
            return None
        relation = self._relation(change)
        second = self.rng.choice(self._second_relations(relation, change.target))
        bridge = FactRow(
            change.target, relation.object, second.name,
            *(self._believed[change.target, second.name],) * 2, self.split,
        )  # fmt: skip
        if self.augment and self.rng.random() < 0.5:
            name = invented_name(self.rng)
            change, bridge = replace(change, target=name), replace(bridge, subject=name)
        second_change = self._change_of(bridge)
        if second_change is None or second_change.target == change.fact.subject:
            return None
        query = self._hop_question(second, relation, change.fact.subject)
        edits = [self._edit(change), self._edit(second_change)]
        self.rng.shuffle(edits)
        return ReasonerExample(
            TWO_EDITS, tuple(edits), query, second_change.target,
            sentence=self._sentence(second_change),
        )  # fmt: skip

    def _locality(self) -> ReasonerExample | None:
        """Return a query that its edit does not govern, mostly a near one."""
        if self.augment and self.rng.random() < 0.12:
            return self._described(LOCALITY)
        queried = self._fact()
        if queried is None:
            return None
        draw = self.rng.random()
        if draw < 0.4:  # the same relation of another subject
            edited = self.rng.choice(self._facts[queried.relation])
        elif draw < 0.75:  # another relation of the same subject
            edited = self.rng.choice(self._by_subject[queried.subject])
        else:
            edited = self._fact() or queried
        change = self._change_of(edited)
        same = (edited.subject, edited.relation) == (queried.subject, queried.relation)
        if change is None or same or change.target in (queried.subject, queried.believed):
            return None
        query = self._query_of(queried, edited)
        return ReasonerExample(LOCALITY, (self._edit(change),), query, None)

    def _same_answer_locality(self) -> ReasonerExample | None:
        """Return a query about a subject that shares the edited one's old answer."""
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
        query = self._question(self._relation(change), self.rng.choice(shared).subject)
        return ReasonerExample(SAME_ANSWER_LOCALITY, (self._edit(change),), query, None)

    def _query_of(self, fact: FactRow, edited: FactRow) -> str:
        """Return a query about a fact: a question, cloze, yes-or-no or one-hop question."""
        relation = self.source.relations[fact.relation]
        draw = self.rng.random()
        if draw < 0.15 and relation.statements:
            return self._head(fact, fact.believed)
        if draw < 0.3 and relation.yes_no:
            obj = self.rng.choice((fact.believed, *self._objects.get(fact.relation, ())[:20]))
            return fill(self.rng.choice(relation.yes_no), fact.subject, obj)
        seconds = self._second_relations(relation, fact.believed)
        untouched = edited.subject not in (fact.subject, fact.believed)
        if draw < 0.4 and relation.descriptor and seconds and untouched:
            return self._hop_question(self.rng.choice(seconds), relation, fact.subject)
        return self._question(relation, fact.subject)
