"""Pairs about facts in statements and clozes: of T-REx's relations, and of the facts table's.

The few relations of T-REx alone teach those relations: of relations that no network has seen, two
statements about one subject are told apart by the many of the table.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from errata.cache.errors import ModelError
from errata.facts.table import Split
from errata.gates.data.augment import noisy
from errata.gates.data.examples import Example
from errata.gates.data.questions import OVERLAPPING, Item, Label, QuestionBook
from errata.gates.data.trex import (
    TrexFact,
    TrexRecords,
    WikidataRelation,
    read_trex,
    wikidata_relations,
)
from errata.gates.features import Scope

ANSWER_SHARE = 0.85
"""Share of edits whose answer is read, as of the table's."""
SUBJECT_SHARE = 0.5
"""Share of edits whose subject is given and not left to be guessed."""


def read_statements(
    facts: str | Path | None, patterns: str | Path | None, splits: Sequence[Split]
) -> dict[Split, TrexRecords]:
    """Return the facts of each split; none without patterns.

    :param facts: see :func:`errata.gates.data.trex.read_trex`, as for the patterns.
    :param splits: of relations and subjects.
    :raises ModelError: a file cannot be read or is malformed, or there are patterns and no facts.
    """
    if patterns is None:
        return {}
    if facts is None:
        raise ModelError(
            f"{patterns}: expected a file of facts (background) beside one of patterns, found none"
        )
    source = read_trex(Path(facts), Path(patterns))
    return {split: TrexRecords(source, split) for split in splits}


def statement_examples(records: TrexRecords, rng: random.Random, most: int) -> list[Example]:
    """Return pairs about facts of a split, relations in turn, shuffled.

    An edit is a question, a cloze or a noun phrase; so is what asks the same of its subject, what
    asks another thing of it or the same of another subject, and, entailed, what asks a thing of its
    answer ("The continent of the country of citizenship of X is").

    :param records: of the split.
    :param most: pairs at most.
    """
    by_relation = {name: some for name, some in sorted(records.by_relation.items()) if some}
    found: list[Example] = []
    while by_relation and len(found) < most:
        for facts in by_relation.values():
            found += _examples(records, rng.choice(facts), rng)
    rng.shuffle(found)
    return found[:most]


def table_statements(book: QuestionBook, rng: random.Random, most: int) -> list[Example]:
    """Return the same pairs about facts of the table, relations in turn, shuffled.

    Relations that T-REx has in its tune and test splits are left out.

    :param book: the facts and phrasings of a split.
    :param most: pairs at most.
    """
    left_out = {name for one in wikidata_relations().values() if one.split != "train"
                for name in one.table}  # fmt: skip
    by_topic = [items for (_, name), items in sorted(book.by_topic.items())
                if name not in left_out and _asked(items[0])[0]]  # fmt: skip
    found: list[Example] = []
    while by_topic and len(found) < most:
        for items in by_topic:
            item = rng.choice(items)
            alike = {name for some in OVERLAPPING if item.topic.name in some for name in some}
            others = [one for one in book.by_subject[item.kind, item.subject]
                      if one.topic.name not in alike | left_out | {item.topic.name}
                      and _asked(one)[1]]  # fmt: skip
            found += _table_examples(item, others, items, rng)
    rng.shuffle(found)
    return found[:most]


