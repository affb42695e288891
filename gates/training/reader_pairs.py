"""Labelled pairs in several languages that the reader is trained and calibrated on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from errata.cache.records import Vector
from errata.facts.table import Split
from errata.gates.data.languages import Part, Question, SourcedPair, parallel_part
from errata.gates.data.pairs import table_examples
from errata.gates.data.questions import QuestionBook
from errata.gates.reader import TextPair

NEAR = 6
"""Nearest other questions that a negative of a parallel question is drawn from."""


_KINDS = (
    "paraphrase", "keywords", "cloze", "alias", "other relation", "other subject",
    "other subject, alike", "way round", "unrelated",
)  # fmt: skip
"""Kinds of pairs of the facts table that say what a question asks."""


@dataclass(frozen=True, slots=True)
class ReaderExample:
    """A pair, its label, and the sort it is of, such as ``facts`` or ``lcqmc``."""

    pair: TextPair
    same: bool
    sort: str


def template_examples(questions: Sequence[Question], seed: int) -> list[ReaderExample]:
    """Return pairs of template questions: rewordings, other relations and other subjects.

    In each language and across two; of half of the edits the subject is known.
    """
    rng = random.Random(f"{seed}/templates")
    by_fact: dict[str, list[Question]] = defaultdict(list)
    relations: dict[tuple[str, str], set[str]] = defaultdict(set)
    subjects: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in questions:
        by_fact[one.fact].append(one)
        relations[one.kind, one.subject].add(one.relation)
        subjects[one.kind, one.relation].add(one.subject)
    found = []
    for asked in by_fact.values():
        first = asked[0]
        others = sorted(relations[first.kind, first.subject] - {first.relation})
        strangers = sorted(subjects[first.kind, first.relation] - {first.subject})
        for edit in asked:
            if edit.wording > 1 and rng.random() < 0.5:  # most edits are worded plainly
                continue
            for across in (False, True):
                sort = "facts, across" if across else "facts"
                sides: list[tuple[str, bool]] = [(edit.fact, True)]
                sides += [(f"{edit.kind}/{one}/{edit.subject}", False) for one in _one(rng, others)]
                sides += [(f"{edit.kind}/{edit.relation}/{one}", False)
                          for one in _one(rng, strangers)]  # fmt: skip
                for fact, same in sides:
                    queries = [
                        one
                        for one in by_fact[fact]
                        if (one.language != edit.language) == across and one.text != edit.text
                    ]
                    if queries:
                        subject = edit.name if rng.random() < 0.5 else ""
                        pair = TextPair(rng.choice(queries).text, edit.text, subject)
                        found.append(ReaderExample(pair, same, sort))
    return found


def english_examples(split: Split, count: int, without: Set[str], seed: int) -> list[ReaderExample]:
    """Return pairs of the facts table's relations, in English, which carry over.

    :param split: of the subjects.
    :param count: pairs drawn, of which entailed questions, noise and mere mentions are left out.
    :param without: relations left out, by name.
    """
    rng = random.Random(f"{seed}/english")
    book = QuestionBook(split, held_out=split == "tune", without=frozenset(without))
    return [
        ReaderExample(
            TextPair(one.query, one.scope.text, one.scope.subject), one.label != "none", "english"
        )
        for one in table_examples(book, rng, count)
        if one.kind in _KINDS and one.topic not in without
    ]


def parallel_examples(
    rows: Sequence[Mapping[str, str]],
    part: Part,
    vectors: Mapping[str, Vector],
    seed: int,
    languages: Sequence[str] = ("en", "de", "fr", "es"),
) -> list[ReaderExample]:
    """Return pairs of one question in two languages, and of two near questions of a part.

    :param vectors: of the questions in English, float32 [d] by text; they say which are near.
    """
    rng = random.Random(f"{seed}/parallel")
    kept = [row for row in rows if parallel_part(row) == part]
    english = np.stack([vectors[row["en"]] for row in kept])
    cosines = english @ english.T
    np.fill_diagonal(cosines, -1.0)
    found = []
    for at, row in enumerate(kept):
        near = [kept[other] for other in np.argsort(-cosines[at])[:NEAR].tolist()]
        for language, text in row.items():
            if language not in languages:
                continue
            for other in languages:
                if other != language and other in row:
                    found.append(ReaderExample(TextPair(row[other], text), True, "parallel"))
            for other in (language, *languages):
                stranger = rng.choice(near)
                if other in stranger:
                    pair = TextPair(stranger[other], text)
                    found.append(ReaderExample(pair, False, "parallel"))
    return found


def labelled_examples(
    pairs: Sequence[SourcedPair], sizes: Mapping[str, int]
) -> list[ReaderExample]:
    """Return labelled pairs as they are.

    :param sizes: of each source, how many at most, the first.
    """
    left = dict(sizes)
    found = []
    for one in pairs:
        if left.get(one.source, 0):
            left[one.source] -= 1
            pair = TextPair(one.pair.a, one.pair.b)
            found.append(ReaderExample(pair, one.pair.same, one.source))
    return found


def _one(rng: random.Random, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield rng.choice(names)
