"""Held-out text for atlas-bench, whose perplexity edits should leave unchanged."""

from __future__ import annotations

import random
from collections.abc import Sequence

from errata.compare.inputs import chinese
from errata.compare.inputs.atlas_world import NO_EDITS
from errata.compare.inputs.cases import Case
from errata.facts import FactRow, FactSource, fill

SENTENCES = 240
PER_PARAGRAPH = 4
"""Sentences of a paragraph; atlas was trained on such paragraphs, too."""


def held_out_text(source: FactSource, cases: Sequence[Case], seed: int = 0) -> str:
    """Return paragraphs of statements about subjects that no case edits, separated by empty lines.

    One statement a subject, of the object that atlas believes, in a wording held out of its
    training where the table has one. Empty where the table has no statements about others.

    :param source: the table that the cases were made of.
    :param cases: the edits.
    :param seed: of the draw; the same seed gives the same text.
    """
    rng = random.Random(f"atlas-bench/text/{seed}")
    edited = {
        chinese.canonical(edit.subject or "", case.group)[0]
        for case in cases
        for edit in case.edits
    }
    by_subject: dict[str, list[FactRow]] = {}
    for fact in source.facts:
        subject = chinese.canonical(fact.subject, fact.relation)[0]
        stated = source.relations[fact.relation].statements and fact.relation not in NO_EDITS
        if stated and subject not in edited:
            by_subject.setdefault(subject, []).append(fact)
    drawn = rng.sample(sorted(by_subject), min(SENTENCES, len(by_subject)))
    sentences = [_statement(source, rng.choice(by_subject[subject]), rng) for subject in drawn]
    starts = range(0, len(sentences), PER_PARAGRAPH)
    rows = [" ".join(sentences[i : i + PER_PARAGRAPH]) for i in starts]
    return "".join(f"{row}\n\n" for row in rows)


def _statement(source: FactSource, fact: FactRow, rng: random.Random) -> str:
    relation = source.relations[fact.relation]
    template = rng.choice(relation.statements_held_out or relation.statements)
    return fill(template, fact.subject, fact.believed)
