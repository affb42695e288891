"""Training a gate: ``errata gate train --out DIR``.

Seeded; minutes on one core, as every distinct text is encoded once. Trains on subjects of the train
split and trained phrasings, calibrates and picks the thresholds on tune subjects.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from errata.cache.encoder import EmbeddingCache, Encoder
from errata.cache.errors import ModelError
from errata.facts.table import Split
from errata.gates.artifact import GateArtifact, read_cross, with_products
from errata.gates.cross_encoder import CrossEncoderDelta, unwrap_transformer
from errata.gates.data.cross_encoder_pairs import PAIRS_SHARE, PairSource, nearest_questions
from errata.gates.data.distractors import hash_half, read_background
from errata.gates.data.examples import LABELS
from errata.gates.data.pairs import (
    Example,
    QuestionPair,
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
from errata.gates.data.statements import read_statements, statement_examples
from errata.gates.data.trex import TrexRecords
from errata.gates.evaluation.base_agreement import AnswerBatch
from errata.gates.layers import Array, Platt
from errata.gates.training.calibration import fit_second_stage
from errata.gates.training.cards import allowed_rates, data_card, pairs_card
from errata.gates.training.cross_encoder import CrossEncoderConfig, CrossEncoderTrainer
from errata.gates.training.fit import Labels, fit_logistic, fit_platt
from errata.gates.training.progress import make_features
from errata.gates.training.thresholds import fit_condition_threshold, fit_threshold
from errata.training.progress import progress as shown_progress

SPLITS: tuple[Split, ...] = ("train", "tune")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Configuration of training.

    :param seed: of everything drawn.
    :param examples: pairs of the facts table that each stage is fitted on, at most: one split's
        for the first, the tune split's for the second. The cross-encoder draws its own.
    :param pair_examples: the same of labelled question pairs.
    :param statement_examples: the same of facts in statements and clozes.
    :param open_examples: the same of open questions, each against near ones.
    :param tune_share: share of these numbers that the tune split has.
    :param neighbour_rate: false hits allowed among hard neighbours, per query: the same relation
        of another subject, another relation of the same subject.
    :param changed_rate: the same for all queries near an edit and out of its scope: hard
        neighbours, negated questions, another time, questions about the answer, ….
    :param open_rate: false hits allowed among open questions, per query.
    :param agreement_factor: of these rates, where the base model is consulted.
    :param condition_rate: false hits allowed of topical and descriptive conditions.
    :param near: share of the threshold from which a candidate is a near miss.
    :param trial_size: facts in the cache, with queries, when the threshold is picked.
    :param background: facts of other subjects in the same cache, at most.
    :param condition_rounds: draws of the pairs of conditions.
    :param conditions: the same of conditions.
    :param pairs_share: share of labelled question pairs among those the cross-encoder reads.
    :param without: relations left out, to measure on unseen ones.
    :param cross: configuration of the cross-encoder's training; None: the start's is kept as it is,
        and without a start the gate has one stage.
    """

    seed: int = 0
    examples: int = 11_000
    pair_examples: int = 3_000
    statement_examples: int = 4_000
    open_examples: int = 300
    tune_share: float = 1.0
    neighbour_rate: float = 0.01
    changed_rate: float = 0.015
    open_rate: float = 0.001
    agreement_factor: float = 2.5
    condition_rate: float = 0.01
    near: float = 0.5
    trial_size: int = 200
    background: int = 10_000
    condition_rounds: int = 1
    conditions: int = 10_000
    pairs_share: float = PAIRS_SHARE
    without: frozenset[str] = frozenset()
    cross: CrossEncoderConfig | None = None


@dataclass(slots=True)
class SplitData:
    """The examples of one split, of scopes and of conditions, and its open questions.

    :param statements: how many of the scopes are statements and clozes.
    """

    scopes: list[Example] = field(default_factory=list)
    conditions: list[Example] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    statements: int = 0


