"""Fitting how the trained score and the nearest examples are combined; no network is trained."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from errata.cache.encoder import EmbeddingCache, Encoder
from errata.cache.errors import ModelError
from errata.cache.records import Fact, Vector
from errata.gates.artifact import GateArtifact
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.jsonl import json_lines, text_at
from errata.gates.data.questions import QuestionBook
from errata.gates.data.splits import hash_tenth, sha256_of
from errata.gates.evaluation.trials import build_trial
from errata.gates.examples import ExampleCalibration, ExampleConfig
from errata.gates.layers import Array, log_odds

Said = Callable[[str], object]
_SHAPES = ExampleConfig((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))


@dataclass(frozen=True, slots=True)
class ExampleData:
    """Files to fit on, JSON lines, and how much of them.

    :param intents: rows source, text, intent; those of ``source``, half of its intents.
    :param paragraphs: rows question, rephrase; half of them.
    :param facts: rows relation, subject, object.
    :param patterns: rows relation, pattern, with ``[X]`` for the subject and ``[Y]`` at the end.
    :param source: the source of intents that is used; the others stay free to measure on.
    :param familiar: questions of each sort that familiarity is fitted on.
    :param edits: edits of each sort that probabilities are fitted on.
    :param queries: queries about them of each sort, at most.
    :param seed: of everything drawn.
    """

    intents: Path
    paragraphs: Path
    facts: Path
    patterns: Path
    source: str = "clinc150"
    familiar: int = 1200
    edits: int = 100
    queries: int = 600
    seed: int = 0


def fit_examples(
    artifact: GateArtifact, encoder: Encoder, data: ExampleData, said: Said = lambda text: None
) -> GateArtifact:
    """Return the gate with its combination of trained score and examples fitted.

    :param artifact: a trained gate.
    :param encoder: the one it was trained with.
    :param data: what to fit on; subjects of tune and train, never of test.
    :param said: called with what is being done.
    :raises ModelError: a file cannot be read or is too small.
    """
    embeddings = EmbeddingCache(encoder, None)
    rng = random.Random(data.seed)
    intents = _intents(data, rng)
    said("familiarity")
    weights, offset = _familiarity(embeddings, intents, data, rng)
    said("trained score")
    trained = _logistic(*_trained_rows(artifact, encoder, embeddings, data, rng))
    said("examples")
    cosines, counts, labels, sample = _taught_rows(embeddings, intents, data, rng)
    number = np.log(counts)
    taught = _logistic(np.column_stack([cosines, number, cosines * number]), labels, sample)
    config = replace(_SHAPES, trained=trained, taught=taught)  # type: ignore[arg-type]
    files = (data.intents, data.paragraphs, data.facts, data.patterns)
    sources = [f"{path.name} (SHA-256 {sha256_of(path)})" for path in files]
    card: dict[str, Any] = {**artifact.card, "examples": {"sources": sources}}
    return replace(artifact, card=card, examples=ExampleCalibration(weights, offset, config))


def _intents(data: ExampleData, rng: random.Random) -> dict[str, list[str]]:
    """Return texts by intent, of the half of the intents that is fitted on."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for where, row in json_lines(data.intents):
        intent = text_at(where, row, "intent")
        if row.get("source") == data.source and intent != "oos" and hash_tenth(intent) < 5:
            found[intent][text_at(where, row, "text")] = None
    kept = {intent: list(texts) for intent, texts in found.items() if len(texts) > 12}
    if len(kept) < 10:
        raise ModelError(
            f"{data.intents}: expected at least 10 intents of 13 texts of {data.source!r}, "
            f"found {len(kept)}; name another file"
        )
    return {intent: rng.sample(texts, 13) for intent, texts in kept.items()}


