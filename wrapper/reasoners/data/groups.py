"""Groups of examples that share their edits: the training examples of chat models.

A reasoner reads the edits of a group once (:func:`errata.reasoners.training.losses.group_loss`),
and meets one edit under every kind of query, so that only the query tells the answers apart.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from errata.cache.patches.kinds import context
from errata.cache.records import Edit, Fact, LanguagePatch
from errata.cache.storage.tables import read_table
from errata.cache.text.then_clause import verbatim_answer
from errata.facts import FactChange, FactRow, FactSource, Relation, uncapitalised
from errata.facts.names import invented_name, invented_word
from errata.facts.table import Split
from errata.reasoners.data.dataset import ExampleGenerator
from errata.reasoners.data.examples import (
    ALIAS,
    CLOZE,
    EDIT_QUESTION,
    LOCALITY,
    ONE_HOP,
    PARAPHRASE,
    REAL_LOCALITY,
    REAL_PARAPHRASE,
    REVERSED,
    SAME_ANSWER_LOCALITY,
    SAY_THAT,
    TWO_EDITS,
    YES_NO,
    ReasonerExample,
)
from errata.reasoners.data.texts import RealTexts, first_word

_PACKAGE = "errata.reasoners.data"

Group = list[ReasonerExample]

_FACTS, _QUESTIONS, _STATEMENTS = "facts", "questions", "statements"
_LEADS = {
    ONE_HOP: 0.3, REVERSED: 0.25, YES_NO: 0.1, PARAPHRASE: 0.1, EDIT_QUESTION: 0.1, ALIAS: 0.1,
    TWO_EDITS: 0.05,
}  # fmt: skip
"""Which kind chooses the edit of a group: not every edit has one hop, reversed or an alias."""
_BESIDE = {
    PARAPHRASE: 0.7, LOCALITY: 1.0, SAME_ANSWER_LOCALITY: 0.3, CLOZE: 0.3, ALIAS: 0.3,
}  # fmt: skip
"""Share of groups of facts with a query of each further kind; both forms of yes or no are in all.
A cloze is governed about as often as it is not: its form must not tell whether the edit matters."""
_TYPO_SHARE = 0.15
"""Share of queries written carelessly: a chat model reads them already."""
_PATCH_SHARE = 0.15
"""Share of groups of facts whose edit is worded as ``if: …`` / ``then: say that …``."""
_DISTRACTOR_SHARE = 0.25
"""Share of groups of facts with a second edit that governs none of the queries."""


class SharedEditGenerator(ExampleGenerator):
    """Draws several queries under one counterfactual edit of a facts table.

    :param source: facts, sentences and aliases.
    :param split: of the subjects and objects.
    :param rng: of all draws.
    """

    def __init__(
        self, source: FactSource, split: Split, rng: random.Random, *, unseen: bool = False
    ) -> None:
        super().__init__(english(source), split, rng, unseen=unseen)
        self._shared: tuple[FactChange, Fact] | None = None
        self._drawn: FactChange | None = None

    def group(self) -> Group:
        """Return examples under one edit: one that chose it, and others of several kinds."""
        self._shared = None
        lead = None
        while lead is None:
            (kind,) = self.rng.choices([*_LEADS], [*_LEADS.values()])
            lead = self.example(kind)
        drawn = self._drawn
        if lead.kind == TWO_EDITS or drawn is None:
            return [lead]
        self._shared = drawn, cast(Fact, lead.edits[0])
        forms = [self.example(YES_NO) for _ in range(6)]
        kinds = [k for k, share in _BESIDE.items() if self.rng.random() < share]
        others = [
            *map(self.example, kinds),
            next((one for one in forms if one and one.answer == "Yes"), None),
            next((one for one in forms if one and one.answer == "No"), None),
        ]  # fmt: skip
        found = {one.query: one for one in (*others, lead) if one is not None}
        return self._with_distractor(list(found.values()))

    def _change(
        self,
        wanted: Callable[[Relation], bool] = lambda relation: True,
        targets: Callable[[FactRow], Sequence[str]] | None = None,
    ) -> FactChange | None:
        if self._shared is None:
            self._drawn = super()._change(wanted, targets)
            return self._drawn
        change, _ = self._shared
        return change if wanted(self._relation(change)) and targets is None else None

    def _edit(self, change: FactChange, question: str | None = None) -> Fact:
        return super()._edit(change, question) if self._shared is None else self._shared[1]

    def _with_typos(self, relation: Relation) -> bool:
        return self.augment and self.rng.random() < _TYPO_SHARE

    def _locality(self) -> ReasonerExample | None:
        if self._shared is None:
            return super()._locality()
        change, edit = self._shared
        fact, draw = change.fact, self.rng.random()
        if draw < 0.45:  # the same relation of another subject
            queried = self.rng.choice(self._facts[fact.relation])
        elif draw < 0.8:  # another relation of the same subject
            queried = self.rng.choice(self._by_subject[fact.subject])
        else:
            queried = self._fact() or fact
        same = (fact.subject, fact.relation) == (queried.subject, queried.relation)
        if same or change.target in (queried.subject, queried.believed):
            return None
        return ReasonerExample(LOCALITY, (edit,), self._query_of(queried, fact), None)

    def _with_distractor(self, group: Group) -> Group:
        """Return the group, at times with a second edit, at times with its edit as a patch."""
        draw, (edit,) = self.rng.random(), group[0].edits
        if draw < _DISTRACTOR_SHARE:
            drawn, shared = self._drawn, self._shared
            self._shared = None
            other = self._change()
            text = " ".join((context(edit), *(one.query for one in group)))
            if other is not None and other.fact.subject not in text and other.target not in text:
                edits = [edit, self._edit(other)]
                self.rng.shuffle(edits)
                group = [replace(one, edits=tuple(edits)) for one in group]
            self._drawn, self._shared = drawn, shared
        elif draw < _DISTRACTOR_SHARE + _PATCH_SHARE and self._shared is not None:
            patch = self._as_patch(*self._shared)
            group = [replace(one, edits=(patch,)) for one in group]
        return group

    def _as_patch(self, change: FactChange, edit: Fact) -> LanguagePatch:
        asked = edit.question[:1].lower() + edit.question[1:].rstrip("?.")
        clause = uncapitalised(self._sentence(change), change.fact.subject).rstrip(".")
        return LanguagePatch(f"the user asks {asked}", f"say that {clause or change.target}")


def english(source: FactSource) -> FactSource:
    """Return the facts of the relations that are asked about in English."""
    relations = {name: r for name, r in source.relations.items() if not r.chinese}
    facts = tuple(fact for fact in source.facts if fact.relation in relations)
    return FactSource(facts, relations, source.aliases)


class GroupGenerator:
    """Draws groups of examples of facts, of real questions, and of what an assistant is to say.

    :param source: facts, sentences and aliases.
    :param split: of subjects, objects, questions and intents.
    :param rng: of all draws.
    :param texts: of real people; without them there are groups of facts only.
    :param held_out: use the statements about the assistant that are held out of training.
    """

    def __init__(
        self,
        source: FactSource,
        split: Split,
        rng: random.Random,
        texts: RealTexts | None = None,
        *,
        held_out: bool = False,
    ) -> None:
        self.rng, self._facts = rng, SharedEditGenerator(source, split, rng)
        self._about = "held_out" if held_out else "about_itself"
        texts = texts or RealTexts()
        self._questions, self._answers = texts.questions(split), texts.answers
        self._near = [text for text in self._questions.different if text in self._questions.same]
        self._every = list(dict.fromkeys((*self._questions.same, *self._questions.different)))
        self._intents = texts.intents(split)
        self._statements: dict[str, list[Any]] = read_table(
            "errata.reasoners.data", "statements.yaml"
        )
        self._shares = {
            _FACTS: 0.4,
            _QUESTIONS: 0.42 if self._every else 0.0,
            _STATEMENTS: 0.18 if len(self._intents) > 1 else 0.0,
        }

    def group(self) -> Group:
        """Return one group; all of its examples have the same edits."""
        (kind,) = self.rng.choices([*self._shares], [*self._shares.values()])
        if kind == _FACTS:
            return self._facts.group()
        return self._question_group() if kind == _QUESTIONS else self._statement_group()

    def _question_group(self) -> Group:
        """Return what people ask that an edit of a real question governs, and what is near it."""
        rng, questions = self.rng, self._questions
        question = rng.choice(self._near if self._near and rng.random() < 0.7 else self._every)
        answers = self._answers.get(first_word(question))
        answer = rng.choice(answers) if answers and rng.random() < 0.5 else invented_name(rng)
        edits = (Fact(question, answer),)
        same, different = (
            _some(table.get(question, ()), 2, rng)
            for table in (questions.same, questions.different)
        )
        other = _some(questions.related(question), 1, rng)
        far = [rng.choice(self._every)] if rng.random() < 0.3 or not (different or other) else []
        own = [question] if not same or rng.random() < 0.2 else []
        kinds = [
            (REAL_PARAPHRASE, same, answer), (EDIT_QUESTION, own, answer),
            (REAL_LOCALITY, [*different, *other, *far], None),
        ]  # fmt: skip
        found: dict[str, ReasonerExample] = {}
        for kind, queries, told in kinds:
            for query in queries:
                if told is not None or query != question:
                    found.setdefault(query, ReasonerExample(kind, edits, query, told))
        return list(found.values())

    def say_that(self) -> ReasonerExample:
        """Return a query that a patch of the form ``say that …`` governs."""
        return self._statement_group()[0]

    def _statement_group(self) -> Group:
        if len(self._intents) < 2 or self.rng.random() < 0.5:
            entry = self.rng.choice(self._statements[self._about])
            condition, statements = entry["condition"], entry["statements"]
            queries, others = entry["queries"], self._statements[self._about]
            away = [q for one in others if one is not entry for q in one["queries"]]
        else:
            intent = self.rng.choice([*self._intents])
            condition = f"the user asks about {intent.replace('_', ' ')}"
            statements, queries = self._statements["in_general"], self._intents[intent]
            away = list(self._intents[self._other_intent(intent)])
        consequence = "say that " + self._filled(self.rng.choice(statements))
        edits: tuple[Edit, ...] = (LanguagePatch(condition, consequence),)
        said = verbatim_answer(consequence)
        asked = self.rng.sample(list(queries), min(2, len(queries)))
        if self.rng.random() < 0.3:
            away = self._every or away
        return [
            *(ReasonerExample(SAY_THAT, edits, query, said) for query in asked),
            ReasonerExample(LOCALITY, edits, self.rng.choice(list(away)), None),
        ]

    def _other_intent(self, intent: str) -> str:
        """Return another intent, in half of the cases one whose name shares a word."""
        others = [one for one in self._intents if one != intent]
        near = [one for one in others if _words(one) & _words(intent)]
        return self.rng.choice(near if near and self.rng.random() < 0.5 else others)

    def _filled(self, statement: str) -> str:
        rng = self.rng
        return statement.format(
            name=invented_name(rng), org=f"{invented_word(rng)} {rng.choice(_FORMS)}".strip(),
            number=rng.choice((rng.randint(2, 30), rng.randint(31, 999), rng.randint(1000, 9999))),
            day=rng.choice(_DAYS), month=rng.choice(_MONTHS),
        )  # fmt: skip


def _some(texts: Sequence[str], count: int, rng: random.Random) -> list[str]:
    return rng.sample(list(texts), min(count, len(texts)))


def _words(intent: str) -> set[str]:
    return set(intent.replace("_", " ").split())


_FORMS = ("", "", "Labs", "Systems", "Research", "Inc.", "Group", "Works", "AI", "& Sons")
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_MONTHS = (
    "January February March April May June July August September October November December"
).split()
