"""Suites of labelled pairs: question pairs, patients' questions, near misses."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from errata.cache.records import Edit
from errata.cache.text.normalize import normalize_query
from errata.gates.data.outside import OutsideData
from errata.gates.data.pairs import QuestionPair, split_pairs
from errata.gates.evaluation.metrics import Array, Truths, best_threshold, false_hits_at_recall
from errata.gates.evaluation.outside.config import OutsideConfig
from errata.gates.evaluation.outside.deciders import Decider, Message, Step, Verdict
from errata.gates.evaluation.outside.suites import Measurement, Suite, clustered, hit
from errata.gates.evaluation.report import Row
from errata.gates.evaluation.trials import question_only
from errata.gates.text import dice
from errata.intervals import Estimate, share

SAME, OTHER, TUNE = "same", "other", "tune"
Pair = tuple[Message, Edit]


def pair_suites(data: OutsideData, config: OutsideConfig) -> list[Suite]:
    """Return the suites of question pairs and of patients' questions, where the data have any."""
    suites = []
    if data.pairs:
        suites.append(Suite("question pairs", partial(_prepare_question_pairs, data, config)))
    if data.medical:
        suites.append(_labelled_suite("medical pairs", lambda: data.medical, config))
    return suites


def near_miss_suites(data: OutsideData, config: OutsideConfig) -> list[Suite]:
    """Return the suites of pairs that share most words, *different* ones and *same* ones."""
    suites = []
    sources = {one.source for one in data.sentences}
    for source, name, pairs in (
        ("mrpc", "MRPC, shared words", _mrpc_pairs),
        ("sick", "SICK, contradictions", _sick_pairs),
    ):
        if source in sources:
            some = partial(pairs, data, config)
            suites.append(_labelled_suite(f"near misses: {name}", some, config))
    if data.pairs:
        name = "near misses: question pairs, shared words"
        suites.append(_labelled_suite(name, partial(_alike_pairs, data, config), config))
    return suites


def _sick_pairs(data: OutsideData, config: OutsideConfig) -> list[QuestionPair]:
    """Return contradictions, as different, and entailments, as the same."""
    return [
        QuestionPair(one.a, one.b, one.label == "entailment")
        for one in data.sentences
        if one.source == "sick" and one.label in ("contradiction", "entailment")
    ]


def _mrpc_pairs(data: OutsideData, config: OutsideConfig) -> list[QuestionPair]:
    """Return sentences of news that share most words."""
    pairs = [
        QuestionPair(one.a, one.b, one.label == SAME)
        for one in data.sentences
        if one.source == "mrpc" and one.label in (SAME, OTHER)
    ]
    return [pair for pair in pairs if shared_words(pair) >= config.overlap]


def _alike_pairs(data: OutsideData, config: OutsideConfig) -> list[QuestionPair]:
    """Return question pairs of the test split that share most words."""
    return [p for p in split_pairs(data.pairs)["test"] if shared_words(p) >= config.overlap]


def shared_words(pair: QuestionPair) -> float:
    """Return the share of words that two texts have in common (Dice of their sets), 0 to 1."""
    return dice(*(frozenset(normalize_query(text).split()) for text in (pair.a, pair.b)))


def _sample(pairs: Sequence[QuestionPair], most: int, config: OutsideConfig) -> list[QuestionPair]:
    return random.Random(f"{config.seed}/pairs").sample(list(pairs), min(most, len(pairs)))


def labelled(pairs: Sequence[QuestionPair], part: str) -> list[Pair]:
    """Return pairs of a message and an edit; the message is right of a *same* pair."""
    found: list[Pair] = []
    for pair in pairs:
        edit = question_only(pair.b)
        label = part or (SAME if pair.same else OTHER)
        found.append((Message(pair.a, edit.id if pair.same else "", label), edit))
    return found


def _labelled_suite(
    name: str, pairs: Callable[[], Sequence[QuestionPair]], config: OutsideConfig
) -> Suite:
    return Suite(name, partial(_prepare_labelled, name, pairs, config))


def _prepare_labelled(
    name: str, pairs: Callable[[], Sequence[QuestionPair]], config: OutsideConfig
) -> Measurement:
    """Return as many pairs of each label, and what is found of them."""
    every = pairs()
    kinds = [[pair for pair in every if pair.same is same] for same in (True, False)]
    some = labelled([pair for kind in kinds for pair in _sample(kind, config.rows, config)], "")
    return Measurement(len(some), partial(_found_and_false, some, name, config))


def _found_and_false(
    pairs: Sequence[Pair], name: str, config: OutsideConfig, decider: Decider, step: Step
) -> list[Row]:
    verdicts = decider.decide_pairs(pairs, step)
    if verdicts is None:
        return []
    return [
        Row(f"{name}: same found", clustered(verdicts, hit, SAME)),
        Row(f"{name}: different, false hits", clustered(verdicts, hit, OTHER)),
        _at_recall(name, verdicts, config),
    ]


def _scores(verdicts: Sequence[Verdict], *parts: str) -> Array:
    return np.array([one.margin for one in verdicts if one.message.part in parts])


def _at_recall(name: str, verdicts: Sequence[Verdict], config: OutsideConfig) -> Row:
    figure = false_hits_at_recall(_scores(verdicts, SAME), _scores(verdicts, OTHER), config.recall)
    return Row(f"{name}: false hits at {config.recall:.0%} of same found", figure)


def _prepare_question_pairs(data: OutsideData, config: OutsideConfig) -> Measurement:
    """Return pairs of the test split, and of the tune split for the threshold of accuracy."""
    split = split_pairs(data.pairs)
    test = _sample(split["test"], config.pairs, config)
    tune = _sample(split["tune"], config.pairs // 2, config)
    pairs = [*labelled(test, ""), *labelled(tune, TUNE)]
    return Measurement(len(pairs), partial(_question_pairs, pairs, config))


def _question_pairs(
    pairs: Sequence[Pair], config: OutsideConfig, decider: Decider, step: Step
) -> list[Row]:
    verdicts = decider.decide_pairs(pairs, step)
    if verdicts is None:
        return []
    name = "question pairs"
    return [
        Row(f"{name}: accuracy", accuracy(verdicts)),
        _at_recall(name, verdicts, config),
        Row(f"{name}: same found", clustered(verdicts, hit, SAME)),
        Row(f"{name}: different, false hits", clustered(verdicts, hit, OTHER)),
    ]


def accuracy(verdicts: Sequence[Verdict]) -> Estimate:
    """Return the share of pairs labelled right, at the threshold that is best for the tune part."""
    tuned, tuned_same = _scored(verdicts, TUNE)
    scores, same = _scored(verdicts, SAME, OTHER)
    threshold = best_threshold(tuned, tuned_same) if len(tuned) else 0.0
    return share((scores >= threshold) == same)


def _scored(verdicts: Sequence[Verdict], *parts: str) -> tuple[Array, Truths]:
    truths = [bool(one.message.right) for one in verdicts if one.message.part in parts]
    return _scores(verdicts, *parts), np.array(truths, dtype=bool)
