"""Measuring a gate: every figure that is promised of it, on what no gate was trained on.

Works on any :class:`errata.gates.base.Gate`; test subjects, held-out phrasings, test halves.
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
from errata.gates.base import Gate, HasAgreementThreshold
from errata.gates.calibration import NegativeScores
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.conditions import condition_examples
from errata.gates.data.distractors import beside, for_test
from errata.gates.data.pairs import QuestionPair
from errata.gates.data.questions import QuestionBook
from errata.gates.data.rule_conditions import certain_examples
from errata.gates.evaluation.base_agreement import Answers, BaseAgreement
from errata.gates.evaluation.judge import Judged, Progress, judge_pairs, no_progress
from errata.gates.evaluation.metrics import (
    Array,
    Figure,
    best_threshold,
    bounded_threshold,
    brier,
    calibration_error,
    false_hits_at_recall,
    recall_at_rate,
    resampled,
    share,
)
from errata.gates.evaluation.report import ASKED, Kind, Report, Row, Sample
from errata.gates.evaluation.trials import (
    Outcome,
    Trial,
    bare,
    build_trial,
    parted,
    run_trial,
    turned_pairs,
)

HARD = ("other relation", "other subject", "other subject, alike", "other subject, famous")
TARGET = 0.01
_CONDITIONS = (
    ("topic", "topical"), ("claim", "descriptive"), ("formal", "formal"), ("lexical", "lexical")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """What gates are measured on.

    :param pairs: labelled question pairs of the test split; none measured if empty.
    :param tune_pairs: those of the tune split, on which the threshold of accuracy is picked.
    :param open_questions: questions out of any scope, of the test half.
    :param background: facts to fill a cache with.
    :param facts: test facts asked about.
    :param sizes: facts in the cache, once each.
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
    """What is put to every gate, drawn once.

    :param test: the test subjects' facts and the queries about them.
    :param tune: the tune subjects', for picking a threshold.
    :param sized: for each size, the caches and the queries put to each.
    :param turned: pairs where the order of two things is turned round.
    """

    test: Trial
    tune: Trial
    sized: dict[int, tuple[Trial, ...]]
    turned: tuple[tuple[str, Fact], ...]


def draw_trials(setting: Setting) -> Trials:
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
    turned = tuple(turned_pairs(books["test"], random.Random(setting.seed)))
    sized = {size: _of_size(test, size, setting) for size in setting.sizes}
    return Trials(test, tune, sized, turned)


def _of_size(test: Trial, size: int, setting: Setting) -> tuple[Trial, ...]:
    if size <= len(test.edits):
        return parted(test, size)
    rng = random.Random(f"background {setting.seed}")
    test_half = for_test(setting.background, wanted=True)
    free = list(beside(test_half, [query.text for query in test.queries]))
    wanted = size - len(test.edits)
    if len(free) < wanted:
        raise ModelError(
            f"a cache of {size} facts needs {wanted} facts of other subjects beside the "
            f"{len(test.edits)} asked about, found {len(free)} in the file's test half that no "
            "query names; pass a larger --background FILE (JSON lines with relation, subject, "
            "object), or smaller --cache-sizes"
        )
    return (replace(test, edits=(*test.edits, *rng.sample(free, wanted))),)


def evaluate(
    name: str,
    gate: Gate,
    encoder: Encoder,
    setting: Setting,
    trials: Trials,
    progress: Progress = no_progress,
    says: Answers | None = None,
) -> Report:
    """Return everything measured of one gate.

    :param name: what it is called in tables.
    :param gate: any gate.
    :param encoder: its encoder; one that remembers saves most of the time.
    :param setting: what it is measured on.
    :param trials: of that setting, the same for every gate.
    :param progress: told the suite, the queries done, and how many there are.
    :param says: a base model, asked where a gate that takes its word is in doubt.
    """
    least = gate.agreement_threshold if isinstance(gate, HasAgreementThreshold) else None
    asked = None if says is None or least is None else BaseAgreement(says, least)
    report = Report(name, float(getattr(gate, "threshold", np.nan)))

    def judged(suite: str, pairs: Sequence[tuple[str, Fact | LanguagePatch]]) -> Judged:
        return judge_pairs(gate, encoder, pairs, lambda n: progress(suite, n, len(pairs)))

    def tried(suite: str, some: Iterable[Trial]) -> list[Outcome]:
        parts = list(some)
        total, outcomes = sum(len(part.queries) for part in parts), list[Outcome]()

        def step(before: int, done: int) -> None:
            progress(suite, before + done, total)

        for part in parts:
            outcomes += run_trial(
                gate, encoder, part, base=asked, progress=partial(step, len(outcomes))
            )
        return outcomes

    if setting.pairs:
        _question_pairs(report, setting, judged)
    _fact_pairs(report, trials, judged)
    for size, some in trials.sized.items():
        outcomes = tried(f"{size} facts in the cache", some)
        _per_query(report, size, outcomes)
        if asked is not None:
            _base_asked(report, size, outcomes)
        if size == max(trials.sized):
            _calibration(report, outcomes)
            _asked_rate(
                report, _asked_for(gate, partial(tried, "threshold", [trials.tune])), outcomes
            )
    _conditions(report, setting, judged)
    return report


