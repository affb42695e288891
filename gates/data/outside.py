"""Readers of other people's words: messages by intent, clusters, labelled pairs, paragraphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from errata.cache.errors import ModelError
from errata.gates.data.jsonl import json_lines, text_at
from errata.gates.data.languages import Part, SourcedPair, read_chinese_pairs, read_parallel
from errata.gates.data.pairs import QuestionPair, read_open_questions, read_pairs
from errata.gates.data.splits import TEST_TENTHS, hash_tenth, sha256_of

OUT_OF_SCOPE = "oos"
"""The intent of messages that are out of scope of all (CLINC150: Larson et al. 2019)."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A message and what it is about.

    :param source: the data set, such as ``banking77``.
    :param text: the message.
    :param intent: its intent, in words.
    """

    source: str
    text: str
    intent: str


@dataclass(frozen=True, slots=True)
class SentencePair:
    """Two sentences and their label.

    :param source: the data set, such as ``sick``.
    :param label: such as ``contradiction``, ``same`` or ``other``.
    """

    source: str
    a: str
    b: str
    label: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A question with a paragraph as its answer (UnKE: Deng et al. 2024, arXiv:2405.15349).

    :param rephrase: the question in other words.
    :param details: questions of detail that the paragraph answers.
    """

    question: str
    answer: str
    rephrase: str
    details: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutsideData:
    """What a folder of other people's words holds; empty where a file is missing.

    :param intents: ``intents.jsonl.gz``, JSON lines source, text, intent.
    :param clusters: ``question_clusters.jsonl.gz``, question, cluster; questions by cluster.
    :param medical: ``medical_pairs.jsonl.gz``, a, b, same.
    :param sentences: ``sentence_pairs.jsonl.gz``, source, a, b, label.
    :param pairs: ``question_pairs.jsonl.gz``, a, b, same.
    :param open_questions: ``open_questions.jsonl.gz``, question.
    :param paragraphs: ``paragraph_answers.jsonl.gz``, question, answer, rephrase, sub_questions.
    :param chinese: ``chinese_pairs.jsonl.gz``, source, a, b, same; by split.
    :param parallel: ``questions_in_languages.jsonl.gz``, one question by language.
    :param files: the SHA-256 of each file found, by name.
    """

    intents: tuple[Intent, ...] = ()
    clusters: Mapping[str, tuple[str, ...]] | None = None
    medical: tuple[QuestionPair, ...] = ()
    sentences: tuple[SentencePair, ...] = ()
    pairs: tuple[QuestionPair, ...] = ()
    open_questions: tuple[str, ...] = ()
    paragraphs: tuple[Paragraph, ...] = ()
    chinese: Mapping[Part, Sequence[SourcedPair]] = field(default_factory=dict)
    parallel: tuple[Mapping[str, str], ...] = ()
    files: Mapping[str, str] | None = None


FILES = {
    "intents": "intents.jsonl.gz", "clusters": "question_clusters.jsonl.gz",
    "medical": "medical_pairs.jsonl.gz", "sentences": "sentence_pairs.jsonl.gz",
    "pairs": "question_pairs.jsonl.gz", "open_questions": "open_questions.jsonl.gz",
    "paragraphs": "paragraph_answers.jsonl.gz", "chinese": "chinese_pairs.jsonl.gz",
    "parallel": "questions_in_languages.jsonl.gz",
}  # fmt: skip
"""File of each field of :class:`OutsideData`."""


def read_outside(folder: Path) -> OutsideData:
    """Read the files of a folder that are there.

    :param folder: with some of :data:`FILES`, each gzipped or, without ``.gz``, not.
    :raises ModelError: no file is there, or a line is malformed; names the file and line.
    """
    found, hashes = {}, {}
    for key, name in FILES.items():
        path = next((p for p in (folder / name, folder / name[:-3]) if p.is_file()), None)
        if path is not None:
            found[key] = _READERS[key](path)
            hashes[path.name] = sha256_of(path)
    if not found:
        raise ModelError(
            f"{folder}: expected a folder with one of {', '.join(FILES.values())}, found none; "
            "name the folder of your data"
        )
    return OutsideData(**found, files=hashes)


def held_out(text: str) -> bool:
    """Return whether an intent or a paragraph's question is kept from fitting: tenths 5 to 9."""
    return hash_tenth(text) >= TEST_TENTHS


Row = TypeVar("Row")


def _rows(make: Callable[[str, dict[str, Any]], Row], path: Path) -> tuple[Row, ...]:
    return tuple(make(where, row) for where, row in json_lines(path))


def _texts(where: str, row: dict[str, Any], *keys: str) -> tuple[str, ...]:
    return tuple(text_at(where, row, key) for key in keys)


def _intent(where: str, row: dict[str, Any]) -> Intent:
    return Intent(*_texts(where, row, "source", "text", "intent"))


def _sentence_pair(where: str, row: dict[str, Any]) -> SentencePair:
    return SentencePair(*_texts(where, row, "source", "a", "b", "label"))


def _pair(where: str, row: dict[str, Any]) -> QuestionPair:
    if row.get("same") not in (0, 1):
        raise ModelError(
            f"{where}: expected same to be 0 or 1, found {row.get('same')!r}; label the pair"
        )
    a, b = _texts(where, row, "a", "b")
    return QuestionPair(a, b, bool(row["same"]))


def _paragraph(where: str, row: dict[str, Any]) -> Paragraph:
    details = row.get("sub_questions")
    if not isinstance(details, list) or not all(isinstance(text, str) for text in details):
        raise ModelError(
            f"{where}: expected a list of texts under 'sub_questions', found {details!r}; write one"
        )
    question, answer, rephrase = _texts(where, row, "question", "answer", "rephrase")
    return Paragraph(question, answer, rephrase, tuple(details))


def _clusters(path: Path) -> Mapping[str, tuple[str, ...]]:
    """Return the questions of each cluster; blank ones, which COVID-Q has, are left out."""
    found: dict[str, list[str]] = {}
    for where, row in json_lines(path):
        if row.get("question") == "":
            continue
        cluster, question = _texts(where, row, "cluster", "question")
        found.setdefault(cluster, []).append(question)
    return {cluster: tuple(dict.fromkeys(texts)) for cluster, texts in found.items()}


_READERS: Mapping[str, Callable[[Path], Any]] = {
    "intents": partial(_rows, _intent),
    "clusters": _clusters,
    "medical": partial(_rows, _pair),
    "sentences": partial(_rows, _sentence_pair),
    "pairs": lambda path: tuple(read_pairs(path)),
    "open_questions": lambda path: tuple(read_open_questions(path)),
    "paragraphs": partial(_rows, _paragraph),
    "chinese": read_chinese_pairs,
    "parallel": lambda path: tuple(read_parallel(path)),
}