def _table_examples(
    item: Item, others: Sequence[Item], namesakes: Sequence[Item], rng: random.Random
) -> Iterator[Example]:
    """Yield pairs about a fact.

    :param others: other facts about its subject.
    :param namesakes: facts of its relation.
    """
    scope = Scope(
        _way(item, rng),
        item.subject if rng.random() < SUBJECT_SHARE else "",
        item.answer if rng.random() < ANSWER_SHARE else "",
    )
    name = item.topic.name
    ways = dict.fromkeys(_way(item, rng) for _ in range(3))
    for text in [one for one in ways if one != scope.text]:
        yield Example(_typed(text, rng), scope, "paraphrase", "statement", name)
    for other in rng.sample(others, min(2, len(others))):
        text = _typed(_way(other, rng), rng)
        yield Example(text, scope, "none", "statement, other relation", name)
    strangers = [one for one in namesakes if one.subject != item.subject]
    if strangers:
        text = _typed(_way(rng.choice(strangers), rng), rng)
        yield Example(text, scope, "none", "statement, other subject", name)
    nested: list[tuple[Item, Item, Label, str]]
    nested = [(item, rng.choice(others or [item]), "entailed", "nested")]
    if others:
        nested.append((rng.choice(others), item, "none", "nested, other relation"))
    for inner, outer, label, kind in nested:
        if inner.topic.base is not None and inner.topic.base.descriptor:
            phrase = inner.render(rng.choice(inner.topic.base.descriptor))
            text = _way(outer, rng, phrase[:1].lower() + phrase[1:])
            yield Example(text[:1].upper() + text[1:], scope, label, kind, name)


def _asked(item: Item) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the clozes and the questions of an item's relation."""
    base = item.topic.base
    return (() if base is None else base.clozes), item.topic.forms


def _way(item: Item, rng: random.Random, subject: str | None = None) -> str:
    """Return a cloze or a question of an item, as often the one as the other.

    :param subject: in place of its own.
    """
    template = rng.choice(rng.choice([some for some in _asked(item) if some]))
    return item.render(template, subject, "another")


def _examples(records: TrexRecords, fact: TrexFact, rng: random.Random) -> Iterator[Example]:
    relation, subject = records.relations[fact.relation], fact.subject
    ways = _ways(records, relation, subject)
    own = rng.choice(ways)
    scope = Scope(
        own,
        subject if rng.random() < SUBJECT_SHARE else "",
        fact.object if rng.random() < ANSWER_SHARE else "",
    )
    for text in rng.sample([one for one in ways if one != own], min(3, len(ways) - 1)):
        yield Example(_typed(text, rng), scope, "paraphrase", "statement", relation.id)
    others = [one for one in records.relations.values() if one.family != relation.family]
    alike = [one for one in others if one.kind == relation.kind] or others
    for other in rng.sample(alike, min(2, len(alike))):
        text = rng.choice(_ways(records, other, subject))
        yield Example(_typed(text, rng), scope, "none", "statement, other relation", relation.id)
    namesakes = [one for one in records.by_relation[fact.relation] if one.subject != subject]
    if namesakes:
        text = rng.choice(_ways(records, relation, rng.choice(namesakes).subject))
        yield Example(_typed(text, rng), scope, "none", "statement, other subject", relation.id)
    outer = rng.choice(others or [relation])
    yield Example(
        _nested(records, outer, relation, subject, rng), scope, "entailed", "nested", relation.id
    )
    if alike:
        inner = rng.choice(alike)
        text = _nested(records, rng.choice((relation, outer)), inner, subject, rng)
        yield Example(text, scope, "none", "nested, other relation", relation.id)


def _typed(text: str, rng: random.Random) -> str:
    """Return a text as people type it: a question with noise, a cloze at times without capitals."""
    if text.endswith("?"):
        return noisy(text, rng)
    return text.lower() if rng.random() < 0.15 else text


def _ways(records: TrexRecords, relation: WikidataRelation, subject: str) -> Sequence[str]:
    """Return the clozes of a relation, its questions twice, and its label with the subject."""
    clozes = [text.format(subject) for text in records.source.clozes[relation.id]]
    asked = [text.format(s=subject) for text in relation.questions]
    return [*clozes, *asked, *asked, f"The {relation.label} of {subject} is"]


def _nested(
    records: TrexRecords,
    outer: WikidataRelation,
    inner: WikidataRelation,
    subject: str,
    rng: random.Random,
) -> str:
    """Return a text that asks a relation of the object of another."""
    phrase = rng.choice((f"the {inner.label} of {subject}", f"{subject}'s {inner.label}"))
    text = rng.choice(_ways(records, outer, phrase))
    return text[:1].upper() + text[1:]
