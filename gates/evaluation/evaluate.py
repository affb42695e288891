"""Evaluation of any :class:`errata.gates.base.Gate` on data that no gate was trained on.

Test subjects, held-out phrasings, test halves of the files.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.errors import ModelError
from errata.cache.records import Fact, LanguagePatch
from errata.facts.table import Split
from errata.gates.base import Gate, ThresholdGate
from errata.gates.calibration import NegativeScores
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.conditions import condition_examples
from errata.gates.data.distractors import hash_half, unrelated_facts
from errata.gates.data.pairs import QuestionPair
from errata.gates.data.questions import QuestionBook
from errata.gates.data.rule_conditions import certain_examples
from errata.gates.evaluation.base_agreement import AnswerBatch, BaseAgreement
from errata.gates.evaluation.judge import PairScores, Progress, no_progress, score_pairs
from errata.gates.evaluation.metrics import (
    Array,
    best_threshold,
    bounded_threshold,
    brier,
    calibration_error,
    false_hits_at_recall,
    recall_at_rate,
)
from errata.gates.evaluation.report import WITH_BASE, Kind, Report, Row, Sample
from errata.gates.evaluation.trials import (
    Outcome,
    Trial,
    build_trial,
    question_only,
    reversed_pairs,
    run_trial,
    split_trial,
)
from errata.intervals import Estimate, bootstrap, share

HARD = ("other relation", "other subject", "other subject, alike", "other subject, famous")
TARGET = 0.01
_CONDITIONS = (
    ("topic", "topical"), ("claim", "descriptive"), ("formal", "formal"), ("lexical", "lexical")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """What gates are evaluated on.

    :param pairs: labelled question pairs of the test split; may be empty.
    :param tune_pairs: those of the tune split, for the threshold of accuracy.
    :param open_questions: questions out of any scope, of the test half.
    :param background: facts to fill a cache with.
    :param facts: test facts that queries are about.
    :param sizes: numbers of facts in the cache.
    :param conditions: pairs of texts and conditions, at most.
    :param seed: of everything drawn.
    """

    pairs: tuple[QuestionPair, ...] = ()
    tune_pairs: tuple[QuestionPair, ...] = ()
    open_questions: tuple[str, ...] = ()
    background: tuple[Fact, ...] = ()
    facts: int = 200
    sizes: tuple[int, ...] = (1, 200)
    conditions: int = 3000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trials:
    """The trials of every gate, drawn once.

    :param test: facts of test subjects and queries about them.
    :param tune: of tune subjects, for picking a threshold.
    :param sized: for each size, caches with their queries.
    :param reversed: pairs with the order of two things reversed.
    """

    test: Trial
    tune: Trial
    sized: dict[int, tuple[Trial, ...]]
    reversed: tuple[tuple[str, Fact], ...]


def draw_trials(setting: EvaluationConfig) -> Trials:
    """Return the trials of a setting.

    :raises ModelError: too few background facts for a size.
    """
    books: dict[Split, QuestionBook] = {
        split: QuestionBook(split, held_out=True) for split in ("test", "tune")
    }
    test = build_trial(
        books["test"], setting.open_questions, size=setting.facts, seed=setting.seed, famous=True
    )
    tune = build_trial(books["tune"], (), size=setting.facts, seed=setting.seed)
    tune = replace(tune, queries=tuple(q for q in tune.queries if q.label == "none"))
    pairs = tuple(reversed_pairs(books["test"], random.Random(setting.seed)))
    sized = {size: _of_size(test, size, setting) for size in setting.sizes}
    return Trials(test, tune, sized, pairs)


def _of_size(test: Trial, size: int, setting: EvaluationConfig) -> tuple[Trial, ...]:
    if size <= len(test.edits):
        return split_trial(test, size)
    rng = random.Random(f"background {setting.seed}")
    test_half = hash_half(setting.background, test=True)
    free = list(unrelated_facts(test_half, [query.text for query in test.queries]))
    wanted = size - len(test.edits)
    if len(free) < wanted:
        raise ModelError(
            f"a cache of {size} facts needs {wanted} facts of other subjects in addition to the "
            f"{len(test.edits)} asked about, found {len(free)} in the file's test half that no "
            "query names; pass a larger file as background (JSON lines with relation, subject, "
            "object), or smaller cache_sizes"
        )
    return (replace(test, edits=(*test.edits, *rng.sample(free, wanted))),)


def evaluate(
    name: str,
    gate: Gate,
    encoder: Encoder,
    setting: EvaluationConfig,
    trials: Trials,
    progress: Progress = no_progress,
    base_answers: AnswerBatch | None = None,
) -> Report:
    """Return the report on one gate.

    :param name: of the gate, for tables.
    :param gate: any gate.
    :param encoder: of the gate; a caching one saves most of the time.
    :param setting: what it is evaluated on.
    :param trials: of that setting, the same for every gate.
    :param progress: receives the suite, the queries done, and their number.
    :param base_answers: of a base model, for gates that consult one when uncertain.
    """
    least = gate.agreement_threshold if isinstance(gate, ThresholdGate) else None
    base = None
    if base_answers is not None and least is not None:
        base = BaseAgreement(base_answers, least)
    report = Report(name, float(getattr(gate, "threshold", np.nan)))

    def scored(suite: str, pairs: Sequence[tuple[str, Fact | LanguagePatch]]) -> PairScores:
        return score_pairs(gate, encoder, pairs, lambda n: progress(suite, n, len(pairs)))

    def run(suite: str, some: Iterable[Trial]) -> list[Outcome]:
        parts = list(some)
        total, outcomes = sum(len(part.queries) for part in parts), list[Outcome]()

        def step(before: int, done: int) -> None:
            progress(suite, before + done, total)

        for part in parts:
            outcomes += run_trial(
                gate, encoder, part, base=base, progress=partial(step, len(outcomes))
            )
        return outcomes

    if setting.pairs:
        _question_pairs(report, setting, scored)
    _fact_pairs(report, trials, scored)
    for size, some in trials.sized.items():
        outcomes = run(f"{size} facts in the cache", some)
        _per_query(report, size, outcomes)
        if base is not None:
            _with_base_model(report, size, outcomes)
        if size == max(trials.sized):
            _calibration(report, outcomes)
            _stated_rate(
                report,
                _threshold_for_rate(gate, partial(run, "threshold", [trials.tune])),
                outcomes,
            )
    _conditions(report, setting, scored)
    return report


ScorePairs = Callable[[str, Sequence[tuple[str, Fact | LanguagePatch]]], PairScores]


def _question_pairs(report: Report, setting: EvaluationConfig, score: ScorePairs) -> None:
    """Add the rows of labelled question pairs."""

    def probabilities(suite: str, pairs: Sequence[QuestionPair]) -> tuple[Array, np.ndarray]:
        found = score(suite, [(pair.a, question_only(pair.b)) for pair in pairs])
        return found.probability, np.array([pair.same for pair in pairs], dtype=bool)

    scores, same = probabilities("question pairs", setting.pairs)
    tuned, tuned_same = probabilities("question pairs, tune", setting.tune_pairs)
    threshold = best_threshold(tuned, tuned_same) if len(tuned) else report.threshold
    fires = scores >= report.threshold
    report.rows += [
        Row("question pairs: accuracy", share((scores >= threshold) == same), least=0.84),
        _false_hits("question pairs", scores[same], scores[~same], 0.95, most=0.32),
        _false_hits("question pairs", scores[same], scores[~same], 0.99),
        Row("question pairs: false hits at the shipped threshold", share(fires[~same])),
        Row("question pairs: found at the shipped threshold", share(fires[same])),
    ]
    report.samples.append(Sample("question pairs", scores, same))


def _false_hits(
    what: str, positives: Array, negatives: Array, recall: float, most: float | None = None
) -> Row:
    found = false_hits_at_recall(positives, negatives, recall)
    return Row(f"{what}: false hits at {recall:.0%} recall", found, most=most)


def _fact_pairs(report: Report, trials: Trials, score: ScorePairs) -> None:
    """Add the rows of queries, each scored against the one edit it was made for."""
    edits = {edit.id: edit for edit in trials.test.edits}
    about = [query for query in trials.test.queries if query.about]
    found = score("facts, in pairs", [(q.text, edits[q.about]) for q in about])
    kinds: dict[str, list[float]] = defaultdict(list)
    labels: dict[str, str] = {}
    for query, probability in zip(about, found.probability.tolist(), strict=True):
        kinds[query.kind].append(probability)
        labels[query.kind] = query.label
    positives = np.array(
        [p for kind, some in kinds.items() if labels[kind] == "paraphrase" for p in some]
    )
    parts = {
        "facts, other relation of the same subject": (("other relation",), 0.02),
        "facts, other subject, same relation, famous ones included": (HARD[1:], 0.005),
    }
    for what, (chosen, most) in parts.items():
        negatives = np.array([p for kind in chosen for p in kinds[kind]])
        report.rows.append(_false_hits(what, positives, negatives, 0.95, most=most))
        report.rows.append(_false_hits(what, positives, negatives, 0.99))
        report.samples.append(Sample.of(what, positives, negatives))
    fired = {"negated": [], "reversed": []}  # type: dict[str, list[bool]]
    for query, fires, entailed in zip(about, found.fires, found.entailed, strict=True):
        if query.kind in fired:
            fired[query.kind].append(bool(fires and not entailed))
    swapped = score("facts, reversed", list(trials.reversed))
    fired["reversed"] += [
        bool(f and not o) for f, o in zip(swapped.fires, swapped.entailed, strict=True)
    ]
    taken = [*fired["negated"], *fired["reversed"]]
    report.rows += [
        Row("negated and reversed questions taken for paraphrases", share(taken), most=0.05),
        Row("negated questions taken for paraphrases", share(fired["negated"])),
        Row("reversed questions taken for paraphrases", share(fired["reversed"])),
    ]


def _per_query(report: Report, size: int, outcomes: Sequence[Outcome]) -> None:
    """Add the shares of queries on which an edit fires at the shipped threshold."""
    group = _group(size)
    found = [one for one in outcomes if one.hit and one.best_id == one.query.edit_id]
    correct = [one.entailed == (one.query.label == "entailed") for one in found]
    positives = np.array([one.probability for one in outcomes if one.query.label == "paraphrase"])
    hard = np.array([one.probability for one in outcomes if one.query.kind in HARD])
    report.rows += [
        *_hits(group, outcomes, lambda one: one.hit),
        Row(
            f"{group}: paraphrases of all kinds found at {TARGET:.0%} of hard neighbours",
            recall_at_rate(positives, hard, TARGET),
        ),
        Row(f"{group}: paraphrase told from entailed", share(correct), least=0.95),
    ]
    kinds: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for one in outcomes:
        kinds[one.query.label, one.query.kind].append(one.hit)
    order = ("paraphrase", "entailed", "none")
    for (label, kind), hits in sorted(kinds.items(), key=lambda item: order.index(item[0][0])):
        report.kinds.append(Kind(group, label, kind, share(hits)))


def _with_base_model(report: Report, size: int, outcomes: Sequence[Outcome]) -> None:
    """Add the same shares with the base model's agreement."""
    group = f"{_group(size)}, {WITH_BASE}"
    report.rows += _hits(group, outcomes, lambda one: one.hit or one.agreement > 0)


