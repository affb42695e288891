"""Fitting how the trained score and the nearest examples are combined; no network is trained."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.encoder import EmbeddingCache, Encoder
from errata.cache.errors import ModelError
from errata.cache.records import Fact, PatchTests, Vector
from errata.gates.artifact import GateArtifact
from errata.gates.calibration import NegativeScores
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.jsonl import json_lines, text_at
from errata.gates.data.outside import OUT_OF_SCOPE, held_out
from errata.gates.data.pairs import read_pairs
from errata.gates.data.questions import QuestionBook
from errata.gates.data.splits import hash_tenth, sha256_of
from errata.gates.data.trex import TrexRecords, read_trex, wikidata_relations
from errata.gates.evaluation.trials import build_trial, question_only
from errata.gates.examples import ExampleCalibration, ExampleConfig
from errata.gates.layers import Array

Said = Callable[[str], object]
UNFITTED = ExampleConfig(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ExampleData:
    """Files to fit on, JSON lines, and how much of them; the halves that nothing measures.

    :param intents: rows source, text, intent; of ``source``, intents of tenths 0 to 4 by hash.
    :param paragraphs: rows question, rephrase; questions of tenths 0 to 4.
    :param facts: rows relation, subject, object; relations and subjects of the train split.
    :param patterns: rows relation, pattern, with ``[X]`` for the subject and ``[Y]`` at the end.
    :param pairs: rows a, b, same, that the networks were not trained on; none unless given.
    :param source: the source of intents that is used; the others stay free to measure on.
    :param per_intent: queries of each intent.
    :param near: the nearest edits that each query is paired with, beside the one that governs it:
        of a random one any score can tell that it does not.
    :param false_rate: share of the near pairs that no edit governs that may fire, the mean of all
        sorts; it picks the threshold. They are the hardest there are: at 0.02, out of scope of all
        hardly any message fires.
    :param agreement_factor: how many times as many where the base model agrees, as in training.
    :param familiar: questions of each sort that familiarity is fitted on.
    :param edits: edits of each sort that probabilities are fitted on.
    :param queries: queries about them of each sort, at most.
    :param seed: of everything drawn.
    """

    intents: Path
    paragraphs: Path
    facts: Path
    patterns: Path
    pairs: Path | None = None
    source: str = "clinc150"
    per_intent: int = 10
    near: int = 3
    false_rate: float = 0.02
    agreement_factor: float = 2.5
    familiar: int = 1200
    edits: int = 100
    queries: int = 600
    seed: int = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """The files."""
        needed = (self.intents, self.paragraphs, self.facts, self.patterns)
        return needed if self.pairs is None else (*needed, self.pairs)


@dataclass(frozen=True, slots=True)
class _Group:
    """Edits in force together, and queries.

    :param queries: text, the place of the edit it is paired with in any case (-1: none), and
        whether that edit governs it; no other one does.
    :param near: the nearest edits that each query is paired with.
    """

    edits: list[Fact]
    queries: list[tuple[str, int, bool]]
    near: int


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Pairs of a query and an edit.

    :param inputs: float64 [n, 7].
    :param labels: whether the edit governs the query, bool [n].
    :param queries: the place of the query, [n].
    """

    inputs: Array
    labels: NDArray[np.bool_]
    queries: NDArray[np.intp]

    def ungoverned(self, scores: Array) -> Array:
        """Return the highest score of each query that no edit governs."""
        governed = set(self.queries[self.labels].tolist())
        places = [at for at in np.unique(self.queries).tolist() if at not in governed]
        return np.array([scores[self.queries == at].max() for at in places])


