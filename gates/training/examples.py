"""Fitting how the trained score and the nearest examples are combined; no network is trained."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.encoder import EmbeddingCache, Encoder
from errata.cache.errors import ModelError
from errata.cache.records import Vector
from errata.gates.artifact import GateArtifact
from errata.gates.calibration import NegativeScores
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.questions import QuestionBook
from errata.gates.data.splits import sha256_of
from errata.gates.examples import SLOPES, Evidence, ExampleCalibration, ExampleConfig
from errata.gates.layers import Array
from errata.gates.training.condition_examples import fit_conditions
from errata.gates.training.example_groups import (
    ExampleData,
    Group,
    example_groups,
    near_pairs,
    read_requests,
)
from errata.gates.training.fit import least_threshold, logistic_loss
from errata.gates.wording import Wording

Said = Callable[[str], object]
FACTUAL = ("the facts table", "paragraphs", "statements", "questions")
"""Sorts of edits that ask for a fact about a named thing."""
UNFITTED = ExampleConfig(**dict.fromkeys(SLOPES, 0.0))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Pairs of a query and an edit.

    :param inputs: float64 [n, slopes].
    :param labels: whether the edit governs the query, bool [n].
    :param queries: the place of the query, [n].
    :param near: whether each query is paired with the edits that are nearest to it.
    """

    inputs: Array
    labels: NDArray[np.bool_]
    queries: NDArray[np.intp]
    near: bool

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
    unknown = sorted({*data.without} - {*SLOPES})
    if unknown:
        raise ModelError(
            f"expected inputs to leave out, some of {', '.join(SLOPES)}, found {unknown[0]!r}; "
            "name one of these"
        )
    embeddings = EmbeddingCache(encoder, None)
    requests, out_of_scope = read_requests(data)
    groups = example_groups(data, requests, out_of_scope)
    said("familiarity")
    weights, offsets = _sorts_of_edits(embeddings, requests, groups, data)
    # any slope but 0 has the networks read what a query for a fact is held against
    reads = bool(artifact.card.get("statements"))
    config = replace(UNFITTED, factual_trained=float(reads))
    unfitted = ExampleCalibration(weights, offsets, config)
    gate = ScopeClassifier(encoder, replace(artifact, examples=unfitted, conditions=None))
    rows: dict[str, _Rows] = {}
    for name, group in groups.items():
        said(name)
        rows[name] = _rows(group, gate, embeddings, unfitted)
    # a repetition of a statement is no sign of a fact where the networks cannot object
    unused = data.without if reads else (*data.without, "factual_trained", "factual_repeated")
    slopes = _logistic(list(rows.values()), data.picked_weight, unused)
    config = replace(UNFITTED, **dict(zip(SLOPES, slopes.tolist(), strict=True)))
    fitted = replace(unfitted, config=config)
    scored = {name: _sigmoid(one.inputs @ np.array(slopes)) for name, one in rows.items()}
    artifact = _with_thresholds(replace(artifact, examples=fitted), rows, scored, data)
    return fit_conditions(artifact, gate, embeddings, data, requests, out_of_scope, said)


def _with_thresholds(
    artifact: GateArtifact,
    rows: Mapping[str, _Rows],
    scored: Mapping[str, Array],
    data: ExampleData,
) -> GateArtifact:
    """Return the gate with its thresholds and card.

    :param scored: the probabilities of the rows.
    """
    negatives = [scored[name][~one.labels] for name, one in rows.items() if one.near]
    thresholds = []
    for rate in (data.false_rate, data.agreement_factor * data.false_rate):
        thresholds.append(least_threshold(negatives, rate))
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