def _hits(group: str, outcomes: Sequence[Outcome], hit: Callable[[Outcome], bool]) -> list[Row]:
    """Return the shares of each sort of query that hit."""

    def fires(*kinds: str, label: str = "") -> Estimate:
        """Return the share of some kinds of query, or of those with a label."""
        return share(
            [hit(one) for one in outcomes if one.query.kind in kinds or one.query.label == label]
        )

    return [
        Row(f"{group}: paraphrases hit", fires("paraphrase"), least=0.95),
        Row(f"{group}: paraphrases of all kinds hit", fires(label="paraphrase")),
        Row(f"{group}: hard neighbours hit", fires(*HARD), most=0.01),
        Row(f"{group}: open-domain questions hit", fires("open question"), most=0.002),
    ]


def _group(size: int) -> str:
    return f"{size} facts in the cache" if size > 1 else "1 fact in the cache"


def _calibration(report: Report, outcomes: Sequence[Outcome]) -> None:
    """Add the calibration of the top candidate's probability."""
    scores = np.array([one.probability for one in outcomes])
    truths = np.array([one.correct for one in outcomes], dtype=bool)
    report.reliability = Sample("top candidate of each query", scores, truths)
    report.rows += [
        Row("calibration error", bootstrap(calibration_error, scores, truths), most=0.03),
        Row("Brier score", bootstrap(brier, scores, truths)),
    ]