def fit_examples(
    artifact: GateArtifact, encoder: Encoder, data: ExampleData, said: Said = lambda text: None
) -> GateArtifact:
    """Return the gate with its combination of trained score and examples fitted.

    A logistic regression on pairs of a query and an edit near it, each sort of pairs weighing the
    same; then the thresholds, by the share of false hits among the pairs.

    :param artifact: a trained gate.
    :param encoder: the one it was trained with.
    :param data: what to fit on; subjects of tune and train, never of test.
    :param said: called with what is being done.
    :raises ModelError: a file is missing, cannot be read or is too small.
    """
    for path in data.files:
        if not path.is_file():
            raise ModelError(f"{path}: expected a file of JSON lines, found none; name another")
    embeddings = EmbeddingCache(encoder, None)
    requests, out_of_scope = _requests(data)
    groups = _groups(data, requests, out_of_scope)
    said("familiarity")
    weights, offset = _familiarity(embeddings, requests, groups["statements"], data)
    unfitted = ExampleCalibration(weights, offset, UNFITTED)
    gate = ScopeClassifier(encoder, replace(artifact, examples=None))
    rows: dict[str, _Rows] = {}
    for name, group in groups.items():
        said(name)
        rows[name] = _rows(group, gate, embeddings, unfitted)
    slopes = _logistic(list(rows.values()))
    names = [field.name for field in fields(ExampleConfig)][: len(slopes)]
    config = replace(UNFITTED, **dict(zip(names, slopes, strict=True)))  # type: ignore[arg-type]
    fitted = replace(unfitted, config=config)
    scored = {name: _sigmoid(one.inputs @ np.array(slopes)) for name, one in rows.items()}
    return _with_thresholds(replace(artifact, examples=fitted), rows, scored, data)


def _with_thresholds(
    artifact: GateArtifact,
    rows: Mapping[str, _Rows],
    scored: Mapping[str, Array],
    data: ExampleData,
) -> GateArtifact:
    """Return the gate with its thresholds and card.

    :param scored: the probabilities of the rows.
    """
    negatives = [scored[name][~one.labels] for name, one in rows.items()]
    thresholds = []
    for rate in (data.false_rate, data.agreement_factor * data.false_rate):
        least = np.linspace(0.01, 0.99, 981)
        shares = np.mean([[(one >= at).mean() for at in least] for one in negatives], axis=0)
        thresholds.append(float(least[int(np.argmax(shares <= rate))]))
    stale = ("tune", "tune, the base model asked in doubt", "promised", "facts in the cache")
    card: dict[str, Any] = {key: one for key, one in artifact.card.items() if key not in stale}
    ungoverned = [
        float(score) for name, one in rows.items() for score in one.ungoverned(scored[name])
    ]
    sources = [f"{path.name} (SHA-256 {sha256_of(path)})" for path in data.files]
    card |= {
        "negative_scores": NegativeScores.of(ungoverned).as_json(),
        "promised": {"near pairs that no edit governs, mean of all sorts": data.false_rate},
        "examples": {
            "sources": [*sources, "the facts table: train subjects' questions, tune trial"],
            "pairs": {
                name: {
                    "n": len(one.labels),
                    "found": round(float((scored[name][one.labels] >= thresholds[0]).mean()), 4),
                    "false": round(float((scored[name][~one.labels] >= thresholds[0]).mean()), 4),
                }
                for name, one in rows.items()
            },
        },
    }
    agreement = None if artifact.agreement_threshold is None else thresholds[1]
    return replace(artifact, card=card, threshold=thresholds[0], agreement_threshold=agreement)


