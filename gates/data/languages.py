"""Questions in several languages, for training and measuring the reader of other languages.

Templates of our own, about subjects with names in five languages; labelled pairs in Chinese; and
questions of QALD (Perevalov et al. 2022, arXiv:2202.00120) in up to eleven languages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from errata.cache.errors import ModelError
from errata.gates.data.jsonl import json_lines, text_at
from errata.gates.data.pairs import QuestionPair, split_pairs
from errata.gates.data.splits import TEST_TENTHS, hash_tenth
from errata.gates.data.yaml_tables import load_table

Part = Literal["train", "tune", "test"]
_VOWELS = "aeiouhéèêâîôyAEIOUHÉÈÊÂÎÔY"


@dataclass(frozen=True, slots=True)
class Question:
    """A question about one relation of one subject, in one language.

    :param fact: kind, relation and subject, in English: questions of one fact ask the same.
    :param kind: of the subject, such as ``country``.
    :param relation: such as ``capital``.
    :param subject: its name in English.
    :param language: such as ``de``.
    :param wording: the number of its template, from 0.
    :param text: the question.
    :param name: the subject as the question names it.
    """

    fact: str
    kind: str
    relation: str
    subject: str
    language: str
    wording: int
    text: str
    name: str


@dataclass(frozen=True, slots=True)
class SourcedPair:
    """A labelled pair and the data set it is from, such as ``lcqmc``."""

    source: str
    pair: QuestionPair


def template_questions(part: Part) -> list[Question]:
    """Return the questions of the table whose subject and relation are both of a part.

    By the hash of a name: subjects of tenths 0 to 4 and relations of 6 to 9 are measured; of the
    other subjects, relations of tenth 5 tune and the rest train.
    """
    return [one for one in _questions() if _part(one) == part]


def _part(one: Question) -> Part | None:
    measured = hash_tenth(one.subject) < TEST_TENTHS
    tenth = hash_tenth(f"{one.kind}/{one.relation}")
    if measured:
        return "test" if tenth > TEST_TENTHS else None
    return "tune" if tenth == TEST_TENTHS else "train" if tenth < TEST_TENTHS else None


@cache
def _questions() -> tuple[Question, ...]:
    table = load_table("languages")
    return tuple(
        _question(kind, relation, names, language, at, wording, template)
        for kind, relations in table["relations"].items()
        for relation, templates in relations.items()
        for names in table["subjects"][kind]
        for at, language in enumerate(table["languages"])
        for wording, template in enumerate(templates[language])
    )


def _question(
    kind: str, relation: str, names: Sequence[str], language: str, at: int, wording: int, form: str
) -> Question:
    name = genitive = names[at]
    if language == "fr":
        name, genitive = _french(name, kind)
    text = form.replace("{s}", name).replace("{of}", genitive)
    fact = f"{kind}/{relation}/{names[0]}"
    return Question(fact, kind, relation, names[0], language, wording, text, name)


def _french(name: str, kind: str) -> tuple[str, str]:
    """Return a name without its article, and after "de"."""
    article, _, bare = name.partition(" ")
    if kind == "country" and article in ("le", "les", "la"):
        return bare, {"le": "du ", "les": "des ", "la": "de la "}[article] + bare
    if kind == "country" and name.startswith("l'"):
        return name[2:], f"de {name}"
    return name, f"d'{name}" if name[:1] in _VOWELS else f"de {name}"


def read_chinese_pairs(path: str | Path) -> dict[Part, list[SourcedPair]]:
    """Read labelled pairs, JSON lines source, a, b, same; return them by split, in a fixed order.

    All of one connected component of questions are of one split, as of other pairs. The order is by
    hash, so that the first n of a source are the same in every run.

    :raises ModelError: a line is malformed; names the file and line.
    """
    rows = [_sourced(where, row) for where, row in json_lines(path)]
    sources = {id(one.pair): one.source for one in rows}
    return {
        part: sorted(
            (SourcedPair(sources[id(pair)], pair) for pair in pairs),
            key=lambda one: _order(f"{one.pair.a}\n{one.pair.b}"),
        )
        for part, pairs in split_pairs([one.pair for one in rows]).items()
    }


def _sourced(where: str, row: dict[str, Any]) -> SourcedPair:
    if row.get("same") not in (0, 1):
        raise ModelError(
            f"{where}: expected same to be 0 or 1, found {row.get('same')!r}; label the pair"
        )
    texts = text_at(where, row, "a"), text_at(where, row, "b")
    return SourcedPair(text_at(where, row, "source"), QuestionPair(*texts, bool(row["same"])))


def read_parallel(path: str | Path) -> list[dict[str, str]]:
    """Read one question in several languages a line, ``{language: question}``.

    :raises ModelError: a line is malformed; names the file and line.
    """
    found = []
    for where, row in json_lines(path):
        texts = {key: text_at(where, row, key) for key in ("en", *row)}
        found.append({key[:2]: text for key, text in texts.items()})
    return found


def parallel_part(row: Mapping[str, str]) -> Part:
    """Return the part of a question by the hash of its English: 0 to 4 test, 5 tune, else train."""
    tenth = hash_tenth(row["en"])
    return "test" if tenth < TEST_TENTHS else "tune" if tenth == TEST_TENTHS else "train"


def _order(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