def _threshold_for_rate(gate: Gate, tuned: Callable[[], list[Outcome]]) -> float:
    """Return the threshold for a stated rate: as ``load_gate`` picks it, else on tune subjects.

    NaN where there are too few queries to show such a rate.
    """
    if isinstance(gate, ScopeClassifier) and "negative_scores" in gate.artifact.card:
        try:
            return NegativeScores.of_card(gate.artifact.card).threshold(TARGET)
        except ModelError:
            return np.nan
    scores = [one.probability for one in tuned() if one.query.label == "none"]
    return bounded_threshold(np.array(scores), TARGET)


def _stated_rate(report: Report, threshold: float, outcomes: Sequence[Outcome]) -> None:
    """Add the false hits at the threshold for a stated rate, if there is one."""
    if np.isnan(threshold):
        return
    near = [o for o in outcomes if o.query.label == "none" and o.query.kind != "open question"]
    found = [o.probability >= threshold for o in outcomes if o.query.label == "paraphrase"]
    what = f"threshold for a false-hit rate of {TARGET:.0%} near edits"
    report.rows += [
        Row(f"{what}: false hits", share([one.probability >= threshold for one in near]),
            most=TARGET, covers=True),
        Row(f"{what}: paraphrases of all kinds hit", share(found)),
    ]  # fmt: skip


