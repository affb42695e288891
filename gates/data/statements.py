"""Pairs about facts in statements and clozes, beside questions: of T-REx's relations."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from errata.cache.errors import ModelError
from errata.facts.table import Split
from errata.gates.data.augment import noisy
from errata.gates.data.examples import Example
from errata.gates.data.trex import TrexFact, TrexRecords, WikidataRelation, read_trex
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