def _familiarity(
    embeddings: EmbeddingCache,
    intents: dict[str, list[str]],
    data: ExampleData,
    rng: random.Random,
) -> tuple[Vector, float]:
    """Return weights and offset of a logistic regression: a question of the table, or a request."""
    from sklearn.linear_model import LogisticRegression

    items = QuestionBook("train").items
    known = sorted({item.render(rng.choice(item.topic.forms)) for item in items})
    other = [text for texts in intents.values() for text in texts]
    known = rng.sample(known, min(len(known), data.familiar))
    other = rng.sample(other, min(len(other), data.familiar))
    rows = embeddings.encode([*known, *other])
    labels = np.r_[np.ones(len(known)), np.zeros(len(other))]
    model = LogisticRegression(C=1.0, max_iter=1000, class_weight="balanced").fit(rows, labels)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def _trained_rows(
    artifact: GateArtifact,
    encoder: Encoder,
    embeddings: EmbeddingCache,
    data: ExampleData,
    rng: random.Random,
) -> tuple[Array, Array, Array]:
    """Return inputs, labels and weights of pairs of questions that the networks know."""
    trial = build_trial(QuestionBook("tune", held_out=True), (), size=data.edits, seed=data.seed)
    places = {edit.id: at for at, edit in enumerate(trial.edits)}
    asked = rng.sample(list(trial.queries), min(len(trial.queries), data.queries))
    table = [(one.text, places.get(one.edit_id, -1)) for one in asked]
    rows = [row for _, row in json_lines(data.paragraphs) if hash_tenth(row["question"]) < 5]
    rows = rows[: data.edits]
    people = [(str(row["rephrase"]), at) for at, row in enumerate(rows)]
    gate = ScopeClassifier(encoder, replace(artifact, examples=None))
    parts = []
    for edits, queries in (
        (trial.edits, table),
        ([Fact(str(row["question"]), forget=True) for row in rows], people),
    ):
        scores = (
            embeddings.encode([text for text, _ in queries])
            @ embeddings.encode([edit.scope for edit in edits]).T
        )
        pairs = [
            (at, int(near), int(near) == right)
            for at, (_, right) in enumerate(queries)
            for near in {*np.argsort(-scores[at])[:3].tolist(), *([right] if right >= 0 else [])}
        ]
        found = gate.score_batch(
            [queries[at][0] for at, _, _ in pairs], [[edits[near]] for _, near, _ in pairs]
        )
        odds = np.clip(
            log_odds(np.array([one.probability[0] for one in found])),
            -_SHAPES.logit_clip,
            _SHAPES.logit_clip,
        )
        cosine = np.array([scores[at, near] for at, near, _ in pairs])
        labels = np.array([own for _, _, own in pairs])
        # twice as much for the table, whose near misses are the harder
        weight = (2.0 if queries is table else 1.0) / len(pairs)
        parts.append(
            (np.column_stack([odds, _nearness(cosine)]), labels, np.full(len(pairs), weight))
        )
    inputs, labels, sample = (np.concatenate(each) for each in zip(*parts, strict=True))
    return inputs, labels, sample


def _taught_rows(
    embeddings: EmbeddingCache,
    intents: dict[str, list[str]],
    data: ExampleData,
    rng: random.Random,
) -> tuple[Array, Array, Array, Array]:
    """Return cosines, numbers of examples, labels and weights of pairs.

    One example: requests of other intents, and statements about the same subject; three: requests.
    """
    encoded = [embeddings.encode(texts) for texts in intents.values()]
    found: list[tuple[float, int, bool, str]] = []
    for number in (1, 3):
        chosen = rng.sample(range(len(encoded)), min(26, len(encoded)))
        examples = np.stack([encoded[at][:number] for at in chosen])
        for place, at in enumerate(chosen):
            for query in encoded[at][3:]:
                cosines = (examples @ query).max(axis=1)
                near = {*np.argsort(-cosines)[:4].tolist(), place}
                found += [(float(cosines[n]), number, n == place, "request") for n in near]
    statements = list(_statements(data, rng))
    rows = embeddings.encode([text for triple in statements for text in triple]).reshape(
        len(statements), 3, -1
    )
    for own, reworded, other in rows:
        found.append((float(own @ reworded), 1, True, "statement"))
        found.append((float(own @ other), 1, False, "statement"))
    cosines, counts, labels = (np.array([row[at] for row in found]) for at in range(3))
    groups = [(row[1], row[3]) for row in found]
    sizes = {group: groups.count(group) for group in set(groups)}
    return cosines, counts, labels, np.array([1.0 / sizes[group] for group in groups])


def _statements(data: ExampleData, rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """Yield of a subject a statement's beginning, a rewording, and one of another relation."""
    patterns: dict[str, list[str]] = defaultdict(list)
    for where, row in json_lines(data.patterns):
        text = text_at(where, row, "pattern").rstrip(" .")
        if text.endswith("[Y]") and "[X]" in text:
            patterns[text_at(where, row, "relation")].append(text.removesuffix("[Y]").strip())
    facts = [row for _, row in json_lines(data.facts) if len(patterns[str(row["relation"])]) > 1]
    relations = sorted(name for name, some in patterns.items() if len(some) > 1)
    for row in rng.sample(facts, min(len(facts), data.queries // 2)):
        own, reworded = rng.sample(patterns[str(row["relation"])], 2)
        other = rng.choice([name for name in relations if name != row["relation"]])
        texts = (own, reworded, rng.choice(patterns[other]))
        first, second, third = (text.replace("[X]", str(row["subject"])) for text in texts)
        yield first, second, third


def _nearness(cosines: Array) -> Array:
    """Return how far cosines are beyond ``near_from``, [n]."""
    return np.maximum(-np.log(1.03 - np.minimum(cosines, 1.0)) - _SHAPES.near_from, 0.0)


def _logistic(inputs: Array, labels: Array, weights: Array) -> tuple[float, ...]:
    """Return offset and slopes of a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10.0, max_iter=3000)
    model.fit(inputs, labels, sample_weight=weights * len(weights) / weights.sum())
    return float(model.intercept_[0]), *(float(slope) for slope in model.coef_[0])


def check_separate(data: Sequence[Path]) -> None:
    """Raise for a file that is not there, before anything is loaded.

    :raises ModelError: naming the first.
    """
    for path in data:
        if not path.is_file():
            raise ModelError(f"{path}: expected a file of JSON lines, found none; name another")