def _conditions(report: Report, setting: EvaluationConfig, score: ScorePairs) -> None:
    """Add the rows of conditions whose words are not in the training data."""
    rng = random.Random(f"conditions {setting.seed}")
    examples = list(condition_examples("test", rng))
    examples = rng.sample(examples, min(len(examples), setting.conditions))
    examples += certain_examples()
    templates = {"topic": "the user asks about {c}", "claim": "the text says that {c}"}
    pairs = []
    for example in examples:
        group = example.kind.partition(",")[0]
        condition = templates.get(group, "{c}").format(c=example.scope.text)
        pairs.append((example.query, LanguagePatch(condition=condition, consequence='say "yes"')))
    found = score("conditions", pairs)
    holds = np.array([example.label == "paraphrase" for example in examples], dtype=bool)
    groups = np.array([example.kind.partition(",")[0] for example in examples])
    for group, name in _CONDITIONS:
        mine = groups == group
        positives, negatives = found.probability[mine & holds], found.probability[mine & ~holds]
        what = f"{name} conditions held out"
        report.rows += [
            Row(f"{what}: recall at 0.01 false hits",
                recall_at_rate(positives, negatives, 0.01), least=0.8),
            Row(f"{what}: hold, hit", share(found.fires[mine & holds])),
            Row(f"{what}: do not hold, hit", share(found.fires[mine & ~holds])),
        ]  # fmt: skip
        if group in templates:  # rules give no scores to draw a curve of
            report.samples.append(Sample.of(what, positives, negatives))
    kinds: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for example, fires in zip(examples, found.fires.tolist(), strict=True):
        kinds[example.label, example.kind].append(fires)
    for (label, kind), hits in sorted(kinds.items(), reverse=True):
        report.kinds.append(Kind("conditions held out", label, kind, share(hits)))
