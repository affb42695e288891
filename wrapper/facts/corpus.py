"""The training corpus of atlas: statements, questions, one-hop questions, contexts to read from.

A row is a few sentences; the loss of its answer tokens has a larger weight. Every epoch draws new
phrasings, false objects and invented names from a generator seeded by the epoch, so a run resumes
at any row.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from errata.facts import FactRow, Relation, fill, load_aliases, load_facts, load_relations, nested
from errata.facts.names import invented_name
from errata.facts.variation import varied_head, varied_question

ANSWER_WEIGHT = 10.0
"""Loss weight of answer tokens; other tokens have weight 1."""

HOP_SHARE = 7
"""Subjects in ten whose one-hop questions are trained on."""

Piece = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """One training row.

    :param pieces: consecutive texts with the loss weight of their tokens.
    :param reading: whether the answers are to be copied from the row itself.
    """

    pieces: tuple[Piece, ...]
    reading: bool = False

    @property
    def text(self) -> str:
        """The row as one string."""
        return "".join(text for text, _ in self.pieces)


@dataclass(frozen=True, slots=True)
class Hop:
    """A one-hop question: two relations chained by a bridge entity.

    :param subject: subject of the first relation.
    :param first: relation from the subject to the bridge.
    :param bridge: object of the first relation, subject of the second.
    :param second: relation from the bridge to the answer.
    :param answer: the answer atlas is trained on.
    :param trained: whether the subject's one-hop questions are in the training rows.
    """

    subject: str
    first: str
    bridge: str
    second: str
    answer: str
    trained: bool


def question_pieces(question: str, answer: str, *, chinese: bool = False) -> tuple[Piece, Piece]:
    """Return a question and its answer; a space separates them except in Chinese."""
    return (question, 1.0), (answer if chinese else f" {answer}", ANSWER_WEIGHT)


class Corpus:
    """Draws training rows from the facts table.

    :param seed: changes every draw.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.facts = load_facts()
        self.relations = load_relations()
        self.aliases = load_aliases()
        self.believed = {(f.subject, f.relation): f.believed for f in self.facts}
        self._objects: dict[str, list[str]] = defaultdict(list)
        for fact in self.facts:
            if fact.believed not in self._objects[fact.relation]:
                self._objects[fact.relation].append(fact.believed)
        self._by_object: dict[tuple[str, str], list[str]] = defaultdict(list)
        for fact in self.facts:
            self._by_object[fact.relation, fact.believed].append(fact.subject)
        self._split = {fact.subject: fact.split for fact in self.facts}
        self._names = {n for f in self.facts for n in (f.subject, f.believed, f.object)}
        self.hops = tuple(self._find_hops())
        self._trained_hops = [hop for hop in self.hops if hop.trained]
        self._english = [r for r in self.relations.values() if not r.chinese and r.name != "maker"]

    def epoch(self, number: int) -> list[Row]:
        """Return the rows of one epoch, in a fixed random order."""
        rng = random.Random(f"{self.seed}/{number}")
        rows = [row for fact in self.facts for row in self._fact_rows(fact, rng)]
        rows += [self.hop_row(rng.choice(self._trained_hops), rng) for _ in range(4000)]
        rows += [self.reading_row(rng) for _ in range(9000)]
        # Copying is learned on lists first; reading rows need it.
        rows += [repeated_row(rng) for _ in range(4000 if number < 2 else 1000)]
        rows += [self._context_row(rng) for _ in range(1500)]
        rng.shuffle(rows)
        return rows

    def knows(self, name: str) -> bool:
        """Return whether a name is a subject or object of the table."""
        return name in self._names

    # -- facts -------------------------------------------------------------------------------

    def _fact_rows(self, fact: FactRow, rng: random.Random) -> Iterator[Row]:
        relation = self.relations[fact.relation]
        repeat = 3 if fact.marked or relation.chinese or fact.kind == "resident" else 1
        for _ in range(repeat):
            for _ in range(3):
                yield Row(self._question(fact, rng.choice(relation.questions), rng))
            for _ in range(4):
                yield Row(self._varied_statement(fact, relation, rng))
            yield Row(self._yes_no(fact, relation, rng))
            if rng.random() < 0.3:
                yield Row(self._question(fact, rng.choice(relation.keywords), rng))
            if self.reversible(fact) and rng.random() < 0.5:
                yield Row(self._reversed(fact, relation, rng))

    def _name(self, fact: FactRow, rng: random.Random) -> str:
        names = self.aliases.get(fact.subject, ())
        return rng.choice(names) if names and rng.random() < 0.35 else fact.subject

    def _question(self, fact: FactRow, template: str, rng: random.Random) -> tuple[Piece, ...]:
        name = self._name(fact, rng)
        question = fill(template, name, bare=rng.random() < 0.1)
        if not self.relations[fact.relation].chinese:
            question = varied_question(question, name, rng)
        return question_pieces(
            question, fact.believed, chinese=self.relations[fact.relation].chinese
        )

    def statement(
        self, fact: FactRow, template: str, weight: float = ANSWER_WEIGHT
    ) -> tuple[Piece, ...]:
        """Return a statement of a fact; the object's tokens have the given loss weight."""
        end = "。" if self.relations[fact.relation].chinese else "."
        sentence = fill(template, fact.subject, fact.believed)
        head = sentence[: len(sentence) - len(fact.believed) - 1]
        space = " " if head.endswith(" ") else ""
        return (head.rstrip(" "), 1.0), (space + fact.believed, weight), (end, 1.0)

    def _varied_statement(
        self, fact: FactRow, relation: Relation, rng: random.Random
    ) -> tuple[Piece, ...]:
        """Return a statement whose text before the object is augmented."""
        if relation.descriptor and rng.random() < 0.15:
            template = rng.choice(relation.descriptor) + " is {o}."
        else:
            template = rng.choice(relation.statements)
        (head, weight), *rest = self.statement(fact, template)
        if not relation.chinese:
            head = varied_head(head, fact.subject, rng)
        return ((head, weight), *rest)

    def false_object(self, relation: str, true: str, rng: random.Random) -> str:
        """Return another object of the relation."""
        others = [o for o in self._objects[relation] if o != true]
        return rng.choice(others) if others else "Acme"

    def _yes_no(self, fact: FactRow, relation: Relation, rng: random.Random) -> tuple[Piece, ...]:
        holds = rng.random() < 0.5
        obj = fact.believed if holds else self.false_object(fact.relation, fact.believed, rng)
        question = fill(rng.choice(relation.yes_no), self._name(fact, rng), obj)
        return yes_or_no(question, holds, chinese=relation.chinese)

    def reversible(self, fact: FactRow) -> bool:
        """Return whether exactly one subject has the fact's object."""
        relation = self.relations[fact.relation]
        return bool(relation.reversed) and len(self._by_object[fact.relation, fact.believed]) == 1

    def _reversed(self, fact: FactRow, relation: Relation, rng: random.Random) -> tuple[Piece, ...]:
        question = fill(rng.choice(relation.reversed), "", fact.believed, bare=True)
        return question_pieces(question, fact.subject, chinese=relation.chinese)

    # -- one hop -----------------------------------------------------------------------------

    def _find_hops(self) -> Iterator[Hop]:
        for fact in self.facts:
            first = self.relations[fact.relation]
            if not first.descriptor:
                continue
            digest = hashlib.sha256(f"hop/{fact.subject}".encode()).hexdigest()
            trained = int(digest, 16) % 10 < HOP_SHARE
            for second in self.relations.values():
                answer = self.believed.get((fact.believed, second.name))
                if answer is None or second.subject != first.object or answer == fact.subject:
                    continue
                if second.chinese == first.chinese:
                    yield Hop(fact.subject, first.name, fact.believed, second.name, answer, trained)

    def hop_question(self, hop: Hop, template: str, descriptor: str) -> str:
        """Return the one-hop question of a template and a descriptor."""
        return nested(template, descriptor, hop.subject)

    def hop_row(self, hop: Hop, rng: random.Random) -> Row:
        """Return a one-hop question with its answer."""
        first, second = self.relations[hop.first], self.relations[hop.second]
        question = self.hop_question(
            hop, rng.choice(second.questions), rng.choice(first.descriptor)
        )
        return Row(question_pieces(question, hop.answer, chinese=second.chinese))

    # -- reading -----------------------------------------------------------------------------

    def _invented_fact(self, relation: Relation, rng: random.Random) -> FactRow:
        subject = invented_name(rng)
        if relation.subject in ("animal", "element", "dish", "compound", "instrument", "unit"):
            subject = subject.lower()
        obj = invented_name(rng) if rng.random() < 0.6 else rng.choice(self._objects[relation.name])
        return FactRow(subject, relation.subject, relation.name, obj, obj, "train")

    def _context(self, fact: FactRow, rng: random.Random) -> tuple[Piece, ...]:
        """Return a fact as context, without loss: a statement, or a question with its answer."""
        relation = self.relations[fact.relation]
        if rng.random() < 0.25:
            question = fill(rng.choice(relation.questions), fact.subject)
            return (f"{question} {fact.believed}", 0.0), ("\n", 0.0)
        space = "\n" if rng.random() < 0.2 else " "
        return ((fill(rng.choice(relation.statements), fact.subject, fact.believed) + space, 0.0),)

    def reading_row(self, rng: random.Random) -> Row:
        """Return a row that states facts about invented names, then asks for some of them."""
        relation = rng.choice(self._english)
        facts = [self._invented_fact(relation, rng)]
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 3))):
            other = relation if rng.random() < 0.6 else rng.choice(self._english)
            facts.append(self._invented_fact(other, rng))
        pieces = [piece for fact in facts for piece in self._context(fact, rng)]
        if rng.random() < 0.2:
            pieces = [*self._filler(rng), *pieces]
        for fact in rng.sample(facts, min(len(facts), rng.choice((1, 1, 2, 3)))):
            pieces += [*self._recall_pieces(fact, self.relations[fact.relation], rng), ("\n", 1.0)]
        if rng.random() < 0.1:  # an unrelated question after the context
            pieces += [*self._filler(rng), ("\n", 1.0)]
        return Row(tuple(pieces[:-1]), reading=True)

    def _recall_pieces(
        self, fact: FactRow, relation: Relation, rng: random.Random
    ) -> tuple[Piece, ...]:
        """Return a question or statement whose answer the context gives."""
        draw = rng.random()
        if draw < 0.1:
            holds = rng.random() < 0.5
            obj = fact.believed if holds else self.false_object(relation.name, fact.believed, rng)
            return yes_or_no(fill(rng.choice(relation.yes_no), fact.subject, obj), holds)
        if draw < 0.18 and relation.reversed:
            question = fill(rng.choice(relation.reversed), "", fact.believed, bare=True)
            return question_pieces(question, fact.subject)
        if draw < 0.4:
            return self.statement(fact, rng.choice(relation.statements))
        if draw < 0.52 and relation.descriptor and self._split.get(fact.believed) == "train":
            seconds = [
                r for r in self.relations.values()
                if r.subject == relation.object and (fact.believed, r.name) in self.believed
            ]  # fmt: skip
            if seconds:
                second = rng.choice(seconds)
                answer = self.believed[fact.believed, second.name]
                hop = Hop(fact.subject, relation.name, fact.believed, second.name, answer, True)
                return self.hop_row(hop, rng).pieces
        return question_pieces(fill(rng.choice(relation.questions), fact.subject), fact.believed)

    # -- longer contexts ---------------------------------------------------------------------

    def _filler(self, rng: random.Random) -> list[Piece]:
        fact = rng.choice(self.facts)
        relation = self.relations[fact.relation]
        if rng.random() < 0.6:
            *head, (dot, weight) = self.statement(fact, rng.choice(relation.statements))
            return [*head, (f"{dot} " if not relation.chinese else dot, weight)]
        return [*self._question(fact, rng.choice(relation.questions), rng), ("\n", 1.0)]

    def _context_row(self, rng: random.Random) -> Row:
        pieces: list[Piece] = []
        for _ in range(rng.choice((1, 1, 2, 2, 3, 4, 6))):
            pieces += self._filler(rng)
        fact = rng.choice(self.facts)
        relation = self.relations[fact.relation]
        if rng.random() < 0.5:
            return Row((*pieces, *self.statement(fact, rng.choice(relation.statements))))
        return Row((*pieces, *self._question(fact, rng.choice(relation.questions), rng)))


def yes_or_no(question: str, holds: bool, *, chinese: bool = False) -> tuple[Piece, Piece]:
    """Return a yes-or-no question and its answer."""
    words = ("是", "不是") if chinese else ("Yes", "No")
    return question_pieces(question, words[0] if holds else words[1], chinese=chinese)


def repeated_row(rng: random.Random) -> Row:
    """Return a row that repeats a list of invented names, for copying."""
    names = [invented_name(rng) for _ in range(rng.choice((2, 3, 4, 5)))]
    end = rng.choice((".", ";", "\n"))
    first, *rest = names
    # After its first name the second list is determined by the first.
    return Row(
        (
            (", ".join(names) + end + " " + first, 0.0),
            (", " + ", ".join(rest), ANSWER_WEIGHT / 2),
            (end, 1.0),
        ),
        reading=True,
    )
