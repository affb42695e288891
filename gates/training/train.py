"""Training a gate: ``errata gate train --out DIR``.

Seeded, minutes on one core: every distinct text is encoded once. Trains on subjects of the train
split and trained phrasings, calibrates and picks the threshold on tune subjects.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.errors import ModelError
from errata.facts.table import Split
from errata.gates.artifact import GateArtifact
from errata.gates.classifier import first_stage_classes, scope_inputs
from errata.gates.cross_encoder import unwrap_transformer
from errata.gates.data.cross_encoder_pairs import PairSource, nearest_questions
from errata.gates.data.distractors import for_test, read_background
from errata.gates.data.pairs import (
    Example,
    QuestionPair,
    common_words,
    condition_examples,
    open_examples,
    open_split,
    pair_examples,
    read_open_questions,
    read_pairs,
    split_pairs,
    table_examples,
)
from errata.gates.data.questions import QuestionBook
from errata.gates.data.splits import sha256_of
from errata.gates.embedding_cache import EmbeddingCache
from errata.gates.evaluation.base_agreement import Answers
from errata.gates.features import FeatureMaker, PairFeatures
from errata.gates.layers import Platt
from errata.gates.training.calibration import fit_second_stage
from errata.gates.training.contrast import contrast_relations
from errata.gates.training.cross_encoder import CrossRun, CrossSettings, Loss
from errata.gates.training.fit import (
    LABELS,
    Labels,
    fit_logistic,
    fit_network,
    fit_platt,
    fit_relations,
    fit_trees,
)
from errata.gates.training.progress import Bar, bars
from errata.gates.training.thresholds import with_condition_threshold, with_threshold

MOST_OPEN = 1200


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a training run is made with.

    :param seed: of everything drawn.
    :param examples: pairs of the facts table trained on, at most.
    :param pair_examples: pairs of labelled question pairs trained on, at most.
    :param neighbour_rate: false hits allowed among hard neighbours, per query: the same relation
        of another subject, another relation of the same subject.
    :param changed_rate: the same for all that is near an edit and out of its scope: those, and
        questions negated, put to another time, about the answer, ….
    :param open_rate: false hits allowed among open questions, per query.
    :param asked_factor: how many times these rates they may come to where the base is asked.
    :param condition_rate: false hits allowed of topical and descriptive conditions.
    :param near: share of the threshold from which a candidate is a near miss.
    :param trial_size: facts in the cache when the threshold is picked, about which is asked.
    :param background: facts of other subjects beside them, at most.
    :param condition_rounds: how often the pairs of conditions are drawn.
    :param conditions: pairs of conditions trained on, at most.
    :param without: relations left out, to measure on what was never seen.
    :param loss: ``bce`` or ``nce``: how both stages learn to compare.
    :param cross: how the cross-encoder of the second stage is trained; None leaves it out.
    """

    seed: int = 0
    examples: int = 45_000
    pair_examples: int = 12_000
    neighbour_rate: float = 0.01
    changed_rate: float = 0.015
    open_rate: float = 0.001
    asked_factor: float = 2.5
    condition_rate: float = 0.01
    near: float = 0.5
    trial_size: int = 200
    background: int = 10_000
    condition_rounds: int = 1
    conditions: int = 40_000
    without: frozenset[str] = frozenset()
    loss: Loss = "bce"
    cross: CrossSettings | None = None


@dataclass(slots=True)
class Pairs:
    """The examples of one split, scopes and conditions apart, and its open questions."""

    scopes: list[Example] = field(default_factory=list)
    conditions: list[Example] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


