"""Training a gate: ``python -m errata.gates.train --out DIR``.

Seeded, minutes on one core: every distinct text is encoded once. Trains on subjects of the train
split and trained phrasings, calibrates and picks the threshold on tune subjects.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.errors import ModelError
from errata.cache.records import Vector
from errata.facts.table import Split
from errata.gates.classifier import ScopeClassifier, judge, scope_inputs
from errata.gates.data import (
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
from errata.gates.features import FeatureMaker, PairFeatures
from errata.gates.fit import (
    LABELS,
    Labels,
    fit_logistic,
    fit_network,
    fit_platt,
    fit_relations,
    fit_trees,
    pick_threshold,
)
from errata.gates.memory import EncodingMemory
from errata.gates.network import Platt
from errata.gates.questions import QuestionBook
from errata.gates.stored import StoredGate
from errata.gates.trial import Trial, build_trial, run_trial

CHUNK = 4096
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
    :param condition_rate: false hits allowed of topical and descriptive conditions.
    :param near: share of the threshold from which a candidate is a near miss.
    :param trial_size: facts in the cache when the threshold is picked.
    :param condition_rounds: how often the pairs of conditions are drawn.
    :param without: relations left out, to measure on what was never seen.
    """

    seed: int = 0
    examples: int = 45_000
    pair_examples: int = 12_000
    neighbour_rate: float = 0.005
    changed_rate: float = 0.01
    open_rate: float = 0.0005
    condition_rate: float = 0.002
    near: float = 0.5
    trial_size: int = 200
    condition_rounds: int = 3
    without: frozenset[str] = frozenset()


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
    encoder: Encoder | None = None,
    recipe: Recipe | None = None,
    progress: bool = False,
) -> StoredGate:
    """Train a gate and write it.

    :param out: the folder it is written to.
    :param pairs: files of labelled question pairs (:func:`errata.gates.data.read_pairs`).
    :param open_questions: a file of questions out of any edit's scope.
    :param encoder: the encoder to train for; by default the packaged all-MiniLM-L6-v2.
    :param recipe: seed, sizes and rates.
    :param progress: show progress bars.
    :raises ModelError: a file is malformed, or there is nothing to tell apart.
    """
    recipe = recipe or Recipe()
    started = time.monotonic()
    asked = [pair for path in pairs for pair in read_pairs(path)]
    questions = [] if open_questions is None else read_open_questions(open_questions)
    if encoder is None:
        from errata.gates import default_encoder

        encoder = default_encoder()
    memory = EncodingMemory(encoder, None)
    splits: tuple[Split, ...] = ("train", "tune")
    data = {split: collect(split, memory, asked, questions, recipe) for split in splits}
    with _bars(progress) as bar:
        stored = _fit(memory, data, recipe, bar)
        stored = _with_threshold(stored, memory, data["tune"].open, recipe, bar)
    stored.card.update(
        {
            "pairs": "Quora's terms, research use" if asked else "none",
            "data": {
                split: dict(Counter(example.label for example in one.scopes))
                for split, one in data.items()
            },
            "open_questions": {split: len(one.open) for split, one in data.items()},
            "seed": recipe.seed,
            "seconds": round(time.monotonic() - started),
            "promised": {
                "hard neighbours": recipe.neighbour_rate,
                "all near and out of scope": recipe.changed_rate,
                "open questions": recipe.open_rate,
                "measured on": "tune subjects, per query, the most probable of its candidates",
                "facts in the cache": recipe.trial_size,
            },
        }
    )
    stored.save(out)
    return stored