def _sorts_of_edits(
    embeddings: EmbeddingCache,
    requests: Mapping[str, Sequence[str]],
    groups: Mapping[str, Group],
    data: ExampleData,
) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Return weights [2, d] and offsets of two logistic regressions on encodings.

    Questions of the table against requests and statements, in equal parts; and questions and
    statements about named things against requests.
    """
    rng = random.Random(f"{data.seed}/familiarity")
    items = QuestionBook("train").items
    known = sorted({item.render(rng.choice(item.topic.forms)) for item in items})
    known = rng.sample(known, min(len(known), data.familiar))
    asked = sorted({text for texts in requests.values() for text in texts})
    statements = groups["statements"]
    said = sorted({edit.scope for edit in statements.edits}.union(
        text for text, _, _ in statements.queries if not text.endswith("?")))  # fmt: skip
    others = [text for texts in (asked, said)
              for text in rng.sample(texts, min(len(texts), data.familiar // 2))]  # fmt: skip
    facts = sorted({edit.scope for name in FACTUAL for edit in groups[name].edits})
    asked = rng.sample(asked, min(len(asked), data.familiar))
    fitted = [_separate(embeddings, *texts) for texts in ((known, others), (facts, asked))]
    return np.stack([weights for weights, _ in fitted]), (fitted[0][1], fitted[1][1])


def _separate(
    embeddings: EmbeddingCache, some: Sequence[str], others: Sequence[str]
) -> tuple[Vector, float]:
    """Return weights and offset of a logistic regression that tells texts from others."""
    from sklearn.linear_model import LogisticRegression

    rows = embeddings.encode([*some, *others])
    labels = np.r_[np.ones(len(some)), np.zeros(len(others))]
    model = LogisticRegression(C=1.0, max_iter=1000, class_weight="balanced").fit(rows, labels)
    return model.coef_[0].astype(np.float32), float(model.intercept_[0])


def _rows(
    group: Group,
    gate: ScopeClassifier,
    embeddings: EmbeddingCache,
    calibration: ExampleCalibration,
) -> _Rows:
    """Return pairs of a query and an edit."""
    examples = [edit.examples for edit in group.edits]
    asked = [(text, about) for text, about, _ in group.queries]
    pairs = near_pairs(embeddings, examples, asked, group.near)
    found = gate.evidence([asked[at][0] for at, _ in pairs], [[group.edits[e]] for _, e in pairs])
    kept = [(at, edit, known) for (at, edit), (known,) in zip(pairs, found, strict=True)
            if isinstance(known, Evidence)]  # fmt: skip
    governs = [group.queries[at][2] and edit == asked[at][1] for at, edit, _ in kept]
    return _Rows(
        np.array([calibration.inputs(known) for _, _, known in kept]),
        np.array(governs, dtype=bool),
        np.array([at for at, _, _ in kept]),
        bool(group.near),
    )


def _logistic(
    rows: Sequence[_Rows], picked_weight: float, unused: Sequence[str] = (), penalty: float = 0.1
) -> Array:
    """Return the slopes of a logistic regression; the offset is among its inputs.

    They are bound so that the probability never falls as the cosine rises, all else equal: without
    that, pairs that were picked for sharing words turn the order of edits that all share them.

    :param unused: slopes that stay 0.
    :param penalty: of the squared slopes.
    """
    from scipy.optimize import LinearConstraint, minimize

    inputs, labels = (np.concatenate(each) for each in zip(
        *((one.inputs, one.labels) for one in rows), strict=True))  # fmt: skip
    weights = np.concatenate([
        np.full(len(one.labels), (1.0 if one.near else picked_weight) / len(one.labels))
        for one in rows
    ])  # fmt: skip
    weights /= weights.sum()
    penalty /= len(weights)

    bounds = [(0.0, 0.0) if name in unused else (None, None) for name in SLOPES]
    rising = LinearConstraint(_rises(), lb=0.0)
    fitted = minimize(
        logistic_loss, np.zeros(inputs.shape[1]), (inputs, labels, weights, penalty), jac=True,
        method="SLSQP", constraints=[rising], bounds=bounds,
        options={"maxiter": 3000, "ftol": 1e-10},
    )  # fmt: skip
    if not fitted.success:
        raise ModelError(
            f"expected slopes of trained score and examples, found: {fitted.message}; name files "
            "with more pairs"
        )
    return np.asarray(fitted.x, dtype=np.float64)


def _rises() -> Array:
    """Return what the inputs gain where only the cosine rises, [cases, slopes]."""
    unfitted = ExampleCalibration(np.zeros((2, 1), np.float32), (0.0, 0.0), UNFITTED)
    at = [0.0, UNFITTED.high_from, 1.03 - math.exp(-UNFITTED.near_from), 0.98, 1.0]
    return np.array([
        np.subtract(unfitted.inputs(replace(case, cosine=to)), unfitted.inputs(case))
        for share, factual, overlap, number, (start, to) in product(
            (0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (1, UNFITTED.most_examples), pairwise(at))
        for case in (Evidence(share, 0.5, start, number, factual, Wording(overlap)),)
    ])  # fmt: skip


def _sigmoid(odds: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)), dtype=np.float64)