def train(
    out: str | Path,
    *,
    pairs: Sequence[str | Path] = (),
    open_questions: str | Path | None = None,
    background: str | Path | None = None,
    encoder: Encoder | None = None,
    recipe: Recipe | None = None,
    start: str | Path | None = None,
    says: Answers | None = None,
    progress: bool = False,
) -> GateArtifact:
    """Train a gate and write it; the second stage, which takes long, resumes where it stopped.

    :param out: the folder it is written to.
    :param pairs: files of labelled question pairs (:func:`errata.gates.data.pairs.read_pairs`).
    :param open_questions: a file of questions out of any edit's scope.
    :param background: a file of facts (:func:`errata.gates.data.distractors.read_background`), with
        which the cache is filled while calibration and threshold are settled; its test half is
        left out.
    :param encoder: the encoder to train for; by default the packaged all-MiniLM-L6-v2.
    :param recipe: seed, sizes and rates.
    :param start: a trained gate of this encoder, whose cross-encoder is trained on.
    :param says: a base model, by whose beliefs it is settled from which probability an edit fires
        that the base agrees to; None, and no base is asked in use.
    :param progress: show progress bars.
    :raises ModelError: a file is malformed, there is nothing to tell apart, or the encoder or the
        start does not fit the recipe.
    """
    recipe = recipe or Recipe()
    started = time.monotonic()
    asked = [pair for path in pairs for pair in read_pairs(path)]
    questions = [] if open_questions is None else read_open_questions(open_questions)
    filling = [] if background is None else for_test(read_background(background), wanted=False)
    if encoder is None:
        from errata.gates.load import default_encoder

        encoder = default_encoder()
    began = _begun(encoder, recipe, start)
    learned = learned_from(pairs, began)
    memory = EmbeddingCache(encoder, None)
    splits: tuple[Split, ...] = ("train", "tune")
    data = {split: collect(split, memory, asked, questions, recipe) for split in splits}
    with bars(progress) as bar:
        stored, held_out = _fit(memory, data, recipe, bar)
    # between the bars: rich before 14.1 shows one at a time
    if recipe.cross is not None:
        run = _cross_run(memory, split_pairs(asked), data, Path(out), recipe.cross, began)
        stored = _with_second(stored, run, memory, held_out, start, progress=progress)
    with bars(progress) as bar:
        stored = with_condition_threshold(stored, memory, data["tune"].conditions, recipe)
        # a rate of one in a thousand takes more open questions than tune has
        opens = [*data["tune"].open, *data["train"].open]
        stored = with_threshold(stored, memory, opens, filling, recipe, bar, says)
    stored.card.update(trained_on(learned, data, recipe))
    stored.card.update(seconds=round(time.monotonic() - started), promised=_promised(recipe))
    stored.save(out)
    return stored


def learned_from(
    pairs: Sequence[str | Path], start: GateArtifact | None = None
) -> str | dict[str, Any]:
    """Return which labelled pairs are in a gate, for the card: their terms go with it.

    :param pairs: files of labelled question pairs.
    :param start: the gate that is trained on; what it learned from is in the new one, too.
    """
    told: dict[str, Any] = {}
    if pairs:
        files = [{"file": Path(path).name, "sha256": sha256_of(Path(path))} for path in pairs]
        told |= {"files": files, "terms": "those of the files; Quora's pairs: research use"}
    before = "none" if start is None else start.card.get("pairs", "none")
    if before != "none":
        told["start's"] = before
    return told or "none"


def trained_on(
    pairs: str | dict[str, Any], data: dict[Split, Pairs], recipe: Recipe
) -> dict[str, Any]:
    """Return what a gate was trained on, for the card.

    :param pairs: as :func:`learned_from` tells.
    """
    return {
        "pairs": pairs,
        "data": {
            split: dict(Counter(example.label for example in one.scopes))
            for split, one in data.items()
        },
        "open_questions": {split: len(one.open) for split, one in data.items()},
        "seed": recipe.seed,
    }


def _promised(recipe: Recipe) -> dict[str, Any]:
    """Return the false hits that the threshold allows, for the card."""
    return {
        "hard neighbours": recipe.neighbour_rate,
        "all near and out of scope": recipe.changed_rate,
        "open questions": recipe.open_rate,
        "times as many, the base model asked in doubt": recipe.asked_factor,
        "topical and descriptive conditions, of texts near them": recipe.condition_rate,
        "measured on": "tune subjects, per query, the most probable of its candidates",
    }


def collect(
    split: Split,
    memory: EmbeddingCache,
    asked: Sequence[QuestionPair],
    questions: Sequence[str],
    recipe: Recipe,
) -> Pairs:
    """Return the examples of a split, drawn by the recipe's seed.

    :param memory: encodes open questions, to find those near each other.
    :param asked: labelled question pairs, of every split.
    :param questions: open questions, of every split.
    """
    rng = random.Random(f"{split} {recipe.seed}")
    part = 1.0 if split == "train" else 0.25
    book = QuestionBook(split, held_out=split == "tune", without=recipe.without)
    found = Pairs(scopes=table_examples(book, rng, int(part * recipe.examples)))
    found.open = [text for text in questions if open_split(text) == split]
    mined = rng.sample(found.open, min(len(found.open), int(part * MOST_OPEN)))
    if len(mined) > 1:
        found.scopes += open_examples(mined, nearest_questions(mined, memory), rng)
    if asked:
        both = list(pair_examples(split_pairs(asked)[split]))
        found.scopes += rng.sample(both, min(len(both), int(part * recipe.pair_examples)))
    drawn = [
        example
        for _ in range(recipe.condition_rounds)
        for example in condition_examples(split, rng)
    ]
    found.conditions = rng.sample(drawn, min(len(drawn), int(part * recipe.conditions)))
    return found


