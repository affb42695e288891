"""Suites of messages by intent: FAQ patches, conditions, clusters, listed examples."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from errata.cache.records import Edit, Fact, LanguagePatch, PatchTests
from errata.cache.text.normalize import normalize_query
from errata.gates.data.outside import OUT_OF_SCOPE as OOS_INTENT
from errata.gates.data.outside import Intent, OutsideData, held_out
from errata.gates.data.splits import hash_tenth
from errata.gates.evaluation.metrics import threshold_at_rate
from errata.gates.evaluation.outside.config import OutsideConfig
from errata.gates.evaluation.outside.deciders import Decider, Message, Step, Trial, Verdict
from errata.gates.evaluation.outside.suites import (
    CALIBRATION,
    IN_SCOPE,
    NEAR,
    NONE,
    OUT_OF_SCOPE,
    Measurement,
    Suite,
    clustered,
    decided,
    hit,
    limited,
    margins_of,
    rate_rows,
    shipped_rows,
    values_of,
    verdicts_on,
)
from errata.gates.evaluation.report import Row
from errata.gates.text import dice
from errata.intervals import difference

ANSWER = "The support team will help you with this."
"""The answer of every FAQ patch: the data has none, and it says nothing of any intent."""

Texts = Mapping[str, Sequence[str]]
"""Texts by intent or cluster."""
MakeEdit = Callable[[str, Sequence[str]], Edit]
"""An edit of an intent and its examples."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Messages out of scope of all: three parts that share no text."""

    measured: tuple[tuple[str, ...], ...]
    calibration: tuple[tuple[str, ...], ...]
    training: tuple[str, ...]

    def messages(self, rng: random.Random, count: int) -> list[Message]:
        """Return so many messages to measure and as many to calibrate by, sources in equal parts.

        :param rng: of the draw.
        """
        found = []
        for part, sources in ((OUT_OF_SCOPE, self.measured), (CALIBRATION, self.calibration)):
            for texts in sources:
                some = rng.sample(texts, min(len(texts), count // len(sources)))
                found += [Message(text, part=part) for text in some]
        return found


def out_of_scope_pool(data: OutsideData, config: OutsideConfig) -> Pool:
    """Return the messages out of scope of all, by the tenth of their hash.

    CLINC150's ``oos`` and open questions; tenths 0 to 3 measured, 4 to 7 for calibration, the
    rest for training the logistic regression.
    """
    oos = [one.text for one in data.intents if one.intent == OOS_INTENT]
    sources = [texts for texts in (oos, list(data.open_questions)) if texts]

    def tenths(low: int, high: int) -> tuple[tuple[str, ...], ...]:
        return tuple(
            tuple(text for text in texts if low <= hash_tenth(text) <= high) for texts in sources
        )

    training = tuple(text for texts in tenths(8, 9) for text in texts[: config.trained])
    return Pool(tenths(0, 3), tenths(4, 7), training)


def by_intent(data: OutsideData, config: OutsideConfig) -> dict[str, dict[str, list[str]]]:
    """Return the texts of each source and intent, no two alike, without those out of scope.

    Of a source that gates are fitted on, the intents that are held out.
    """
    found: dict[str, dict[str, dict[str, str]]] = {}
    for one in data.intents:
        if _measured(one, config):
            texts = found.setdefault(one.source, {}).setdefault(one.intent, {})
            texts.setdefault(normalize_query(one.text), one.text)
    return {
        source: {intent: list(texts.values()) for intent, texts in intents.items()}
        for source, intents in sorted(found.items())
    }


def _measured(one: Intent, config: OutsideConfig) -> bool:
    """Return whether a message is of an intent that is measured."""
    fitted = one.source in config.fitted and not held_out(one.intent)
    return one.intent != OOS_INTENT and not fitted


def faq_patch(intent: str, examples: Sequence[str]) -> Fact:
    """Return a FAQ patch: the first example as its question, the others as its ``fires``."""
    return Fact(examples[0], ANSWER, tests=PatchTests(fires=tuple(examples[1:])))


def condition_patch(intent: str, examples: Sequence[str]) -> LanguagePatch:
    """Return a condition on an intent's name, with the examples as its ``fires``."""
    condition = f"the user asks about {intent}"
    return LanguagePatch(condition, f'say "{ANSWER}"', tests=PatchTests(fires=tuple(examples)))


def draw_trial(
    texts: Texts,
    pool: Pool,
    make: MakeEdit,
    taught: int,
    config: OutsideConfig,
    seed: int,
    per_intent: int,
) -> Trial:
    """Return a trial about some intents.

    Queries and messages out of scope are the same for any number of examples.

    :param make: an edit of its examples.
    :param taught: examples of each edit.
    :param seed: of the intents, their examples and the queries.
    :param per_intent: queries of each intent.
    """
    rng = random.Random(f"{config.seed}/{seed}")
    fitting = sorted(intent for intent, some in texts.items() if len(some) > config.examples)
    edits, messages = [], []
    for intent in rng.sample(fitting, min(config.intents, len(fitting))):
        shuffled = rng.sample(texts[intent], len(texts[intent]))
        edit = make(intent, shuffled[:taught])
        edits.append(edit)
        queries = shuffled[config.examples : config.examples + per_intent]
        messages += [Message(text, edit.id, IN_SCOPE, f"{seed}/{intent}") for text in queries]
    return Trial(tuple(edits), (*messages, *pool.messages(rng, config.out_of_scope)))


def faq_suites(data: OutsideData, pool: Pool, config: OutsideConfig) -> list[Suite]:
    """Return a suite for each source of intents: one and three examples a patch."""
    return [
        Suite(f"FAQ, {source}", partial(_prepare_faq, source, data, pool, config))
        for source in _sources(data, config)
    ]


def _sources(data: OutsideData, config: OutsideConfig) -> list[str]:
    """Return the sources of :func:`by_intent`."""
    return sorted({one.source for one in data.intents if _measured(one, config)})


def _prepare_faq(source: str, data: OutsideData, pool: Pool, config: OutsideConfig) -> Measurement:
    """Return trials of some intents of a source."""
    texts = by_intent(data, config)[source]
    trials = _taught_trials(texts, pool, range(config.seeds), config)
    return _taught(f"FAQ, {source}", trials, config)


def cluster_suites(data: OutsideData, pool: Pool, config: OutsideConfig) -> list[Suite]:
    """Return the suite of clusters of questions on one topic, if the data have any."""
    clusters = data.clusters or {}
    if not any(len(texts) > config.examples for texts in clusters.values()):
        return []
    return [Suite("question clusters", partial(_prepare_clusters, clusters, pool, config))]


def _prepare_clusters(clusters: Texts, pool: Pool, config: OutsideConfig) -> Measurement:
    """Return trials of all clusters.

    Questions that are alone in their cluster are near, and out of scope of all.
    """
    near = tuple(Message(texts[0], part=NEAR) for texts in clusters.values() if len(texts) == 1)
    count = sum(len(texts) > config.examples for texts in clusters.values())
    sized = replace(config, intents=count)
    trials = _taught_trials(clusters, pool, range(config.cluster_seeds), sized)
    for some in trials.values():
        some[0] = Trial(some[0].edits, (*some[0].messages, *near))
    return _taught("question clusters", trials, config)


def _taught_trials(
    texts: Texts, pool: Pool, seeds: Sequence[int], config: OutsideConfig
) -> dict[int, list[Trial]]:
    """Return trials by the number of examples: one, and all."""
    return {
        taught: limited(
            [
                draw_trial(texts, pool, faq_patch, taught, config, seed, config.per_intent)
                for seed in seeds
            ],
            config.rows,
        )
        for taught in (1, config.examples)
    }


def _taught(name: str, trials: Mapping[int, list[Trial]], config: OutsideConfig) -> Measurement:
    every = [trial for some in trials.values() for trial in some]
    measure = partial(_taught_rows, name, trials, config)
    return Measurement(sum(len(trial.messages) for trial in every), measure)


def _taught_rows(
    name: str,
    trials: Mapping[int, list[Trial]],
    config: OutsideConfig,
    decider: Decider,
    step: Step,
) -> list[Row]:
    """Return the rows of each number of examples, and what they change out of scope."""
    rows, outside = [], []
    for taught, some in trials.items():
        verdicts = verdicts_on(decider, some, step)
        if not verdicts:
            return []
        what = f"{name}, {taught} example{'s' if taught > 1 else ''}"
        rows += [*rate_rows(what, verdicts, config.rate), *shipped_rows(what, verdicts)]
        if any(one.message.part == NEAR for one in verdicts):
            alone = clustered(verdicts, hit, NEAR)
            rows.append(Row(f"{what}: hits on questions of no cluster", alone))
        outside.append(values_of(verdicts, hit, OUT_OF_SCOPE))
    change = difference(outside[1], outside[0]) or NONE
    what = f"out-of-scope hits, {config.examples} examples minus one"
    return [*rows, Row(f"{name}: {what}", change)]


def out_of_scope_suites(data: OutsideData, pool: Pool, config: OutsideConfig) -> list[Suite]:
    """Return the suite of messages out of scope of all, with the patches of all sources in force.

    The same messages without and with examples; 30 for each seed give 300.
    """
    if not _sources(data, config) or not any(pool.measured):
        return []
    return [Suite("out of scope", partial(_prepare_out_of_scope, data, pool, config))]


def _prepare_out_of_scope(data: OutsideData, pool: Pool, config: OutsideConfig) -> Measurement:
    """Return trials by the number of examples of every patch."""
    sources = by_intent(data, config).values()
    trials: dict[int, list[Trial]] = {1: [], config.examples: []}
    for seed in range(config.seeds):
        outside = pool.messages(random.Random(f"{config.seed}/out/{seed}"), config.out_of_scope)
        messages = tuple(one for one in outside if one.part == OUT_OF_SCOPE)
        for taught, some in trials.items():
            drawn = [draw_trial(texts, pool, faq_patch, taught, config, seed, 0)
                     for texts in sources]  # fmt: skip
            edits = {edit.id: edit for trial in drawn for edit in trial.edits}
            some.append(Trial(tuple(edits.values()), messages))
    total = sum(len(trial.messages) for some in trials.values() for trial in some)
    return Measurement(total, partial(_out_of_scope_rows, trials))


def _out_of_scope_rows(
    trials: Mapping[int, list[Trial]], decider: Decider, step: Step
) -> list[Row]:
    """Return the hits of each number of examples, and the change."""
    rows, hits = [], []
    for taught, some in trials.items():
        verdicts = verdicts_on(decider, some, step)
        if not verdicts:
            return []
        what = "the question alone" if taught == 1 else f"{taught} examples"
        rows.append(Row(f"out of scope of all patches, {what}: hits", clustered(verdicts, hit)))
        hits.append(values_of(verdicts, hit))
    change = difference(hits[1], hits[0], share=True) or NONE
    return [*rows, Row("out of scope of all patches: change by examples", change,
                       most=0.0, covers=True)]  # fmt: skip


def condition_suites(data: OutsideData, pool: Pool, config: OutsideConfig) -> list[Suite]:
    """Return a suite for each source: conditions on an intent, without and with examples."""
    return [
        Suite(f"conditions, {source}", partial(_prepare_conditions, source, data, pool, config))
        for source in _sources(data, config)
    ]


def _prepare_conditions(
    source: str, data: OutsideData, pool: Pool, config: OutsideConfig
) -> Measurement:
    """Return trials of conditions on some intents of a source, by the number of examples."""
    texts = by_intent(data, config)[source]
    trials = {
        taught: limited(
            [
                draw_trial(texts, pool, condition_patch, taught, config, seed, config.per_condition)
                for seed in range(config.condition_seeds)
            ],
            config.rows,
        )
        for taught in (0, config.examples)
    }
    total = sum(len(trial.messages) for some in trials.values() for trial in some)
    return Measurement(total, partial(_conditions, source, trials, config))


def _conditions(
    source: str,
    trials: Mapping[int, list[Trial]],
    config: OutsideConfig,
    decider: Decider,
    step: Step,
) -> list[Row]:
    """Return the rows of each number of examples."""
    rows = []
    for taught, some in trials.items():
        what = f"conditions, {source}, {taught or 'no'} examples"
        rows += decided(partial(_condition_rows, what, config.rate), some, decider, step)
    return rows


def _condition_rows(what: str, rate: float, verdicts: Sequence[Verdict]) -> list[Row]:
    """Return how often the right condition holds, alone or among others, and false hits."""
    rows = [
        Row(f"{what}: holds", clustered(
            verdicts, _right_fires, IN_SCOPE)),
        Row(f"{what}: out-of-scope hits", clustered(verdicts, hit, OUT_OF_SCOPE)),
    ]  # fmt: skip
    calibration = margins_of(verdicts, CALIBRATION)
    if len(calibration):
        at = threshold_at_rate(calibration, rate)
        held = clustered(verdicts, lambda one: one.right_margin >= at, IN_SCOPE)
        rows.append(Row(f"{what}, at {rate:.0%} out-of-scope hits: holds", held))
    return rows


def listed_suites(data: OutsideData, config: OutsideConfig) -> list[Suite]:
    """Return the suite of listed examples, typed as they are listed.

    A patch lists two ``fires``, and as ``silent`` the two messages of intents without a patch that
    share most words with its question.
    """
    if not _sources(data, config):
        return []
    return [Suite("listed", partial(_prepare_listed, data, config))]


def _prepare_listed(data: OutsideData, config: OutsideConfig) -> Measurement:
    """Return trials of each source."""
    trials = [
        _listed_trial(f"{source}/{seed}", texts, config)
        for source, texts in by_intent(data, config).items()
        for seed in range(config.listed_seeds)
    ]
    return Measurement.of(limited(trials, config.rows), partial(decided, _listed_rows))


def _listed_trial(name: str, texts: Texts, config: OutsideConfig) -> Trial:
    rng = random.Random(f"{config.seed}/listed/{name}")
    fitting = sorted(intent for intent, some in texts.items() if len(some) > config.examples)
    chosen = rng.sample(fitting, min(config.intents, len(fitting) - len(fitting) // 4))
    others = [text for intent in fitting if intent not in chosen for text in texts[intent]]
    bags = [frozenset(normalize_query(text).split()) for text in others]
    edits: list[Edit] = []
    messages = []
    for intent in chosen:
        own, *fires = rng.sample(texts[intent], config.examples)
        words = frozenset(normalize_query(own).split())
        order = sorted(range(len(others)), key=lambda at: (-dice(words, bags[at]), others[at]))
        silent = [others[at] for at in order[:2]]
        edit = Fact(own, ANSWER, tests=PatchTests(tuple(fires), tuple(silent)))
        edits.append(edit)
        case = f"{name}/{intent}"
        for part, some in (("fires", [own, *fires]), ("silent", silent)):
            messages += [Message(text, edit.id, part, case) for text in some]
    return Trial(tuple(edits), tuple(messages))


def _listed_rows(verdicts: Sequence[Verdict]) -> list[Row]:
    fires = clustered(verdicts, _right_fires, "fires")
    return [
        Row("listed: question and `fires` fire", fires, least=1.0),
        Row("listed: `silent` fire", clustered(verdicts, _right_fires, "silent"), most=0.0),
    ]


def _right_fires(verdict: Verdict) -> bool:
    return verdict.message.right in verdict.fired
