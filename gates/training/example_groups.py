"""Edits and queries that the combination of trained score and examples is fitted on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from errata.cache.encoder import EmbeddingCache
from errata.cache.errors import ModelError
from errata.cache.records import Fact, PatchTests
from errata.cache.text.normalize import compare
from errata.gates.data.augment import careless, in_message, mistyped, negation
from errata.gates.data.jsonl import json_lines, text_at
from errata.gates.data.outside import OUT_OF_SCOPE, held_out
from errata.gates.data.pairs import read_open_questions, read_pairs
from errata.gates.data.questions import QuestionBook
from errata.gates.data.splits import hash_tenth
from errata.gates.data.trex import TrexRecords, read_trex, wikidata_relations
from errata.gates.data.wordnet import traits
from errata.gates.evaluation.trials import build_trial, question_only
from errata.gates.text import words
from errata.gates.wording import shared_words


@dataclass(frozen=True, slots=True)
class ExampleData:
    """Files to fit on, JSON lines, and how much of them; the halves that nothing measures.

    :param intents: rows source, text, intent; of ``source``, intents of tenths 0 to 4 by hash.
    :param paragraphs: rows question, rephrase, answer; questions of tenths 0 to 4.
    :param facts: rows relation, subject, object; relations of the tune split and subjects that are
        not of the test split, since networks may have been trained on relations of the train split.
    :param patterns: rows relation, pattern, with ``[X]`` for the subject and ``[Y]`` at the end.
    :param pairs: rows a, b, same, that the networks were not trained on; none unless given.
    :param open_questions: rows question, out of scope of all requests; of tenths 8 and 9, at most
        as many as ``queries``; none unless given.
    :param source: the source of intents that is used; the others stay free to measure on.
    :param per_intent: queries of each intent.
    :param most_examples: examples of an edit, at most.
    :param near: the nearest edits that each query is paired with, beside the one that governs it:
        of a random one any score can tell that it does not.
    :param picked_weight: weight of the sorts of pairs that were picked by how alike their words
        are, of one that was not.
    :param false_rate: share of the near pairs that no edit governs that may fire, the mean of all
        sorts; it picks the threshold. They are the hardest there are: at 0.015, out of scope of
        all hardly any message fires, and 8% of other statements about a subject. Pairs that were
        picked have no rate of their own and do not count.
    :param topic_rate: the same of topics. One that holds beside the right one costs less than a
        wrong answer, and topics overlap.
    :param claim_rate: the same of claims, whose near pairs are their opposites. At 0.02, of 436
        sentences of reviews that no patch concerns 4% changed their label by 20 patches, not 2%.
    :param agreement_factor: how many times as many where the base model agrees, as in training.
    :param familiar: questions of each sort that familiarity is fitted on.
    :param edits: edits of each sort that probabilities are fitted on.
    :param queries: queries about them of each sort, at most.
    :param compared: requests that each is compared with, for those that share words.
    :param seed: of everything drawn.
    :param without: inputs of the combination that are left out, for an ablation
        (:data:`errata.gates.examples.SLOPES`).
    """

    intents: Path
    paragraphs: Path
    facts: Path
    patterns: Path
    pairs: Path | None = None
    open_questions: Path | None = None
    source: str = "clinc150"
    per_intent: int = 10
    most_examples: int = 3
    near: int = 3
    picked_weight: float = 0.5
    false_rate: float = 0.015
    topic_rate: float = 0.04
    claim_rate: float = 0.01
    agreement_factor: float = 2.5
    familiar: int = 1200
    edits: int = 100
    queries: int = 600
    compared: int = 3000
    seed: int = 0
    without: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files."""
        needed = (self.intents, self.paragraphs, self.facts, self.patterns)
        given = (self.pairs, self.open_questions)
        return (*needed, *(path for path in given if path is not None))


@dataclass(frozen=True, slots=True)
class Group:
    """Edits in force together, and queries.

    :param queries: text, the place of the edit it is paired with in any case (-1: none), and
        whether that edit governs it; no other one does.
    :param near: the nearest edits that each query is paired with; 0: its own only.
    """

    edits: list[Fact]
    queries: list[tuple[str, int, bool]]
    near: int