Judge = Callable[[str, Sequence[tuple[str, Fact | LanguagePatch]]], Judged]


def _question_pairs(report: Report, setting: Setting, judged: Judge) -> None:
    """Add what the gate makes of labelled question pairs."""

    def scored(suite: str, pairs: Sequence[QuestionPair]) -> tuple[Array, np.ndarray]:
        found = judged(suite, [(pair.a, bare(pair.b)) for pair in pairs])
        return found.probability, np.array([pair.same for pair in pairs], dtype=bool)

    scores, same = scored("question pairs", setting.pairs)
    tuned, tuned_same = scored("question pairs, tune", setting.tune_pairs)
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


def _fact_pairs(report: Report, trials: Trials, judged: Judge) -> None:
    """Add what the gate makes of queries, each held against the one edit it was made for."""
    edits = {edit.id: edit for edit in trials.test.edits}
    about = [query for query in trials.test.queries if query.about]
    found = judged("facts, in pairs", [(q.text, edits[q.about]) for q in about])
    kinds: dict[str, list[float]] = defaultdict(list)
    labels: dict[str, str] = {}
    for query, probability in zip(about, found.probability.tolist(), strict=True):
        kinds[query.kind].append(probability)
        labels[query.kind] = query.label
    same = np.array([p for kind, some in kinds.items() if labels[kind] == "same" for p in some])
    parts = {
        "facts, other relation of the same subject": (("other relation",), 0.02),
        "facts, other subject, same relation, famous ones included": (HARD[1:], 0.005),
    }
    for what, (chosen, most) in parts.items():
        beside_ = np.array([p for kind in chosen for p in kinds[kind]])
        report.rows.append(_false_hits(what, same, beside_, 0.95, most=most))
        report.rows.append(_false_hits(what, same, beside_, 0.99))
        report.samples.append(Sample.of(what, same, beside_))
    fired = {"negated": [], "reversed": []}  # type: dict[str, list[bool]]
    for query, fires, follows in zip(about, found.fires, found.follows, strict=True):
        if query.kind in fired:
            fired[query.kind].append(bool(fires and not follows))
    turned = judged("facts, turned round", list(trials.turned))
    fired["reversed"] += [
        bool(f and not o) for f, o in zip(turned.fires, turned.follows, strict=True)
    ]
    taken = [*fired["negated"], *fired["reversed"]]
    report.rows += [
        Row("negated and reversed questions taken for the same", share(taken), most=0.05),
        Row("negated questions taken for the same", share(fired["negated"])),
        Row("reversed questions taken for the same", share(fired["reversed"])),
    ]


def _per_query(report: Report, size: int, outcomes: Sequence[Outcome]) -> None:
    """Add the shares of queries on which anything fires at the shipped threshold."""
    group = _group(size)
    told = [one for one in outcomes if one.hit and one.best_id == one.query.edit_id]
    right = [one.follows == (one.query.label == "follows") for one in told]
    own = np.array([one.probability for one in outcomes if one.query.label == "same"])
    hard = np.array([one.probability for one in outcomes if one.query.kind in HARD])
    report.rows += [
        *_hits(group, outcomes, lambda one: one.hit),
        Row(
            f"{group}: own question found at {TARGET:.0%} of hard neighbours",
            recall_at_rate(own, hard, TARGET),
        ),
        Row(f"{group}: same told from follows", share(right), least=0.95),
    ]
    kinds: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for one in outcomes:
        kinds[one.query.label, one.query.kind].append(one.hit)
    order = ("same", "follows", "none")
    for (label, kind), hits in sorted(kinds.items(), key=lambda item: order.index(item[0][0])):
        report.kinds.append(Kind(group, label, kind, share(hits)))


def _base_asked(report: Report, size: int, outcomes: Sequence[Outcome]) -> None:
    """Add the same shares where the base model is asked in doubt."""
    group = f"{_group(size)}, {ASKED}"
    report.rows += _hits(group, outcomes, lambda one: one.hit or one.agreed > 0)


