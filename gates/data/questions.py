"""Questions about the subjects of the facts table, each labelled by its relation to an edit.

The source of pairs for training gates and of queries for measuring them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from errata.facts import FactRow, Relation, fill, load_aliases, load_facts, load_relations
from errata.facts.table import Split
from errata.gates.data.augment import (
    at_another_time,
    careless,
    in_message,
    mention,
    mistyped,
    namesake,
    negation,
    other_noun_phrase,
)
from errata.gates.data.phrasings import extra_relations, extra_subjects
from errata.gates.text import likeness, plain

Label = Literal["none", "paraphrase", "entailed"]
TUNE_SHARE = 0.15
"""Share of a relation's phrasings that training holds back to tune on."""


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A query and its relation to one edit.

    :param text: the query.
    :param label: ``paraphrase`` of the edit's question, ``entailed`` by the edit, or ``none``.
    :param kind: its kind, for tables: ``paraphrase``, ``other relation``, ….
    """

    text: str
    label: Label
    kind: str


@dataclass(frozen=True, slots=True)
class Topic:
    """A relation as the gate's data needs it.

    :param name: its name.
    :param forms: the ways to ask it; the first are those an edit is written in.
    :param held_out: ways to ask it that are never trained on.
    :param base: the relation of the facts table, if it is one of them.
    """

    name: str
    forms: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    base: Relation | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One possible question: a relation of a subject.

    :param subject: the subject.
    :param kind: its kind.
    :param topic: the relation.
    :param answer: the object, where it is known.
    """

    subject: str
    kind: str
    topic: Topic
    answer: str = ""

    def render(self, template: str, subject: str | None = None, other: str = "") -> str:
        """Return a form of the relation, about its subject or the one given."""
        chosen = self.subject if subject is None else subject
        text = template.replace("{t}", other)
        return fill(text, chosen, self.answer, bare=chosen.startswith("the "))


# relations that share questions: neither is a negative of the other
_OVERLAPPING = (
    {"leader", "president"},
    {"capital", "state_capital"},
    {"state_largest_city", "largest_city"},
    {"coat_colour", "colour"},
    {"birthplace", "nationality", "residence", "live_m"},
    {"located_in", "where", "place", "university_city"},
    {"maker", "data_m", "live_m", "age_m"},
    {"field", "product"},
)


def relation_for_split(relation: Relation, split: Split) -> Relation:
    """Return a relation with the phrasings of one split, and those held out from it.

    Training holds back a few of the phrasings that the test does not use, to tune on: calibration
    on trained phrasings would be overconfident on others.
    """
    if split == "test":
        return relation
    changed: dict[str, Any] = {}
    for name in ("questions", "statements", "yes_no", "reversed"):
        forms = getattr(relation, name)
        kept = forms[: len(forms) - round(len(forms) * TUNE_SHARE)]
        changed |= {name: kept, f"{name}_held_out": forms[len(kept) :]}
    return replace(relation, **changed)