def read_requests(data: ExampleData) -> tuple[dict[str, list[str]], list[str]]:
    """Return texts by intent, of the intents that are fitted on, and texts out of scope of all.

    :raises ModelError: the file is too small.
    """
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for where, row in json_lines(data.intents):
        intent, text = text_at(where, row, "intent"), text_at(where, row, "text")
        if row.get("source") == data.source and not held_out(intent):
            found[intent][text] = None
        elif intent == OUT_OF_SCOPE and hash_tenth(text) >= 8:  # the others measure and calibrate
            found[intent][text] = None
    outside = [*found.pop(OUT_OF_SCOPE, ()), *_open_questions(data)]
    least = data.most_examples + data.per_intent
    kept = {intent: [*some] for intent, some in found.items() if len(some) >= least}
    if len(kept) < 10:
        raise ModelError(
            f"{data.intents}: expected at least 10 intents of {least} texts of {data.source!r}, "
            f"found {len(kept)}; name another file"
        )
    return kept, outside


def _open_questions(data: ExampleData) -> list[str]:
    if data.open_questions is None:
        return []
    asked = [text for text in read_open_questions(data.open_questions) if hash_tenth(text) >= 8]
    return random.Random(f"{data.seed}/open").sample(asked, min(len(asked), data.queries))


def example_groups(
    data: ExampleData, requests: Mapping[str, Sequence[str]], out_of_scope: Sequence[str]
) -> dict[str, Group]:
    """Return edits and queries of each sort, by its name.

    :param requests: texts by intent (:func:`read_requests`).
    :param out_of_scope: texts of no intent.
    """
    rng = random.Random(f"{data.seed}/requests")
    least = data.most_examples + data.per_intent
    some = {intent: rng.sample(texts, least) for intent, texts in requests.items()}
    groups = {
        "the facts table": _table(data),
        "paragraphs": _paragraphs(data),
        **_about_subjects(data),
        **{
            f"requests, examples: {number}": _by_intent(data, some, out_of_scope, number)
            for number in range(1, data.most_examples + 1)
        },
        "requests, shared words": _shared_words(data, requests),
        "requests, opposites": _opposites(data, [*requests.values(), out_of_scope]),
    }
    if data.pairs is not None:
        groups["question pairs"] = _pairs(data)
    return groups


def _table(data: ExampleData) -> Group:
    """Return facts of the table and the queries of a trial of tune subjects."""
    trial = build_trial(QuestionBook("tune", held_out=True), (), size=data.edits, seed=data.seed)
    places = {edit.id: at for at, edit in enumerate(trial.edits)}
    rng = random.Random(f"{data.seed}/table")
    asked = rng.sample(trial.queries, min(len(trial.queries), data.queries))
    queries = [(one.text, places.get(one.edit_id, -1), bool(one.edit_id)) for one in asked]
    return Group([*trial.edits], queries, data.near)


def _paragraphs(data: ExampleData) -> Group:
    """Return questions about people, and each in other words."""
    texts = [
        (text_at(where, row, "question"), text_at(where, row, "rephrase"))
        for where, row in json_lines(data.paragraphs)
    ]
    texts = [pair for pair in texts if not held_out(pair[0])][: data.queries]
    queries = [(rephrase, at, True) for at, (_, rephrase) in enumerate(texts)]
    return Group([question_only(question) for question, _ in texts], queries, data.near)


def _about_subjects(data: ExampleData) -> dict[str, Group]:
    """Return statements up to their object, and questions, each with one example and with two.

    Of each subject the same in other words, and other relations. With one example only, two would
    count for a sort of edits and not for what they teach.
    """
    known = wikidata_relations()
    records = TrexRecords(read_trex(data.facts, data.patterns), "tune", data.seed)
    rng = random.Random(f"{data.seed}/subjects")
    stated, asked = Group([], [], data.near), Group([], [], data.near)
    stated_2, asked_2 = Group([], [], data.near), Group([], [], data.near)
    for record in records.counterfact(data.edits):
        rewrite = record["requested_rewrite"]
        subject, own = rewrite["subject"], known[rewrite["relation_id"]]
        others = [one for one in known.values() if one.split == own.split
                  and one.kind == own.kind and one.family != own.family]  # fmt: skip
        others = rng.sample(others, min(2, len(others)))
        other_statements = [f"The {other.label} of {subject} is" for other in others]
        other_statements += record["generation_prompts"]
        other_questions = [other.questions[0].format(s=subject) for other in others]
        said, statements = rewrite["prompt"].format(subject), record["paraphrase_prompts"]
        first, second = (text.format(s=subject) for text in own.questions)
        _add(stated, (said,), statements, other_statements)
        _add(stated_2, (said, *statements[:1]), statements[1:], other_statements)
        _add(asked, (first,), (second,), other_questions)
        _add(asked_2, (first, f"the {own.label} of {subject}"), (second,), other_questions)
    return {
        "statements": stated, "statements, examples: 2": stated_2,
        "questions": asked, "questions, examples: 2": asked_2,
    }  # fmt: skip


