"""Distractors: facts of other subjects that fill a cache, T-REx rows as questions and answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from errata.cache.errors import ModelError
from errata.cache.records import Fact
from errata.cache.text.normalize import LONGEST, contains_any, plain_words, word_ngrams
from errata.gates.data.jsonl import json_lines, text_at
from errata.gates.data.splits import TEST_TENTHS, hash_tenth
from errata.gates.data.yaml_tables import load_table


def property_questions() -> dict[str, str]:
    """Return a question about ``{s}`` for each known Wikidata property, such as P36."""
    questions: dict[str, str] = load_table("distractors")["questions"]
    return questions


@cache
def _capital_questions() -> tuple[str, ...]:
    """Return the beginnings of questions about capitals, whose inverse is common, too."""
    return tuple(property_questions()[relation].split("{")[0] for relation in ("P36", "P1376"))


def read_background(path: str | Path) -> list[Fact]:
    """Read facts, JSON lines ``{"relation", "subject", "object"}``, gzipped or not.

    :param path: relations are Wikidata properties, such as P36; one fact a subject and relation.
    :raises ModelError: a line is malformed or its relation unknown; names the file and line.
    """
    questions = property_questions()
    found: dict[str, Fact] = {}
    for where, row in json_lines(path):
        relation, subject, answer = (
            text_at(where, row, key) for key in ("relation", "subject", "object")
        )
        if relation not in questions:
            raise ModelError(
                f"{where}: no question is known for the relation {relation!r}; expected one of "
                f"{', '.join(sorted(questions))}, or leave the line out"
            )
        question = questions[relation].format(s=subject)
        found.setdefault(question, Fact(question, answer, subject=subject))
    return list(found.values())


def hash_half(facts: Collection[Fact], *, test: bool) -> list[Fact]:
    """Return the half of a file's facts that tests of gates use, or the other half.

    :param test: whether the test half: tenths 0 to 4, by subject, as of open questions.
    """
    return [fact for fact in facts if (hash_tenth(fact.subject or "") < TEST_TENTHS) == test]


def unrelated_facts(facts: Collection[Fact], queries: Collection[str]) -> Iterator[Fact]:
    """Yield the facts whose subject (of capitals, also whose answer) no query names.

    They govern none of the queries, so each that fires is a false hit.
    """
    named = {run for query in queries for run in word_ngrams(plain_words(query))}
    for fact in facts:
        subject = plain_words(fact.subject or "")
        capital = fact.question.startswith(_capital_questions())
        answered = capital and plain_words(fact.answer) in named
        if subject and len(subject) <= LONGEST and subject not in named and not answered:
            yield fact


def questions_without(questions: Collection[str], subjects: Collection[str]) -> list[str]:
    """Return the questions that name none of the subjects.

    "What continent does Israel belong to?" may be in the scope of an edit about Israel.
    """
    names = {plain_words(subject) for subject in subjects}
    return [text for text in questions if not contains_any(text, names)]