def train(
    out: str | Path,
    *,
    pairs: Sequence[str | Path] = (),
    open_questions: str | Path | None = None,
    background: str | Path | None = None,
    patterns: str | Path | None = None,
    encoder: Encoder | None = None,
    config: TrainingConfig | None = None,
    start: str | Path | None = None,
    base_answers: AnswerBatch | None = None,
    progress: bool = False,
) -> GateArtifact:
    """Train a gate and write it; an interrupted second stage is resumed.

    :param out: folder of the gate.
    :param pairs: files of labelled question pairs (:func:`errata.gates.data.pairs.read_pairs`).
    :param open_questions: a file of questions out of any edit's scope.
    :param background: a file of facts (:func:`errata.gates.data.distractors.read_background`), with
        which the cache is filled for calibration and thresholds; its test half is left out.
    :param patterns: a file of the statements of their relations
        (:func:`errata.gates.data.trex.read_trex`); with it, facts in statements and clozes are
        trained on, of relations and subjects of the train and tune splits.
    :param encoder: the encoder to train for; by default the packaged all-MiniLM-L6-v2.
    :param config: seed, sizes and rates.
    :param start: a trained gate of this encoder, whose cross-encoder is trained further, or kept.
    :param base_answers: of a base model, to pick the threshold where it agrees; None: of none.
    :param progress: whether to show progress.
    :raises ModelError: a file is malformed, all pairs have one label, or the encoder or the start
        does not fit the config.
    """
    started, config = time.monotonic(), config or TrainingConfig()
    labelled = [pair for path in pairs for pair in read_pairs(path)]
    questions = [] if open_questions is None else read_open_questions(open_questions)
    distractors = [] if background is None else hash_half(read_background(background), test=False)
    encoder = encoder or _default_encoder()
    initial, start_card = _load_start(encoder, config, start)
    embeddings = EmbeddingCache(encoder, None)
    stated = read_statements(background, patterns, SPLITS)
    data = {
        split: draw_split(split, embeddings, labelled, questions, config, stated.get(split))
        for split in SPLITS
    }
    artifact, held_out = _fit(embeddings, data, config, progress)
    if config.cross is not None:
        both = split_pairs(labelled)
        run = _cross_encoder_trainer(embeddings, both, data, Path(out), config, initial, stated)
        artifact = _train_second_stage(artifact, run, embeddings, held_out, start, progress)
    elif initial is not None:
        artifact = fit_second_stage(artifact, initial, embeddings, **held_out, seed=config.seed)
        artifact.card["cross-encoder"] = start_card.get("cross-encoder", {})
    artifact = fit_condition_threshold(artifact, embeddings, data["tune"].conditions, config)
    # tune has too few open questions for a rate of one in a thousand
    opens = [*data["tune"].open, *data["train"].open]
    shared = embeddings, opens, distractors, config, progress, base_answers
    artifact = fit_threshold(artifact, *shared)
    artifact.card.update(data_card(pairs_card(pairs, start_card), data, config, start_card))
    artifact.card.update(seconds=round(time.monotonic() - started), promised=allowed_rates(config))
    artifact.save(out)
    return artifact


def _default_encoder() -> Encoder:
    from errata.gates.load import default_encoder

    return default_encoder()


def draw_split(
    split: Split,
    embeddings: EmbeddingCache,
    pairs: Sequence[QuestionPair],
    questions: Sequence[str],
    config: TrainingConfig,
    stated: TrexRecords | None = None,
) -> SplitData:
    """Return the examples of a split, drawn by the config's seed.

    :param embeddings: encodes open questions, to find near ones.
    :param pairs: labelled question pairs, of every split.
    :param questions: open questions, of every split.
    :param stated: facts in statements and clozes, of this split.
    """
    rng = random.Random(f"{split} {config.seed}")
    part = 1.0 if split == "train" else config.tune_share
    book = QuestionBook(split, held_out=split == "tune", without=config.without)
    found = SplitData(scopes=table_examples(book, rng, int(part * config.examples)))
    found.open = [text for text in questions if open_split(text) == split]
    mined = rng.sample(found.open, min(len(found.open), int(part * config.open_examples)))
    if len(mined) > 1:
        found.scopes += open_examples(mined, nearest_questions(mined, embeddings), rng)
    if pairs:
        both = list(pair_examples(split_pairs(pairs)[split]))
        found.scopes += rng.sample(both, min(len(both), int(part * config.pair_examples)))
    if stated is not None:
        some = statement_examples(stated, rng, int(part * config.statement_examples))
        found.scopes, found.statements = [*found.scopes, *some], len(some)
    drawn = [
        example
        for _ in range(config.condition_rounds)
        for example in condition_examples(split, rng)
    ]
    found.conditions = rng.sample(drawn, min(len(drawn), int(part * config.conditions)))
    return found