def _requests(data: ExampleData) -> tuple[dict[str, list[str]], list[str]]:
    """Return texts by intent, of the intents that are fitted on, and texts out of scope of all."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for where, row in json_lines(data.intents):
        intent, text = text_at(where, row, "intent"), text_at(where, row, "text")
        if row.get("source") == data.source and not held_out(intent):
            found[intent][text] = None
        elif intent == OUT_OF_SCOPE and hash_tenth(text) >= 8:  # the others measure and calibrate
            found[intent][text] = None
    outside = [*found.pop(OUT_OF_SCOPE, ())]
    least = UNFITTED.most_examples + data.per_intent
    rng = random.Random(f"{data.seed}/requests")
    kept = {i: rng.sample([*some], least) for i, some in found.items() if len(some) >= least}
    if len(kept) < 10:
        raise ModelError(
            f"{data.intents}: expected at least 10 intents of {least} texts of {data.source!r}, "
            f"found {len(kept)}; name another file"
        )
    return kept, outside


def _familiarity(
    embeddings: EmbeddingCache,
    requests: Mapping[str, Sequence[str]],
    statements: _Group,
    data: ExampleData,
) -> tuple[Vector, float]:
    """Return weights and offset of a logistic regression: a question of the table, or not.

    The others are requests and statements, in equal parts.
    """
    from sklearn.linear_model import LogisticRegression

    rng = random.Random(f"{data.seed}/familiarity")
    items = QuestionBook("train").items
    known = sorted({item.render(rng.choice(item.topic.forms)) for item in items})
    known = rng.sample(known, min(len(known), data.familiar))
    asked = [text for texts in requests.values() for text in texts]
    said = sorted({edit.scope for edit in statements.edits}.union(
        text for text, _, _ in statements.queries if not text.endswith("?")))  # fmt: skip
    others = [text for texts in (asked, said)
              for text in rng.sample(texts, min(len(texts), data.familiar // 2))]  # fmt: skip
    rows = embeddings.encode([*known, *others])
    labels = np.r_[np.ones(len(known)), np.zeros(len(others))]
    model = LogisticRegression(C=1.0, max_iter=1000, class_weight="balanced").fit(rows, labels)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def _groups(
    data: ExampleData, requests: Mapping[str, Sequence[str]], out_of_scope: Sequence[str]
) -> dict[str, _Group]:
    """Return edits and queries of each sort, by its name."""
    most = UNFITTED.most_examples
    groups = {
        "the facts table": _table(data),
        "paragraphs": _paragraphs(data),
        **_about_subjects(data),
        **{
            f"requests, examples: {number}": _by_intent(data, requests, out_of_scope, number)
            for number in range(1, most + 1)
        },
    }
    if data.pairs is not None:
        groups["question pairs"] = _pairs(data)
    return groups


def _table(data: ExampleData) -> _Group:
    """Return facts of the table and the queries of a trial of tune subjects."""
    trial = build_trial(QuestionBook("tune", held_out=True), (), size=data.edits, seed=data.seed)
    places = {edit.id: at for at, edit in enumerate(trial.edits)}
    rng = random.Random(f"{data.seed}/table")
    asked = rng.sample(trial.queries, min(len(trial.queries), data.queries))
    queries = [(one.text, places.get(one.edit_id, -1), bool(one.edit_id)) for one in asked]
    return _Group([*trial.edits], queries, data.near)


def _paragraphs(data: ExampleData) -> _Group:
    """Return questions about people, and each in other words."""
    texts = [
        (text_at(where, row, "question"), text_at(where, row, "rephrase"))
        for where, row in json_lines(data.paragraphs)
    ]
    texts = [pair for pair in texts if not held_out(pair[0])][: data.queries]
    queries = [(rephrase, at, True) for at, (_, rephrase) in enumerate(texts)]
    return _Group([question_only(question) for question, _ in texts], queries, data.near)


def _about_subjects(data: ExampleData) -> dict[str, _Group]:
    """Return statements up to their object, and questions.

    Of each subject the same in other words, and other relations.
    """
    known = wikidata_relations()
    records = TrexRecords(read_trex(data.facts, data.patterns), "train", data.seed)
    rng = random.Random(f"{data.seed}/subjects")
    stated, asked = _Group([], [], data.near), _Group([], [], data.near)
    for at, record in enumerate(records.counterfact(data.edits)):
        rewrite = record["requested_rewrite"]
        subject, own = rewrite["subject"], known[rewrite["relation_id"]]
        others = [one for one in known.values() if one.split == own.split
                  and one.kind == own.kind and one.family != own.family]  # fmt: skip
        stated.edits.append(question_only(rewrite["prompt"].format(subject)))
        stated.queries.extend((text, at, True) for text in record["paraphrase_prompts"])
        stated.queries.extend((text, at, False) for text in record["generation_prompts"])
        first, second = (text.format(s=subject) for text in own.questions)
        asked.edits.append(question_only(first))
        asked.queries.append((second, at, True))
        for other in rng.sample(others, min(2, len(others))):
            stated.queries.append((f"The {other.label} of {subject} is", at, False))
            asked.queries.append((other.questions[0].format(s=subject), at, False))
    return {"statements": stated, "questions": asked}


def _by_intent(
    data: ExampleData,
    requests: Mapping[str, Sequence[str]],
    out_of_scope: Sequence[str],
    number: int,
) -> _Group:
    """Return an edit of so many examples for each intent, and requests, some out of scope."""
    most = UNFITTED.most_examples
    edits: list[Fact] = []
    queries = []
    for at, (own, *others) in enumerate(requests.values()):
        edits.append(replace(question_only(own), tests=PatchTests(tuple(others[: number - 1]))))
        queries += [(text, at, True) for text in others[most - 1 :]]
    queries += [(text, -1, False) for text in out_of_scope]
    return _Group(edits, queries, data.near)


def _pairs(data: ExampleData) -> _Group:
    """Return labelled question pairs, each with its own edit alone."""
    if data.pairs is None:
        return _Group([], [], 0)
    every = read_pairs(data.pairs)
    some = random.Random(f"{data.seed}/pairs").sample(every, min(len(every), data.queries))
    queries = [(pair.a, at, pair.same) for at, pair in enumerate(some)]
    return _Group([question_only(pair.b) for pair in some], queries, 0)


def _rows(
    group: _Group,
    gate: ScopeClassifier,
    embeddings: EmbeddingCache,
    calibration: ExampleCalibration,
) -> _Rows:
    """Return pairs of a query and an edit."""
    examples = [edit.examples for edit in group.edits]
    starts = np.cumsum([0, *map(len, examples)])[:-1]
    texts = embeddings.encode([text for some in examples for text in some])
    asked = embeddings.encode([text for text, _, _ in group.queries])
    cosines = np.maximum.reduceat(asked @ texts.T, starts, axis=1)
    shares = [calibration.share(embeddings.encode([edit.scope])[0]) for edit in group.edits]
    pairs = [
        (at, edit, governs and edit == about)
        for at, (_, about, governs) in enumerate(group.queries)
        for edit in {*np.argsort(-cosines[at])[: group.near].tolist(), *({about} - {-1})}
    ]
    read = [(at, edit) for at, edit, _ in pairs if shares[edit]]
    scores = gate.score_unlisted(
        [group.queries[at][0] for at, _ in read], [[group.edits[edit]] for _, edit in read]
    )
    trained = {pair: one.probability[0] for pair, one in zip(read, scores, strict=True)}
    inputs = [
        calibration.inputs(
            shares[edit], trained.get((at, edit), 0.0), cosines[at, edit], len(examples[edit])
        )
        for at, edit, _ in pairs
    ]
    return _Rows(
        np.array(inputs),
        np.array([governs for _, _, governs in pairs], dtype=bool),
        np.array([at for at, _, _ in pairs]),
    )


def _logistic(rows: Sequence[_Rows]) -> tuple[float, ...]:
    """Return the slopes of a logistic regression; the offset is among its inputs."""
    from sklearn.linear_model import LogisticRegression

    inputs, labels = (np.concatenate(each) for each in zip(
        *((one.inputs, one.labels) for one in rows), strict=True))  # fmt: skip
    weights = np.concatenate([np.full(len(one.labels), 1.0 / len(one.labels)) for one in rows])
    model = LogisticRegression(C=10.0, max_iter=3000, fit_intercept=False)
    model.fit(inputs, labels, sample_weight=weights * len(weights) / weights.sum())
    return tuple(float(slope) for slope in model.coef_[0])


def _sigmoid(odds: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)), dtype=np.float64)