_HeldOut = tuple[list[Example], PairFeatures, Labels]
"""Pairs of the tune split, their features and labels."""


def _begun(encoder: Encoder, recipe: Recipe, start: str | Path | None) -> GateArtifact | None:
    """Return the gate whose cross-encoder to train on.

    What would fail after the first stage is refused at once.

    :raises ModelError: the start has none, or it is another encoder's; the encoder has no
        transformer; the recipe has no second stage to start.
    """
    if recipe.cross is not None:
        unwrap_transformer(encoder).transformer()
    if start is None:
        return None
    if recipe.cross is None:
        raise ModelError(
            f"{start}: a gate to start from is for the cross-encoder, which is left out; give it "
            "steps, or leave the start out"
        )
    stored = GateArtifact.load(start)
    if stored.encoder != encoder.fingerprint:
        raise ModelError(
            f"{start}: expected a gate of the encoder {encoder.fingerprint} to start from, found "
            f"one of {stored.encoder}; train with that encoder, or leave the start out"
        )
    if stored.second is None:
        raise ModelError(
            f"{start}: expected a gate with a cross-encoder to start from, found one of one stage; "
            "leave the start out"
        )
    return stored


def _cross_run(
    memory: EmbeddingCache,
    pairs: dict[Split, list[QuestionPair]],
    data: dict[Split, Pairs],
    out: Path,
    settings: CrossSettings,
    began: GateArtifact | None,
) -> CrossRun:
    train, tune = (
        PairSource(split, pairs.get(split, ()), data[split].open, memory)
        for split in ("train", "tune")
    )
    second = None if began is None else began.second
    start = None if second is None else second.cross
    return CrossRun(memory, train, tune, out, settings, start)


def _with_second(
    stored: GateArtifact,
    run: CrossRun,
    memory: EmbeddingCache,
    held_out: dict[str, _HeldOut],
    start: str | Path | None,
    *,
    progress: bool,
) -> GateArtifact:
    """Train the cross-encoder, from where it stopped, and weigh it with the first stage."""
    run.resume()
    cross = run.train(progress=progress)
    stored = fit_second_stage(stored, cross, memory, held_out["scopes"], held_out["conditions"])
    stored.card["cross-encoder"] = {
        **asdict(run.settings), "steps taken": run.step, "seconds": round(run.seconds),
        "started from": None if start is None else Path(start).name,
        "history": run.curve,
    }  # fmt: skip
    return stored


def _fit(
    memory: EmbeddingCache, data: dict[Split, Pairs], recipe: Recipe, bar: Bar
) -> tuple[GateArtifact, dict[str, _HeldOut]]:
    """Return a gate of one stage whose thresholds are still to be picked, and what tuned it."""
    common = common_words()
    maker = FeatureMaker(memory.encode, common)
    made = {
        (split, part): (bar.features(maker, examples, f"{split}, {part}"), _labels(examples))
        for split, one in data.items()
        for part, examples in (("scopes", one.scopes), ("conditions", one.conditions))
    }
    found, labels = made["train", "scopes"]
    contrasted = recipe.loss == "nce"
    relations = (
        contrast_relations(found, labels, recipe.seed)
        if contrasted
        else fit_relations(found, labels)
    )
    inputs = scope_inputs(relations, found)
    scope, _ = fit_network(inputs, labels, recipe.seed)
    trees, _ = fit_trees(inputs, labels, recipe.seed)
    held, held_labels = made["train", "conditions"]
    condition, _ = fit_logistic(held.named, np.minimum(held_labels, 1), recipe.seed)
    stored = GateArtifact(
        relations=relations,
        scope=scope,
        trees=trees,
        condition=condition,
        scope_calibration=Platt(),
        condition_calibration=Platt(),
        common_words=common,
        threshold=0.5,
        condition_threshold=0.5,
        near=recipe.near,
        encoder=memory.encoder.fingerprint,
        card={},
    )
    tuned, tune_labels = made["tune", "scopes"]
    holds, hold_labels = made["tune", "conditions"]
    classes, held_by = first_stage_classes(stored, tuned), condition(holds.named)[:, 1]
    stored = replace(
        stored,
        scope_calibration=fit_platt(1.0 - classes[:, 0], tune_labels > 0),
        condition_calibration=fit_platt(held_by, hold_labels > 0),
    )
    return stored, {
        "scopes": (data["tune"].scopes, tuned, tune_labels),
        "conditions": (data["tune"].conditions, holds, hold_labels),
    }


def _labels(examples: Sequence[Example]) -> Labels:
    return np.array([LABELS.index(example.label) for example in examples], dtype=np.int64)
