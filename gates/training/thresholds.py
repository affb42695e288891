"""From which probabilities edits fire: settled on tune subjects."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from errata.cache.records import Fact, LanguagePatch
from errata.gates.artifact import GateArtifact
from errata.gates.calibration import NegativeScores
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.distractors import beside
from errata.gates.data.examples import Example
from errata.gates.data.questions import QuestionBook
from errata.gates.embedding_cache import EmbeddingCache
from errata.gates.evaluation.base_agreement import Answers, BaseAgreement
from errata.gates.evaluation.trials import Outcome, TrialQuery, build_trial
from errata.gates.training.fit import fit_platt, pick_threshold
from errata.gates.training.progress import Bar

if TYPE_CHECKING:
    from errata.gates.training.train import Recipe

LEAST_AGREEING = 0.1
"""The threshold where the base model agrees never falls below this: that it says the same of two
things must not be all that speaks for an edit."""


def with_condition_threshold(
    stored: GateArtifact, memory: EmbeddingCache, examples: Sequence[Example], recipe: Recipe
) -> GateArtifact:
    """Pick the threshold of conditions that are topics or claims."""
    gate = ScopeClassifier(memory, stored, threshold=0.5)
    said = gate.score_batch(
        [one.query for one in examples],
        [[LanguagePatch(one.scope.text, "say so")] for one in examples],
    )
    held = np.array([float(one.probability[0]) for one in said])
    holds = np.array([one.label != "none" for one in examples])
    threshold = pick_threshold(list(held[~holds]), recipe.condition_rate)
    stored.card["conditions"] = {
        "held": share(list(held[holds] >= threshold)),
        "not held": share(list(held[~holds] >= threshold)),
    }
    return replace(stored, condition_threshold=threshold)


def with_threshold(
    stored: GateArtifact,
    memory: EmbeddingCache,
    questions: list[str],
    background: Sequence[Fact],
    recipe: Recipe,
    bar: Bar,
    says: Answers | None,
) -> GateArtifact:
    """Calibrate and pick the threshold on tune subjects, per query, with facts in force.

    :param background: facts of other subjects, of which some fill the cache.
    """
    book = QuestionBook("tune", held_out=True, without=recipe.without)
    trial = build_trial(book, questions, size=recipe.trial_size, seed=recipe.seed)
    free = list(beside(background, [query.text for query in trial.queries]))
    filling = random.Random(recipe.seed).sample(free, min(recipe.background, len(free)))
    trial = replace(trial, edits=(*trial.edits, *filling))
    stored.card["facts in the cache"] = len(trial.edits)
    gate = ScopeClassifier(memory, stored, threshold=0.5)
    # asked more often than in use, where the calibration that follows may raise what is in doubt
    outcomes = bar.trial(
        gate, memory, trial, None if says is None else BaseAgreement(says, LEAST_AGREEING / 4)
    )
    stored, outcomes = _calibrated(stored, outcomes)
    out = [one for one in outcomes if one.query.label == "none"]
    threshold = _lowest(out, recipe, lambda one: one.probability)
    stored.card["negative_scores"] = NegativeScores.of(
        [one.probability for one in out if one.query.kind != "open question"]
    ).as_json()
    stored.card["tune"] = _rates(outcomes, lambda one: one.probability >= threshold)
    told = [one for one in outcomes if one.query.label != "none" and one.probability >= threshold]
    stored.card["tune"]["follows told from same"] = share(
        [one.follows == (one.query.label == "follows") for one in told]
    )
    if says is None:
        return replace(stored, threshold=threshold)
    more = recipe.asked_factor
    asked = replace(
        recipe,
        neighbour_rate=more * recipe.neighbour_rate,
        changed_rate=more * recipe.changed_rate,
        open_rate=more * recipe.open_rate,
    )

    def firing(one: Outcome) -> float:
        return 1.0 if one.probability >= threshold else one.agreed

    agreeing = min(_lowest(out, asked, firing, least=LEAST_AGREEING), threshold)
    stored.card["tune, the base model asked in doubt"] = _rates(
        outcomes, lambda one: one.probability >= threshold or one.agreed >= agreeing
    )
    return replace(stored, threshold=threshold, agreement_threshold=agreeing)


def _calibrated(
    stored: GateArtifact, outcomes: Sequence[Outcome]
) -> tuple[GateArtifact, list[Outcome]]:
    """Return the gate calibrated on the likeliest candidates of queries, and what it says now.

    Of many candidates the likeliest is wrong more often than one that is drawn. What the second
    stage does not read, and what has the same characters, is never calibrated.
    """
    band = 0.0 if stored.second is None else stored.second.rerank_threshold
    told = np.array([one.probability for one in outcomes])
    right = np.array([one.right for one in outcomes], dtype=bool)
    read = (told > band) & (told < 1.0)
    after = fit_platt(told[read], right[read])

    def now(p: float) -> float:
        return float(after(np.array([p]))[0]) if band < p < 1.0 else p

    changed = [replace(o, probability=now(o.probability), agreed=now(o.agreed)) for o in outcomes]
    return replace(stored, scope_calibration=stored.scope_calibration.then(after)), changed


def _rates(outcomes: Sequence[Outcome], hits: Callable[[Outcome], bool]) -> dict[str, Any]:
    """Return how many of each sort of query hit, for the card."""
    sorts: dict[str, Callable[[TrialQuery], bool]] = {
        "same hit": lambda query: query.label == "same",
        "hard neighbours hit": lambda query: query.kind.startswith("other "),
        "all near and out of scope hit": lambda query: query.label == "none" and _near(query),
        "open questions hit": lambda query: not _near(query),
    }
    return {
        name: share([hits(one) for one in outcomes if wanted(one.query)])
        for name, wanted in sorts.items()
    }


def _near(query: TrialQuery) -> bool:
    return query.kind != "open question"


def _lowest(
    out: Sequence[Outcome],
    recipe: Recipe,
    probability: Callable[[Outcome], float],
    least: float = 0.5,
) -> float:
    """Return the lowest threshold that keeps to the recipe's rates of false hits.

    :param out: queries that no edit governs.
    :param probability: of each, what is held against the threshold.
    :param least: it never falls below this.
    """
    far = [probability(one) for one in out if not _near(one.query)]
    beside = [probability(one) for one in out if _near(one.query)]
    hard = [probability(one) for one in out if one.query.kind.startswith("other ")]
    return max(
        pick_threshold(hard, recipe.neighbour_rate, least=least),
        pick_threshold(beside, recipe.changed_rate, least=least),
        pick_threshold(far, recipe.open_rate, least=least),
    )


def share(truths: Sequence[bool]) -> dict[str, float]:
    """Return how many of n are true, for a card."""
    return {"n": len(truths), "rate": round(float(np.mean(truths)), 4) if truths else 0.0}
