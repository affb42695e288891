"""Fitting how likely a topic or a claim holds, from the trained score and its examples."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace

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
from errata.gates.training.example_groups import ExampleData, near_pairs
from errata.gates.training.fit import least_threshold, logistic_loss

CONSEQUENCE = 'say "yes"'
PENALTY = 1e-5
"""Of the squared slopes: hardly any, to keep them finite."""


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
    """Return the gate with its probability that topics and claims hold, and their thresholds.

    Topics on the intents of requests, which people wrote, and claims of the tune split of the
    gate's own conditions; each without examples and with up to three. Its own topics, made by
    templates, are measured only: fitted on these, too, a topic of people's requests held a fifth
    less often.

    :param gate: scores pairs with the trained networks.
    :param embeddings: to find the conditions that are nearest to a query.
    :param requests: texts by intent (:func:`~errata.gates.training.example_groups.read_requests`).
    :param out_of_scope: texts of no intent.
    :param said: called with what is being done.
    :raises ModelError: a sort of conditions has no pairs.
    """
    fitted_on: dict[str, dict[str, _Rows]] = {"topic": {}, "claim": {}}
    beside: dict[str, _Rows] = {}
    for number in range(data.most_examples + 1):
        said(f"conditions, examples: {number}")
        end = f", examples: {number}"
        by_intent = _by_intent(data, embeddings, requests, out_of_scope, number)
        fitted_on["topic"][f"topics of requests{end}"] = _rows(gate, by_intent)
        fitted_on["claim"][f"claims of the table{end}"] = _rows(gate, _own(data, "claim", number))
        beside[f"topics of the table, measured only{end}"] = _rows(
            gate, _own(data, "topic", number)
        )
    slopes = {kind: _fit(rows) for kind, rows in fitted_on.items()}
    rates = {"topic": data.topic_rate, "claim": data.claim_rate}
    thresholds = {
        kind: least_threshold([_scored(slopes[kind], one)[~one.holds] for one in rows.values()],
                              rates[kind])
        for kind, rows in fitted_on.items()
    }  # fmt: skip
    report = {}
    for kind, rows in (*fitted_on.items(), ("topic", beside)):
        for name, one in rows.items():
            fires = _scored(slopes[kind], one) >= thresholds[kind]
            report[name] = {"n": len(fires), "held": round(float(fires[one.holds].mean()), 4),
                            "false": round(float(fires[~one.holds].mean()), 4)}  # fmt: skip
    return replace(
        artifact,
        card={**artifact.card, "conditions": {"rates": rates, "pairs": report}},
        conditions=ConditionCalibration(**slopes),
        condition_threshold=thresholds["topic"],
        claim_threshold=thresholds["claim"],
    )


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
    return [
        (queries[row][0], patches[at], at == queries[row][1])
        for row, at in near_pairs(embeddings, taught, queries, data.near)
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
    """Return the slopes of a logistic regression; each sort of pairs weighs the same.

    Those of cosines and of the trained score are not negative: nearer is never less likely.
    """
    from scipy.optimize import minimize

    inputs = np.concatenate([one.inputs for one in rows.values()])
    holds = np.concatenate([one.holds for one in rows.values()])
    weights = np.concatenate([np.full(len(one.holds), 1 / len(one.holds))
                              for one in rows.values()]) / len(rows)  # fmt: skip
    names = [field.name for field in fields(ConditionSlopes)]
    bounds = [(None, None) if name in ("offset", "more") else (0.0, None) for name in names]
    fitted = minimize(
        logistic_loss, np.zeros(len(names)), (inputs, holds, weights, PENALTY), jac=True,
        method="L-BFGS-B", bounds=bounds,
    )  # fmt: skip
    return ConditionSlopes(*fitted.x.tolist())


def _scored(slopes: ConditionSlopes, rows: _Rows) -> Array:
    """Return the probability of each pair."""
    odds = rows.inputs @ np.array(astuple(slopes))
    return np.asarray(1.0 / (1.0 + np.exp(-odds)), dtype=np.float64)
