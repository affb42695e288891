"""Fitting how likely a topic or a claim holds, from the trained score and its examples."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.encoder import EmbeddingCache
from errata.cache.errors import ModelError
from errata.cache.records import LanguagePatch, PatchTests
from errata.gates.artifact import GateArtifact
from errata.gates.classifier import ScopeClassifier
from errata.gates.condition_calibration import (
    ConditionCalibration,
    ConditionEvidence,
    ConditionSlopes,
)
from errata.gates.data.conditions import condition_examples
from errata.gates.layers import Array
from errata.gates.training.example_groups import ExampleData

CONSEQUENCE = 'say "yes"'
PENALTY = 0.1
"""Inverse of scikit-learn's C: hardly any, to keep slopes finite."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Pairs of a query and a condition.

    :param inputs: of :meth:`ConditionEvidence.inputs`, float64 [n, 6].
    :param holds: whether the condition holds, bool [n].
    """

    inputs: Array
    holds: NDArray[np.bool_]


def fit_conditions(
    artifact: GateArtifact,
    gate: ScopeClassifier,
    embeddings: EmbeddingCache,
    data: ExampleData,
    requests: Mapping[str, Sequence[str]],
    out_of_scope: Sequence[str],
    said: Callable[[str], object] = lambda text: None,
) -> GateArtifact:
    """Return the gate with its probability that topics and claims hold, and their threshold.

    Topics on the intents of requests, which people wrote, and topics and claims of the tune split
    of the gate's own conditions; each without examples and with up to three.

    :param gate: scores pairs with the trained networks.
    :param embeddings: to find the conditions that are nearest to a query.
    :param requests: texts by intent (:func:`~errata.gates.training.example_groups.read_requests`).
    :param out_of_scope: texts of no intent.
    :param said: called with what is being done.
    :raises ModelError: a sort of conditions has no pairs.
    """
    topics: dict[str, _Rows] = {}
    claims: dict[str, _Rows] = {}
    for number in range(data.most_examples + 1):
        said(f"conditions, examples: {number}")
        by_intent = _by_intent(data, embeddings, requests, out_of_scope, number)
        topics[f"topics of requests, examples: {number}"] = _rows(gate, by_intent)
        for kind, found in (("topic", topics), ("claim", claims)):
            some = _rows(gate, _own(data, kind, number))
            found[f"{kind}s of the table, examples: {number}"] = some
    fitted = ConditionCalibration(_fit(topics), _fit(claims))
    scored = {
        name: np.array([_probability(slopes, row) for row in one.inputs])
        for some, slopes in ((topics, fitted.topic), (claims, fitted.claim))
        for name, one in some.items()
    }
    rows = topics | claims
    least = np.linspace(0.01, 0.99, 981)
    shares = np.mean(
        [[(scored[name][~one.holds] >= at).mean() for at in least] for name, one in rows.items()],
        axis=0,
    )
    threshold = float(least[int(np.argmax(shares <= data.condition_rate))])
    card: dict[str, Any] = {**artifact.card, "conditions": {
        "rate": data.condition_rate,
        "pairs": {
            name: {
                "n": len(one.holds),
                "held": round(float((scored[name][one.holds] >= threshold).mean()), 4),
                "false": round(float((scored[name][~one.holds] >= threshold).mean()), 4),
            }
            for name, one in rows.items()
        },
    }}  # fmt: skip
    return replace(artifact, card=card, conditions=fitted, condition_threshold=threshold)


def _by_intent(
    data: ExampleData,
    embeddings: EmbeddingCache,
    requests: Mapping[str, Sequence[str]],
    out_of_scope: Sequence[str],
    number: int,
) -> list[tuple[str, LanguagePatch, bool]]:
    """Return texts, conditions on the intents nearest to them, and whether these hold."""
    rng = random.Random(f"{data.seed}/conditions")
    patches, queries = [], []
    for at, (intent, texts) in enumerate(requests.items()):
        some = rng.sample(texts, data.most_examples + data.per_intent)
        tests = PatchTests(tuple(some[:number]))
        patches.append(LanguagePatch(f"the user asks about {intent}", CONSEQUENCE, tests=tests))
        queries += [(text, at) for text in some[data.most_examples :]]
    queries += [(text, -1) for text in out_of_scope]
    taught = [(intent, *patch.examples) for intent, patch in zip(requests, patches, strict=True)]
    starts = np.cumsum([0, *map(len, taught)])[:-1]
    known = embeddings.encode([text for some in taught for text in some])
    asked = embeddings.encode([text for text, _ in queries])
    cosines = np.maximum.reduceat(asked @ known.T, starts, axis=1)
    return [
        (text, patches[at], at == right)
        for row, (text, right) in enumerate(queries)
        for at in {*np.argsort(-cosines[row])[: data.near].tolist(), *({right} - {-1})}
    ]


def _own(data: ExampleData, kind: str, number: int) -> list[tuple[str, LanguagePatch, bool]]:
    """Return texts, conditions of one kind of the tune split, and whether these hold."""
    rng = random.Random(f"{data.seed}/own conditions")
    by_text: dict[str, list[tuple[str, bool]]] = {}
    for example in condition_examples("tune", rng):
        if example.kind.startswith(kind):
            some = by_text.setdefault(example.scope.text, [])
            some.append((example.query, example.label != "none"))
    found = []
    for text, pairs in by_text.items():
        told = [query for query, holds in pairs if holds]
        examples = rng.sample(told, min(len(told) - 1, number)) if len(told) > 1 else []
        condition = f"the user asks about {text}" if kind == "topic" else text
        patch = LanguagePatch(condition, CONSEQUENCE, tests=PatchTests(tuple(examples)))
        found += [(query, patch, holds) for query, holds in pairs if query not in examples]
    return found


def _rows(gate: ScopeClassifier, pairs: Sequence[tuple[str, LanguagePatch, bool]]) -> _Rows:
    evidence = gate.evidence([text for text, _, _ in pairs], [[patch] for _, patch, _ in pairs])
    kept = [(known.inputs(), holds) for (_, _, holds), (known,) in zip(pairs, evidence, strict=True)
            if isinstance(known, ConditionEvidence)]  # fmt: skip
    holds = np.array([one for _, one in kept], dtype=bool)
    if holds.all() or not holds.any():
        raise ModelError(
            f"expected pairs of conditions that hold and that do not, found {len(kept)} of one "
            "sort; name files with more intents"
        )
    return _Rows(np.array([inputs for inputs, _ in kept]), holds)


def _fit(rows: Mapping[str, _Rows]) -> ConditionSlopes:
    """Return the slopes of a logistic regression; each sort of pairs weighs the same."""
    from sklearn.linear_model import LogisticRegression

    inputs = np.concatenate([one.inputs for one in rows.values()])
    holds = np.concatenate([one.holds for one in rows.values()])
    weights = np.concatenate([np.full(len(one.holds), 1000 / len(one.holds))
                              for one in rows.values()])  # fmt: skip
    model = LogisticRegression(C=1 / PENALTY, fit_intercept=False, max_iter=5000)
    return ConditionSlopes(*model.fit(inputs, holds, weights).coef_[0].tolist())


def _probability(slopes: ConditionSlopes, inputs: Array) -> float:
    from dataclasses import astuple

    return float(1.0 / (1.0 + np.exp(-np.dot(astuple(slopes), inputs))))