@dataclass(slots=True)
class QuestionBook:
    """All questions about the subjects of one split.

    :param split: of the subjects.
    :param held_out: ask with the phrasings that the split's training never sees.
    :param without: names of relations left out, to measure on relations never seen.
    """

    split: Split
    held_out: bool = False
    without: frozenset[str] = frozenset()
    relations: dict[str, Relation] = field(default_factory=dict, init=False)
    items: list[Item] = field(default_factory=list, init=False)
    by_subject: dict[tuple[str, str], list[Item]] = field(default_factory=dict, init=False)
    by_topic: dict[tuple[str, str], list[Item]] = field(default_factory=dict, init=False)
    extra: dict[str, list[Topic]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Collect the items of the split."""
        self.relations = {
            n: relation_for_split(one, self.split) for n, one in load_relations().items()
        }
        topics = {
            name: Topic(name, relation.questions, relation.questions_held_out, relation)
            for name, relation in self.relations.items()
            if not relation.chinese and name not in self.without
        }
        rows = [row for row in load_facts() if row.split == self.split]
        rows += _shared_rows(self.split)
        self.items = [
            Item(row.subject, row.kind, topics[row.relation], row.object)
            for row in rows
            if row.relation in topics
        ]
        self.items += self._extra_items(rows)
        subjects, by_topic = defaultdict(list), defaultdict(list)
        for item in self.items:
            subjects[item.kind, item.subject].append(item)
            by_topic[item.kind, item.topic.name].append(item)
        self.by_subject, self.by_topic = dict(subjects), dict(by_topic)

    def _extra_items(self, rows: Sequence[FactRow]) -> list[Item]:
        """Return items of the relations that the table lacks; mixed ones only as neighbours."""
        subjects: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row.subject not in subjects[row.kind]:
                subjects[row.kind].append(row.subject)
        added = extra_subjects()
        for kind, names in added.items():
            subjects[kind] = _split_share(names, self.split)
        found = []
        rng = random.Random(f"beyond {self.split}")
        for one in extra_relations():
            if one.name in self.without:
                continue
            held_out = {"tune": one.tune, "test": one.test}.get(self.split, ())
            topic = Topic(one.name, one.forms, held_out)
            self.extra.setdefault(one.kind, []).append(topic)
            if one.mixed or not subjects[one.kind]:
                continue
            there = subjects[one.kind]
            chosen = there if one.kind in added else rng.sample(there, min(12, len(there)))
            found += [Item(name, one.kind, topic) for name in chosen]
        return found

    def paraphrases(
        self, item: Item, rng: random.Random, count: int = 4
    ) -> Iterator[LabelledQuery]:
        """Yield paraphrases of the item's question."""
        two = any("{t}" in form for form in item.topic.forms)
        other = self._second_subject(item, rng) if two else ""
        forms = item.topic.held_out if self.held_out else item.topic.forms
        forms = forms or item.topic.forms
        for template in rng.sample(forms, min(count, len(forms))):
            yield LabelledQuery(item.render(template, other=other), "paraphrase", "paraphrase")
        question = item.render(rng.choice(forms), other=other)
        yield LabelledQuery(careless(question), "paraphrase", "careless")
        yield LabelledQuery(mistyped(question, rng), "paraphrase", "mistyped")
        yield LabelledQuery(in_message(question, rng), "paraphrase", "in a message")
        base = item.topic.base
        if base is not None:
            statements = base.statements_held_out if self.held_out else base.statements
            heads = [text.removesuffix(".").removesuffix("{o}") for text in statements]
            clozes = [
                head.rstrip()
                for head, text in zip(heads, statements, strict=True)
                if "s}" in head and "{o}" not in head and len(head) < len(text) - 1
            ]
            # training takes two: they are the furthest from a question
            for cloze in rng.sample(clozes, min(len(clozes), 1 if self.held_out else 2)):
                yield LabelledQuery(item.render(cloze), "paraphrase", "cloze")
            if base.keywords:
                keywords = item.render(rng.choice(base.keywords))
                yield LabelledQuery(keywords, "paraphrase", "keywords")
        for alias in load_aliases().get(item.subject, ())[:2]:
            yield LabelledQuery(item.render(rng.choice(forms), alias, other), "paraphrase", "alias")

    def entailed(self, item: Item, rng: random.Random) -> Iterator[LabelledQuery]:
        """Yield questions that the edit entails an answer to."""
        base = item.topic.base
        if base is None:
            return
        yes_no = (base.yes_no_held_out if self.held_out else base.yes_no) or base.yes_no
        inverse = (base.reversed_held_out if self.held_out else base.reversed) or base.reversed
        yield LabelledQuery(item.render(rng.choice(yes_no)), "entailed", "yes or no")
        wrong = self._with_other_answer(item, rng)
        if wrong is not None:
            yield LabelledQuery(wrong.render(rng.choice(yes_no)), "entailed", "yes or no")
        if inverse:
            yield LabelledQuery(item.render(rng.choice(inverse)), "entailed", "reversed")
        hop = self._one_hop(item, rng)
        if hop is not None:
            yield LabelledQuery(hop, "entailed", "one hop")

    def neighbours(self, item: Item, rng: random.Random, count: int = 3) -> Iterator[LabelledQuery]:
        """Yield hard neighbours that the edit must not govern."""
        yield from self.other_relations(item, rng, count)
        yield from self.other_subjects(item, rng, count)
        question = item.render(rng.choice(item.topic.forms), other=self._second_subject(item, rng))
        changed = {
            "negated": negation(question),
            "another time": at_another_time(question, rng),
            "way round": item.render(
                rng.choice(item.topic.forms),
                other_noun_phrase(item.subject, rng),
                self._second_subject(item, rng),
            ) if "you" != item.subject else None,
        }  # fmt: skip
        for kind, text in changed.items():
            if text is not None and rng.random() < 0.6:
                yield LabelledQuery(text, "none", kind)
        if item.subject != "you":
            yield LabelledQuery(mention(item.subject, rng), "none", "mention")
            head, _, rest = question.partition(". ")
            if rest and item.subject in head:  # "My aunt lives in Riga. What country is that?"
                yield LabelledQuery(f"{head}.", "none", "mention")
        yield from self._unentailed(item, rng)

    def other_relations(
        self, item: Item, rng: random.Random, count: int
    ) -> Iterator[LabelledQuery]:
        """Yield questions about another relation of the same subject."""
        name = item.topic.name
        alike = {other for group in _OVERLAPPING if name in group for other in group} | {name}
        there = [other.topic for other in self.by_subject[item.kind, item.subject]]
        topics = {
            t.name: t for t in (*there, *self.extra.get(item.kind, ())) if t.name not in alike
        }
        # the relations of the table are the hardest: half of the draws
        tabled = [topic for topic in topics.values() if topic.base is not None]
        for _ in range(min(count, 2 * len(topics))):
            pool = tabled if tabled and rng.random() < 0.5 else list(topics.values())
            topic = rng.choice(pool)
            forms = (topic.held_out if self.held_out else topic.forms) or topic.forms
            other = Item(item.subject, item.kind, topic)
            text = other.render(rng.choice(forms), other=self._second_subject(item, rng))
            yield LabelledQuery(text, "none", "other relation")

    def other_subjects(self, item: Item, rng: random.Random, count: int) -> Iterator[LabelledQuery]:
        """Yield the same question about other subjects; the first about one with a similar name."""
        others = [
            other
            for other in self.by_topic[item.kind, item.topic.name]
            if not share_name(other.subject, item.subject)
        ]
        if not others:
            return
        near = sorted(others, key=lambda o: -likeness(plain(o.subject), plain(item.subject)))[:3]
        forms = (item.topic.held_out if self.held_out else item.topic.forms) or item.topic.forms
        for position in range(count):
            other = rng.choice(near if position == 0 else others)
            text = other.render(rng.choice(forms), other=self._second_subject(item, rng))
            kind = "other subject, alike" if position == 0 else "other subject"
            yield LabelledQuery(text, "none", kind)
        name = namesake(item.subject, rng.choice(others).subject, item.kind, rng)
        if name is not None and not share_name(name, item.subject):
            yield LabelledQuery(
                item.render(rng.choice(forms), name), "none", "other subject, alike"
            )
        if any("{t}" in form for form in item.topic.forms):
            return
        other = rng.choice(others)
        yield LabelledQuery(careless(other.render(rng.choice(forms))), "none", "other subject")

    def _unentailed(self, item: Item, rng: random.Random) -> Iterator[LabelledQuery]:
        """Yield yes-or-no, reversed and one-hop questions that do not follow."""
        base = item.topic.base
        if base is None:
            return
        others = [
            other
            for other in self.by_topic[item.kind, item.topic.name]
            if other.answer != item.answer and not share_name(other.subject, item.subject)
        ]
        if others:
            other = rng.choice(others)
            yield LabelledQuery(other.render(rng.choice(base.yes_no)), "none", "unentailed")
            if base.reversed:
                yield LabelledQuery(other.render(rng.choice(base.reversed)), "none", "unentailed")
        for sibling in self.by_subject[item.kind, item.subject]:
            if sibling.topic.base is not None and sibling.topic.name != item.topic.name:
                hop = self._one_hop(sibling, rng)
                if hop is not None and rng.random() < 0.4:
                    yield LabelledQuery(hop, "none", "unentailed")
                if rng.random() < 0.4:
                    form = rng.choice(sibling.topic.base.yes_no)
                    yield LabelledQuery(sibling.render(form), "none", "unentailed")
        yield from self._about_the_answer(item, rng)
        yield from self._about_subject_as_answer(item, rng)
        if rng.random() < 0.3 and base.descriptor:
            question = f"Why is {base.descriptor[0]} {{o}}?"
            for slot, value in (
                ("{s}", item.subject), ("{the_s}", item.subject), ("{o}", item.answer),
            ):  # fmt: skip
                question = question.replace(slot, value)
            yield LabelledQuery(question, "none", "why")

    def _about_the_answer(self, item: Item, rng: random.Random) -> Iterator[LabelledQuery]:
        """Yield questions about the object itself: Paris, where the edit is France's capital."""
        kind = item.topic.base.object if item.topic.base is not None else ""
        tabled = [r.questions for r in self.relations.values() if r.subject == kind]
        beyond = [topic.forms for topic in self.extra.get(kind, ())]
        for forms in rng.sample(tabled, min(2, len(tabled))) + rng.sample(
            beyond, min(1, len(beyond))
        ):
            text = Item(item.answer, kind, Topic(kind, forms)).render(
                rng.choice(forms), other=self._second_subject(item, rng)
            )
            yield LabelledQuery(text, "none", "about the answer")

    def _about_subject_as_answer(self, item: Item, rng: random.Random) -> Iterator[LabelledQuery]:
        """Yield questions that the subject answers: who leads, or invented, something."""
        if item.kind != "person":
            return
        inverse = [r for r in self.relations.values() if r.object == item.kind]
        tabled = [r for r in inverse if (r.reversed_held_out if self.held_out else r.reversed)]
        for relation in rng.sample(tabled, min(2, len(tabled))):
            other = replace(item, answer=item.subject)
            forms = relation.reversed_held_out if self.held_out else relation.reversed
            yield LabelledQuery(other.render(rng.choice(forms)), "none", "other relation")

    def _one_hop(self, item: Item, rng: random.Random) -> str | None:
        """Return a question about the item's object, described by the subject."""
        base = item.topic.base
        if base is None or not base.descriptor:
            return None
        nexts = [r for r in self.relations.values() if r.subject == base.object and not r.chinese]
        tabled = [form for relation in nexts for form in relation.questions]
        beyond = [form for topic in self.extra.get(base.object, ()) for form in topic.forms]
        forms = [form for form in tabled or beyond if "{t}" not in form]
        if not forms:
            return None
        phrase = item.render(rng.choice(base.descriptor))
        return fill(rng.choice(forms), phrase[:1].lower() + phrase[1:], bare=True)

    def _with_other_answer(self, item: Item, rng: random.Random) -> Item | None:
        answers = {o.answer for o in self.by_topic[item.kind, item.topic.name]} - {item.answer}
        if not answers:
            return None
        return Item(item.subject, item.kind, item.topic, rng.choice(sorted(answers)))

    def _second_subject(self, item: Item, rng: random.Random) -> str:
        others = [other.subject for other in self.by_topic[item.kind, item.topic.name]]
        others = [name for name in others if name != item.subject]
        return rng.choice(others) if others else "another"


def share_name(one: str, other: str) -> bool:
    """Return whether two subjects share a name or an alias."""
    names = [{plain(name), *map(plain, load_aliases().get(name, ()))} for name in (one, other)]
    return bool(names[0] & names[1])


def _shared_rows(split: Split) -> list[FactRow]:
    """Return the rows of relations with a single subject, which are in every split."""
    return [row for row in load_facts() if row.kind == "model" and row.split != split]


def _split_share(names: Sequence[str], split: Split) -> list[str]:
    """Return the split's share of invented subjects: of five, two train, one tunes, two test."""
    wanted = {"train": (0, 2), "tune": (4,), "test": (1, 3)}[split]
    return [name for position, name in enumerate(names) if position % 5 in wanted]