def _hits(group: str, outcomes: Sequence[Outcome], hit: Callable[[Outcome], bool]) -> list[Row]:
    """Return the shares of each sort of query that hit."""

    def fires(*kinds: str, label: str = "") -> Figure:
        """Return the share of some kinds of query, or of those with a label."""
        return share(
            [hit(one) for one in outcomes if one.query.kind in kinds or one.query.label == label]
        )

    return [
        Row(f"{group}: paraphrases hit", fires("paraphrase"), least=0.95),
        Row(f"{group}: own question in any dress hit", fires(label="same")),
        Row(f"{group}: hard neighbours hit", fires(*HARD), most=0.01),
        Row(f"{group}: open-domain questions hit", fires("open question"), most=0.002),
    ]


def _group(size: int) -> str:
    return f"{size} facts in the cache" if size > 1 else "1 fact in the cache"


def _calibration(report: Report, outcomes: Sequence[Outcome]) -> None:
    """Add how far the top candidate's probability is from what was so."""
    chances = np.array([one.probability for one in outcomes])
    truths = np.array([one.right for one in outcomes], dtype=bool)
    report.chances = Sample("top candidate of each query", chances, truths)
    report.rows += [
        Row("calibration error", resampled(calibration_error, chances, truths), most=0.03),
        Row("Brier score", resampled(brier, chances, truths)),
    ]


def _asked_for(gate: Gate, tuned: Callable[[], list[Outcome]]) -> float:
    """Return the threshold for a stated rate: as ``load_gate`` picks it, else on tune subjects.

    No number where so few queries can show no such rate.
    """
    if isinstance(gate, ScopeClassifier) and "beside" in gate.stored.card:
        try:
            return NegativeScores.of_card(gate.stored.card).threshold(TARGET)
        except ModelError:
            return np.nan
    scores = [one.probability for one in tuned() if one.query.label == "none"]
    return bounded_threshold(np.array(scores), TARGET)


def _asked_rate(report: Report, threshold: float, outcomes: Sequence[Outcome]) -> None:
    """Add the false hits at the threshold that is picked for a stated rate, if there is one."""
    if np.isnan(threshold):
        return
    near = [o for o in outcomes if o.query.label == "none" and o.query.kind != "open question"]
    same = [o.probability >= threshold for o in outcomes if o.query.label == "same"]
    what = f"asked for a false-hit rate of {TARGET:.0%} among what is near an edit"
    report.rows += [
        Row(f"{what}: false hits", share([one.probability >= threshold for one in near]),
            most=TARGET, covers=True),
        Row(f"{what}: own question in any dress hit", share(same)),
    ]  # fmt: skip


def _conditions(report: Report, setting: Setting, judged: Judge) -> None:
    """Add what the gate makes of conditions whose words no training saw."""
    rng = random.Random(f"conditions {setting.seed}")
    examples = list(condition_examples("test", rng))
    examples = rng.sample(examples, min(len(examples), setting.conditions))
    examples += certain_examples()
    said = {"topic": "the user asks about {c}", "claim": "the text says that {c}"}
    pairs = []
    for example in examples:
        group = example.kind.partition(",")[0]
        condition = said.get(group, "{c}").format(c=example.scope.text)
        pairs.append((example.query, LanguagePatch(condition=condition, consequence='say "yes"')))
    found = judged("conditions", pairs)
    holds = np.array([example.label == "same" for example in examples], dtype=bool)
    groups = np.array([example.kind.partition(",")[0] for example in examples])
    for group, name in _CONDITIONS:
        mine = groups == group
        positives, negatives = found.probability[mine & holds], found.probability[mine & ~holds]
        what = f"{name} conditions held out"
        report.rows += [
            Row(f"{what}: recall at 0.01 false hits",
                recall_at_rate(positives, negatives, 0.01), least=0.8),
            Row(f"{what}: hold, found", share(found.fires[mine & holds])),
            Row(f"{what}: do not hold, taken to", share(found.fires[mine & ~holds])),
        ]  # fmt: skip
        if group in said:  # what rules decide has no curve
            report.samples.append(Sample.of(what, positives, negatives))
    kinds: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for example, fires in zip(examples, found.fires.tolist(), strict=True):
        kinds[example.label, example.kind].append(fires)
    for (label, kind), hits in sorted(kinds.items(), reverse=True):
        report.kinds.append(Kind("conditions held out", label, kind, share(hits)))
