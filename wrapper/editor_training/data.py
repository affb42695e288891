"""Edits to learn from: counterfactuals of a facts table, one split at a time."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from errata.cache.errors import ErrataError
from errata.cache.records import Fact
from errata.editing.base import TrainingEdit
from errata.facts import FactRow, FactSource, fill
from errata.facts.table import Split
from errata.facts.variation import varied_question


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSettings:
    """How edits are drawn.

    :param rewordings: of each edit.
    :param unrelated: questions of each edit, in turn about another subject in the same relation,
        the same subject in another relation, any other fact, and open questions, if there are any.
    :param first_question: share of edits with the relation's first question, the form in which
        people write most edits; the others have any of its forms.
    """

    rewordings: int = 1
    unrelated: int = 2
    first_question: float = 0.5


class EditGenerator:
    """Draws edits of one split: subjects, new objects, rewordings and other subjects are its own.

    Forms that a relation holds out are never used.

    :param source: facts, sentences and aliases.
    :param split: train or tune.
    :param open_questions: questions that no edit is about, each with an answer.
    :param settings: how edits are drawn.
    :raises ErrataError: the table has nothing to change in this split.
    """

    def __init__(
        self,
        source: FactSource,
        split: Split,
        open_questions: Sequence[tuple[str, str]] = (),
        settings: EditSettings | None = None,
    ) -> None:
        self.source, self.open_questions = source, tuple(open_questions)
        self.settings = settings or EditSettings()
        splits = source.object_splits()
        self._objects: dict[str, list[str]] = defaultdict(list)
        self._facts: dict[str, list[FactRow]] = defaultdict(list)
        self._of_subject: dict[str, list[FactRow]] = defaultdict(list)
        for fact in source.facts:
            here = self._objects[fact.relation]
            if splits[fact.believed] == split and fact.believed not in here:
                here.append(fact.believed)
            if fact.split == split:
                self._facts[fact.relation].append(fact)
                self._of_subject[fact.subject].append(fact)
        self._relations = [
            name for name, facts in self._facts.items()
            if len(facts) > 1 and len(self._objects[name]) > 1 and len(self._questions(name)) > 1
        ]  # fmt: skip
        self._editable = [fact for name in self._relations for fact in self._facts[name]]
        if not self._editable:
            raise ErrataError(
                f"expected {split} subjects with other {split} objects to change their facts to, "
                "found none; add facts with --data, or name another table with --facts"
            )

    def draw(self, rng: random.Random) -> TrainingEdit:
        """Return an edit."""
        fact = rng.choice(self._editable)
        objects = [o for o in self._objects[fact.relation] if o not in (fact.believed, fact.object)]
        target = rng.choice(objects or self._objects[fact.relation])
        questions = self._questions(fact.relation)
        first = rng.random() < self.settings.first_question
        template = questions[0] if first else rng.choice(questions)
        question = fill(template, fact.subject)
        others = [each for each in questions if each != template]
        rewordings = tuple(
            self._reworded(fact, rng.choice(others), rng) for _ in range(self.settings.rewordings)
        )
        start = rng.randrange(4)
        unrelated = tuple(
            self._unrelated(fact, (start + i) % 4, rng) for i in range(self.settings.unrelated)
        )
        return TrainingEdit(Fact(question, target, subject=fact.subject), rewordings, unrelated)

    def _questions(self, relation: str) -> tuple[str, ...]:
        return self.source.relations[relation].questions

    def _reworded(self, fact: FactRow, template: str, rng: random.Random) -> str:
        names = self.source.aliases.get(fact.subject, ())
        name = rng.choice(names) if names and rng.random() < 0.2 else fact.subject
        question = fill(template, name)
        if self.source.relations[fact.relation].chinese:
            return question
        return varied_question(question, name, rng)

    def _unrelated(self, fact: FactRow, kind: int, rng: random.Random) -> tuple[str, str]:
        """Return a question and an answer that an edit of a fact leaves alone."""
        if kind == 3 and self.open_questions:
            return rng.choice(self.open_questions)
        same = [f for f in self._of_subject[fact.subject] if f.relation != fact.relation]
        near = self._facts[fact.relation]
        pool = near if kind == 0 else same if kind == 1 and same else self._editable
        other = rng.choice(pool)
        while (other.subject, other.relation) == (fact.subject, fact.relation):
            other = rng.choice(self._editable)
        return fill(rng.choice(self._questions(other.relation)), other.subject), other.believed