_HeldOut = tuple[list[Example], Array, Labels]
"""Pairs of the tune split, their features and labels."""


def _load_start(
    encoder: Encoder, config: TrainingConfig, start: str | Path | None
) -> tuple[CrossEncoderDelta | None, dict[str, Any]]:
    """Return the cross-encoder to start from and its card, after all checks that need no training.

    :raises ModelError: the start has no cross-encoder, or is of another encoder; the encoder has no
        transformer.
    """
    if config.cross is not None or start is not None:
        unwrap_transformer(encoder).transformer()
    if start is None:
        return None, {}
    cross, card = read_cross(Path(start))
    if card["encoder"] != encoder.fingerprint:
        raise ModelError(
            f"{start}: expected a gate of the encoder {encoder.fingerprint} to start from, found "
            f"one of {card['encoder']}; train with that encoder, or leave the start out"
        )
    if cross is None:
        raise ModelError(
            f"{start}: expected a gate with a cross-encoder to start from, found one of one stage; "
            "leave the start out"
        )
    return cross, card


def _cross_encoder_trainer(
    embeddings: EmbeddingCache,
    pairs: dict[Split, list[QuestionPair]],
    data: dict[Split, SplitData],
    out: Path,
    config: TrainingConfig,
    initial: CrossEncoderDelta | None,
    stated: Mapping[Split, TrexRecords],
) -> CrossEncoderTrainer:
    train, tune = (
        PairSource(
            split, pairs.get(split, ()), data[split].open, embeddings, stated.get(split),
            config.pairs_share,
        )
        for split in ("train", "tune")
    )  # fmt: skip
    cross = config.cross or CrossEncoderConfig()
    return CrossEncoderTrainer(embeddings, train, tune, out, cross, initial)


def _train_second_stage(
    artifact: GateArtifact,
    run: CrossEncoderTrainer,
    embeddings: EmbeddingCache,
    held_out: dict[str, _HeldOut],
    start: str | Path | None,
    progress: bool,
) -> GateArtifact:
    """Train the cross-encoder, resuming an interrupted run, and combine it with the first stage."""
    run.resume()
    cross = run.train(progress=progress)
    artifact = fit_second_stage(artifact, cross, embeddings, **held_out, seed=run.config.seed)
    artifact.card["cross-encoder"] = {
        **asdict(run.config), "steps taken": run.step, "seconds": round(run.seconds),
        "started from": None if start is None else Path(start).name,
        "history": run.curve,
    }  # fmt: skip
    return artifact


def _fit(
    embeddings: EmbeddingCache, data: dict[Split, SplitData], config: TrainingConfig, shown: bool
) -> tuple[GateArtifact, dict[str, _HeldOut]]:
    """Return a gate of one stage, its thresholds not picked yet, and the tune pairs."""
    made = {
        (split, part): (
            make_features(embeddings, examples, f"features of {split} {part}", shown=shown),
            _labels(examples),
        )
        for split, one in data.items()
        for part, examples in (("scopes", one.scopes), ("conditions", one.conditions))
    }
    found, labels = made["train", "scopes"]
    conditions, condition_labels = made["train", "conditions"]
    with shown_progress("fitting the first stage", 2, shown=shown) as update:
        scope = fit_logistic(with_products(found), labels, config.seed)
        update(1)
        holds = np.minimum(condition_labels, 1)
        condition = fit_logistic(conditions, holds, config.seed)
    artifact = GateArtifact(
        scope=scope,
        condition=condition,
        scope_calibration=Platt(),
        condition_calibration=Platt(),
        threshold=0.5,
        condition_threshold=0.5,
        claim_threshold=0.5,
        near=config.near,
        encoder=embeddings.encoder.fingerprint,
        card={},
    )
    tuned, tune_labels = made["tune", "scopes"]
    held_out, held_out_labels = made["tune", "conditions"]
    governs = 1.0 - scope(with_products(tuned))[:, 0]
    artifact = replace(
        artifact,
        scope_calibration=fit_platt(governs, tune_labels > 0),
        condition_calibration=fit_platt(condition(held_out)[:, 1], held_out_labels > 0),
    )
    return artifact, {
        "scopes": (data["tune"].scopes, tuned, tune_labels),
        "conditions": (data["tune"].conditions, held_out, held_out_labels),
    }


def _labels(examples: Sequence[Example]) -> Labels:
    return np.array([LABELS.index(example.label) for example in examples], dtype=np.int64)