def _add(
    group: Group, examples: Sequence[str], same: Sequence[str], different: Sequence[str]
) -> None:
    """Add an edit with its examples, queries that it governs, and others."""
    own, *others = examples
    at = len(group.edits)
    group.edits.append(replace(question_only(own), tests=PatchTests(tuple(others))))
    group.queries.extend((text, at, True) for text in same)
    group.queries.extend((text, at, False) for text in different)


def _shared_words(data: ExampleData, requests: Mapping[str, Sequence[str]]) -> Group:
    """Return pairs of requests that share words, of one intent and of two."""
    rng = random.Random(f"{data.seed}/shared words")
    flat = sorted((text, intent) for intent, texts in requests.items() for text in texts)
    group = Group([], [], 0)
    for text, intent in rng.sample(flat, len(flat)):
        if len(group.queries) >= data.queries:
            break
        alike = [
            (shared_words(text, other), other, theirs == intent)
            for other, theirs in rng.sample(flat, min(len(flat), data.compared))
            if other != text
        ]
        same = [other for overlap, other, governs in alike if governs and overlap >= 0.5]
        near = [(overlap, other) for overlap, other, governs in alike
                if not governs and overlap >= 0.4]  # fmt: skip
        if same and near:
            _add(group, (text,), (rng.choice(same),), (max(near)[1],))
    return group


def _opposites(data: ExampleData, texts: Sequence[Sequence[str]]) -> Group:
    """Return requests, each against itself mistyped and with a word turned into its opposite."""
    rng = random.Random(f"{data.seed}/opposites")
    opposites: dict[str, list[str]] = defaultdict(list)
    for trait in traits():
        (one, _), (other, _) = trait.poles
        for poles in ((one, other), (other, one)):
            for word in poles[0]:
                opposites[word] += poles[1][:1]
    flat = sorted({text for some in texts for text in some})
    group = Group([], [], 0)
    for text in rng.sample(flat, len(flat)):
        if len(group.queries) >= data.queries:
            break
        turned = [*_turned(text, opposites, rng)]
        same = rng.choice((in_message(text, rng), mistyped(careless(text), rng),
                           mistyped(text, rng)))  # fmt: skip
        if turned and compare(same, text) != "same":
            _add(group, (text,), (same,), (rng.choice(turned),))
    return group


def _turned(text: str, opposites: Mapping[str, Sequence[str]], rng: random.Random) -> Iterator[str]:
    """Yield a text with a word in its opposite, and negated."""
    known = [word for word in words(text) if word.plain in opposites]
    if known:
        word = rng.choice(known)
        yield text[: word.start] + rng.choice(opposites[word.plain]) + text[word.end :]
    negated = negation(text)
    if negated and rng.random() < 0.3:
        yield negated


def _by_intent(
    data: ExampleData,
    requests: Mapping[str, Sequence[str]],
    out_of_scope: Sequence[str],
    number: int,
) -> Group:
    """Return an edit of so many examples for each intent, and requests, some out of scope."""
    group = Group([], [], data.near)
    for texts in requests.values():
        _add(group, texts[:number], texts[data.most_examples :], ())
    group.queries.extend((text, -1, False) for text in out_of_scope)
    return group


def _pairs(data: ExampleData) -> Group:
    """Return labelled question pairs, each with its own edit alone."""
    if data.pairs is None:
        return Group([], [], 0)
    every = read_pairs(data.pairs)
    some = random.Random(f"{data.seed}/pairs").sample(every, min(len(every), data.queries))
    queries = [(pair.a, at, pair.same) for at, pair in enumerate(some)]
    return Group([question_only(pair.b) for pair in some], queries, 0)


def near_pairs(
    embeddings: EmbeddingCache,
    examples: Sequence[Sequence[str]],
    queries: Sequence[tuple[str, int]],
    near: int,
) -> list[tuple[int, int]]:
    """Return the places of each query and of the edits nearest to it by their nearest example.

    :param examples: texts of each edit.
    :param queries: text, and the place of the edit it is paired with in any case (-1: none).
    :param near: how many are the nearest.
    """
    starts = np.cumsum([0, *map(len, examples)])[:-1]
    texts = embeddings.encode([text for some in examples for text in some])
    asked = embeddings.encode([text for text, _ in queries])
    cosines = np.maximum.reduceat(asked @ texts.T, starts, axis=1)
    return [
        (at, edit)
        for at, (_, about) in enumerate(queries)
        for edit in {*np.argsort(-cosines[at])[:near].tolist(), *({about} - {-1})}
    ]
