"""Facts of other subjects, to fill a cache with: T-REx rows as questions and answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from errata.cache.errors import ModelError
from errata.cache.records import Fact
from errata.cache.text.normalize import LONGEST, contains_any, plain_words, word_ngrams
from errata.gates.data.jsonl import json_lines, text_at
from errata.gates.data.splits import TEST_TENTHS, hash_tenth

QUESTIONS = {
    "P19": "Where was {s} born?", "P20": "Where did {s} die?",
    "P27": "What is the nationality of {s}?", "P30": "On which continent is {s}?",
    "P31": "What is {s}?", "P36": "What is the capital of {s}?",
    "P37": "What is the official language of {s}?", "P39": "Which office did {s} hold?",
    "P47": "What does {s} share a border with?", "P101": "In which field did {s} work?",
    "P103": "What is the native language of {s}?", "P106": "What is the profession of {s}?",
    "P108": "Who is the employer of {s}?", "P127": "Who owns {s}?",
    "P131": "In which region is {s}?", "P136": "Which genre does {s} play?",
    "P138": "What is {s} named after?", "P140": "What is the religion of {s}?",
    "P159": "Where are the headquarters of {s}?", "P176": "Who makes {s}?",
    "P178": "Who developed {s}?", "P190": "What is the twin city of {s}?",
    "P264": "Which label is {s} signed to?", "P276": "Where is {s}?",
    "P279": "What is {s} a kind of?", "P361": "What is {s} part of?",
    "P364": "What is the original language of {s}?", "P407": "In which language is {s} written?",
    "P413": "In which position does {s} play?", "P449": "Which channel first showed {s}?",
    "P463": "What is {s} a member of?", "P495": "In which country was {s} created?",
    "P527": "What does {s} consist of?", "P530": "Which country has relations with {s}?",
    "P740": "Where was {s} founded?", "P937": "Where did {s} work?",
    "P1001": "Where does {s} apply?", "P1303": "Which instrument does {s} play?",
    "P1376": "What is {s} the capital of?", "P1412": "Which language did {s} speak?",
    "P17": "In which country is {s}?",
}  # fmt: skip
"""A question for each Wikidata property that is known."""
_TURNED = tuple(QUESTIONS[relation].split("{")[0] for relation in ("P36", "P1376"))


def read_background(path: str | Path) -> list[Fact]:
    """Read facts, JSON lines ``{"relation", "subject", "object"}``, gzipped or not.

    :param path: relations are Wikidata properties, such as P36; one fact a subject and relation.
    :raises ModelError: a line is malformed or its relation unknown; names the file and line.
    """
    found: dict[str, Fact] = {}
    for where, row in json_lines(path):
        relation, subject, answer = (
            text_at(where, row, key) for key in ("relation", "subject", "object")
        )
        if relation not in QUESTIONS:
            raise ModelError(
                f"{where}: no question is known for the relation {relation!r}; expected one of "
                f"{', '.join(sorted(QUESTIONS))}, or leave the line out"
            )
        question = QUESTIONS[relation].format(s=subject)
        found.setdefault(question, Fact(question, answer, subject=subject))
    return list(found.values())


def for_test(facts: Collection[Fact], wanted: bool) -> list[Fact]:
    """Return the facts of a file that gates are tested beside, or the others.

    :param wanted: whether the test's: tenths 0 to 4, by subject, as of open questions.
    """
    return [fact for fact in facts if (hash_tenth(fact.subject or "") < TEST_TENTHS) == wanted]


def beside(facts: Collection[Fact], queries: Collection[str]) -> Iterator[Fact]:
    """Yield the facts whose subject none of the queries names, of capitals nor whose answer.

    So no query is governed by one of them, and whatever of them fires is a false hit: what
    something is the capital of is asked the other way round, too.
    """
    named = {run for query in queries for run in word_ngrams(plain_words(query))}
    for fact in facts:
        subject = plain_words(fact.subject or "")
        turned = fact.question.startswith(_TURNED) and plain_words(fact.answer) in named
        if subject and len(subject) <= LONGEST and subject not in named and not turned:
            yield fact


def unnamed(questions: Collection[str], subjects: Collection[str]) -> list[str]:
    """Return the questions that name none of the subjects.

    "What continent does Israel belong to?" is no question out of scope where an edit says on which
    continent Israel lies.
    """
    names = {plain_words(subject) for subject in subjects}
    return [text for text in questions if not contains_any(text, names)]
