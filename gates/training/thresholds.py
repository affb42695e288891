"""Thresholds of a gate, calibrated and picked on tune subjects."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from errata.cache.encoder import EmbeddingCache
from errata.cache.records import Fact, LanguagePatch
from errata.gates.artifact import GateArtifact
from errata.gates.calibration import NegativeScores
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.distractors import unrelated_facts
from errata.gates.data.examples import Example
from errata.gates.data.questions import QuestionBook
from errata.gates.evaluation.base_agreement import AnswerBatch, BaseAgreement
from errata.gates.evaluation.trials import Outcome, TrialQuery, build_trial
from errata.gates.training.fit import fit_platt, pick_threshold
from errata.gates.training.progress import run_shown_trial

if TYPE_CHECKING:
    from errata.gates.training.train import TrainingConfig

MIN_AGREEMENT_THRESHOLD = 0.1
"""Lowest threshold where the base model agrees: agreement alone must not make an edit fire."""


def fit_condition_threshold(
    artifact: GateArtifact,
    embeddings: EmbeddingCache,
    examples: Sequence[Example],
    config: TrainingConfig,
) -> GateArtifact:
    """Return the gate with the threshold of topical and descriptive conditions."""
    gate = ScopeClassifier(embeddings, artifact, threshold=0.5)
    scores = gate.score_batch(
        [one.query for one in examples],
        [[LanguagePatch(one.scope.text, "say so")] for one in examples],
    )
    held = np.array([float(one.probability[0]) for one in scores])
    holds = np.array([one.label != "none" for one in examples])
    threshold = pick_threshold(list(held[~holds]), config.condition_rate)
    artifact.card["conditions"] = {
        "held": rate_json(list(held[holds] >= threshold)),
        "not held": rate_json(list(held[~holds] >= threshold)),
    }
    return replace(artifact, condition_threshold=threshold, claim_threshold=threshold)


def fit_threshold(
    artifact: GateArtifact,
    embeddings: EmbeddingCache,
    questions: list[str],
    background: Sequence[Fact],
    config: TrainingConfig,
    shown: bool,
    base_answers: AnswerBatch | None,
) -> GateArtifact:
    """Return the gate calibrated and with its thresholds, per query, on tune subjects.

    :param questions: open questions.
    :param background: facts of other subjects, of which some fill the cache.
    :param shown: whether progress is shown.
    :param base_answers: of a base model, for the threshold where it agrees.
    """
    book = QuestionBook("tune", held_out=True, without=config.without)
    trial = build_trial(book, questions, size=config.trial_size, seed=config.seed)
    free = list(unrelated_facts(background, [query.text for query in trial.queries]))
    filling = random.Random(config.seed).sample(free, min(config.background, len(free)))
    trial = replace(trial, edits=(*trial.edits, *filling))
    artifact.card["facts in the cache"] = len(trial.edits)
    gate = ScopeClassifier(embeddings, artifact, threshold=0.5)
    # lower than in use: the calibration that follows may raise probabilities
    least = MIN_AGREEMENT_THRESHOLD / 4
    base = None if base_answers is None else BaseAgreement(base_answers, least)
    outcomes = run_shown_trial(gate, embeddings, trial, base, shown=shown)
    artifact, outcomes = _calibrate(artifact, outcomes)
    out = [one for one in outcomes if one.query.label == "none"]
    threshold = _lowest_threshold(out, config, lambda one: one.probability)
    artifact.card["beside"] = NegativeScores.of(
        [one.probability for one in out if one.query.kind != "open question"]
    ).as_json()
    artifact.card["tune"] = _rates(outcomes, lambda one: one.probability >= threshold)
    fired = [one for one in outcomes if one.query.label != "none" and one.probability >= threshold]
    artifact.card["tune"]["entailed told from paraphrase"] = rate_json(
        [one.entailed == (one.query.label == "entailed") for one in fired]
    )
    if base_answers is None:
        return replace(artifact, threshold=threshold)
    more = config.agreement_factor
    with_base = replace(
        config,
        neighbour_rate=more * config.neighbour_rate,
        changed_rate=more * config.changed_rate,
        open_rate=more * config.open_rate,
    )

    def score(one: Outcome) -> float:
        return 1.0 if one.probability >= threshold else one.agreement

    lowest = _lowest_threshold(out, with_base, score, least=MIN_AGREEMENT_THRESHOLD)
    agreement_threshold = min(lowest, threshold)
    artifact.card["tune, the base model asked in doubt"] = _rates(
        outcomes, lambda one: one.probability >= threshold or one.agreement >= agreement_threshold
    )
    return replace(artifact, threshold=threshold, agreement_threshold=agreement_threshold)


def _calibrate(
    artifact: GateArtifact, outcomes: Sequence[Outcome]
) -> tuple[GateArtifact, list[Outcome]]:
    """Return the gate calibrated on the likeliest candidate of each query, and the new outcomes.

    The likeliest of many candidates is wrong more often than a random one. Candidates that the
    second stage does not read, and exact matches, keep their probability.
    """
    band = 0.0 if artifact.second is None else artifact.second.rerank_threshold
    scores = np.array([one.probability for one in outcomes])
    truths = np.array([one.correct for one in outcomes], dtype=bool)
    read = (scores > band) & (scores < 1.0)
    after = fit_platt(scores[read], truths[read])

    def recalibrated(p: float) -> float:
        return float(after(np.array([p]))[0]) if band < p < 1.0 else p

    changed = [
        replace(
            one,
            probability=recalibrated(one.probability),
            agreement=recalibrated(one.agreement),
        )
        for one in outcomes
    ]
    return replace(artifact, scope_calibration=artifact.scope_calibration.then(after)), changed


def _rates(outcomes: Sequence[Outcome], hits: Callable[[Outcome], bool]) -> dict[str, Any]:
    """Return the share of each kind of query that hits, for the card."""
    kinds: dict[str, Callable[[TrialQuery], bool]] = {
        "paraphrase hit": lambda query: query.label == "paraphrase",
        "hard neighbours hit": lambda query: query.kind.startswith("other "),
        "all near and out of scope hit": lambda query: query.label == "none" and _is_near(query),
        "open questions hit": lambda query: not _is_near(query),
    }
    return {
        name: rate_json([hits(one) for one in outcomes if wanted(one.query)])
        for name, wanted in kinds.items()
    }


def _is_near(query: TrialQuery) -> bool:
    return query.kind != "open question"


def _lowest_threshold(
    out: Sequence[Outcome],
    config: TrainingConfig,
    probability: Callable[[Outcome], float],
    least: float = 0.5,
) -> float:
    """Return the lowest threshold that keeps to the config's rates of false hits.

    :param out: queries that no edit governs.
    :param probability: score of a query, compared with the threshold.
    :param least: lower bound of the threshold.
    """
    open_questions = [probability(one) for one in out if not _is_near(one.query)]
    near = [probability(one) for one in out if _is_near(one.query)]
    hard = [probability(one) for one in out if one.query.kind.startswith("other ")]
    return max(
        pick_threshold(hard, config.neighbour_rate, least=least),
        pick_threshold(near, config.changed_rate, least=least),
        pick_threshold(open_questions, config.open_rate, least=least),
    )


def rate_json(truths: Sequence[bool]) -> dict[str, float]:
    """Return n and the share of true values, for a card."""
    return {"n": len(truths), "rate": round(float(np.mean(truths)), 4) if truths else 0.0}