def collect(
    split: Split,
    memory: EncodingMemory,
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
    book = QuestionBook(split, without=recipe.without)
    found = Pairs(scopes=table_examples(book, rng, int(part * recipe.examples)))
    found.open = [text for text in questions if open_split(text) == split]
    mined = rng.sample(found.open, min(len(found.open), int(part * MOST_OPEN)))
    if len(mined) > 1:
        found.scopes += open_examples(mined, _nearest(memory, mined), rng)
    if asked:
        both = list(pair_examples(split_pairs(asked)[split]))
        found.scopes += rng.sample(both, min(len(both), int(part * recipe.pair_examples)))
    found.conditions = [
        example
        for _ in range(recipe.condition_rounds)
        for example in condition_examples(split, rng)
    ]
    return found


def _nearest(memory: EncodingMemory, texts: Sequence[str]) -> list[list[int]]:
    """Return the two texts nearest to each, those left out that all but say the same."""
    rows = memory.encode(texts)
    cosines = rows @ rows.T
    cosines[cosines > 0.92] = -1.0
    found: list[list[int]] = np.argsort(-cosines, axis=1)[:, :2].tolist()
    return found


def _fit(memory: EncodingMemory, data: dict[Split, Pairs], recipe: Recipe, bar: _Bar) -> StoredGate:
    """Return a gate whose thresholds are still to be picked."""
    common = common_words()
    maker = FeatureMaker(memory.encode, common)
    made = {
        (split, part): (bar.features(maker, examples, f"{split}, {part}"), _labels(examples))
        for split, one in data.items()
        for part, examples in (("scopes", one.scopes), ("conditions", one.conditions))
    }
    found, labels = made["train", "scopes"]
    relations = fit_relations(found, labels)
    inputs = scope_inputs(relations, found)
    scope, _ = fit_network(inputs, labels, recipe.seed)
    trees, _ = fit_trees(inputs, labels, recipe.seed)
    held, held_labels = made["train", "conditions"]
    condition, _ = fit_logistic(held.named, np.minimum(held_labels, 1), recipe.seed)
    stored = StoredGate(
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
    held_by = condition(holds.named)[:, 1]
    calibration = fit_platt(held_by, hold_labels > 0)
    threshold = pick_threshold(list(calibration(held_by)[hold_labels == 0]), recipe.condition_rate)
    stored.card["conditions"] = {
        "held": share(list(calibration(held_by)[hold_labels > 0] >= threshold)),
        "not held": share(list(calibration(held_by)[hold_labels == 0] >= threshold)),
    }
    return replace(
        stored,
        scope_calibration=fit_platt(judge(stored, tuned)[0], tune_labels > 0),
        condition_calibration=calibration,
        condition_threshold=threshold,
    )


def _labels(examples: Sequence[Example]) -> Labels:
    return np.array([LABELS.index(example.label) for example in examples], dtype=np.int64)


def _with_threshold(
    stored: StoredGate, memory: EncodingMemory, questions: list[str], recipe: Recipe, bar: _Bar
) -> StoredGate:
    """Pick the threshold on tune subjects, per query, with a cache of facts in force."""
    book = QuestionBook("tune", without=recipe.without)
    trial = build_trial(book, questions, size=recipe.trial_size, seed=recipe.seed)
    gate = ScopeClassifier(memory, stored, threshold=0.5)
    outcomes = bar.trial(gate, memory, trial)
    out = [one for one in outcomes if one.query.label == "none"]
    beside = [one.probability for one in out if one.query.kind != "open question"]
    hard = [one.probability for one in out if one.query.kind.startswith("other ")]
    far = [one.probability for one in out if one.query.kind == "open question"]
    threshold = max(
        pick_threshold(hard, recipe.neighbour_rate),
        pick_threshold(beside, recipe.changed_rate),
        pick_threshold(far, recipe.open_rate),
    )
    same = [one for one in outcomes if one.query.label == "same"]
    told = [one for one in outcomes if one.query.label != "none" and one.probability >= threshold]
    stored.card["tune"] = {
        "same hit": share([one.probability >= threshold for one in same]),
        "hard neighbours hit": share([value >= threshold for value in hard]),
        "all near and out of scope hit": share([value >= threshold for value in beside]),
        "open questions hit": share([value >= threshold for value in far]),
        "follows told from same": share(
            [one.follows == (one.query.label == "follows") for one in told]
        ),
    }
    return replace(stored, threshold=threshold)


def share(truths: Sequence[bool]) -> dict[str, float]:
    """Return how many of n are true, for a card."""
    return {"n": len(truths), "rate": round(float(np.mean(truths)), 4) if truths else 0.0}


class _Bar:
    """Progress bars, or none."""

    def __init__(self, shown: Any | None) -> None:
        self._shown = shown

    def features(self, maker: FeatureMaker, examples: Sequence[Example], name: str) -> PairFeatures:
        """Return the features of the examples, a chunk at a time.

        :raises ModelError: there are no examples.
        """
        if not examples:
            raise ModelError(f"cannot train a gate: no pairs to learn from ({name})")
        parts = []
        for start in self._steps(range(0, len(examples), CHUNK), name):
            chunk = examples[start : start + CHUNK]
            parts.append(maker.make([(example.query, example.scope) for example in chunk]))
        rows: list[Vector] = [part.query_rest for part in parts]
        others: list[Vector] = [part.scope_rest for part in parts]
        named = np.concatenate([part.named for part in parts])
        return PairFeatures(named, np.concatenate(rows), np.concatenate(others))

    def trial(self, gate: ScopeClassifier, memory: EncodingMemory, trial: Trial) -> list[Any]:
        """Return the outcomes of a trial."""
        if self._shown is None:
            return run_trial(gate, memory, trial)
        shown = self._shown
        task = shown.add_task("picking the threshold", total=len(trial.queries))
        return run_trial(
            gate, memory, trial, progress=lambda done: shown.update(task, completed=done)
        )

    def _steps(self, numbers: range, name: str) -> Iterator[int]:
        if self._shown is None:
            yield from numbers
        else:
            yield from self._shown.track(numbers, description=name)


@contextmanager
def _bars(progress: bool) -> Iterator[_Bar]:
    if not progress:
        yield _Bar(None)
        return
    from rich.progress import Progress

    with Progress() as shown:
        yield _Bar(shown)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a gate from the command line."""
    parser = argparse.ArgumentParser(prog="python -m errata.gates.train", description=__doc__)
    parser.add_argument("--out", required=True, help="folder the gate is written to")
    parser.add_argument("--pairs", nargs="*", default=[], help="labelled pairs, .jsonl or .gz")
    parser.add_argument("--open-questions", help="questions out of scope, .jsonl or .gz")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    train(
        given.out,
        pairs=given.pairs,
        open_questions=given.open_questions,
        recipe=Recipe(seed=given.seed),
        progress=True,
    )


if __name__ == "__main__":
    main()
