"""Suites of messages by intent: FAQ patches, conditions, clusters, listed examples."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from errata.cache.records import Edit, Fact, LanguagePatch, PatchTests
from errata.cache.text.normalize import normalize_query
from errata.gates.data.outside import OUT_OF_SCOPE as OOS_INTENT
from errata.gates.data.outside import OutsideData, held_out
from errata.gates.data.splits import hash_tenth
from errata.gates.evaluation.metrics import threshold_at_rate
from errata.gates.evaluation.outside.config import OutsideConfig
from errata.gates.evaluation.outside.deciders import Decider, Message, Step, Trial, Verdict
from errata.gates.evaluation.outside.suites import (
    CALIBRATION,
    IN_SCOPE,
    NONE,
    OUT_OF_SCOPE,
    Suite,
    clustered,
    hit,
    limited,
    margins_of,
    rate_rows,
    shipped_rows,
    values_of,
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
        seen = one.source in config.fitted and not held_out(one.intent)
        if one.intent != OOS_INTENT and not seen:
            texts = found.setdefault(one.source, {}).setdefault(one.intent, {})
            texts.setdefault(normalize_query(one.text), one.text)
    return {
        source: {intent: list(texts.values()) for intent, texts in intents.items()}
        for source, intents in sorted(found.items())
    }


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


def _decide_all(decider: Decider, trials: Sequence[Trial], step: Step) -> list[Verdict]:
    """Return the verdicts on all trials; none where the decider cannot decide."""
    found: list[Verdict] = []
    for trial in trials:
        found += decider.decide(trial, step) or []
    return found


def faq_suites(data: OutsideData, pool: Pool, config: OutsideConfig) -> list[Suite]:
    """Return a suite for each source of intents: one and three examples a patch."""
    return [
        _examples_suite(f"FAQ, {source}", texts, pool, config, range(config.seeds), config.intents)
        for source, texts in by_intent(data, config).items()
    ]


def cluster_suites(data: OutsideData, pool: Pool, config: OutsideConfig) -> list[Suite]:
    """Return the suite of clusters of questions on one topic, if the data have any.

    Questions that are alone in their cluster are near, and out of scope of all.
    """
    clusters = data.clusters or {}
    alone = [texts[0] for texts in clusters.values() if len(texts) == 1]
    near = [Message(text, part="near") for text in alone]
    count = sum(len(texts) > config.examples for texts in clusters.values())
    if not count:
        return []
    seeds = range(config.cluster_seeds)
    return [_examples_suite("question clusters", clusters, pool, config, seeds, count, near)]


def _examples_suite(
    name: str,
    texts: Texts,
    pool: Pool,
    config: OutsideConfig,
    seeds: Sequence[int],
    count: int,
    near: Sequence[Message] = (),
) -> Suite:
    config = replace(config, intents=count)
    trials = {
        taught: limited(
            [
                draw_trial(texts, pool, faq_patch, taught, config, seed, config.per_intent)
                for seed in seeds
            ],
            config.rows,
        )
        for taught in (1, config.examples)
    }
    for some in trials.values():
        some[0] = Trial(some[0].edits, (*some[0].messages, *near))

    def measure(decider: Decider, step: Step) -> list[Row]:
        rows, outside = [], []
        for taught, some in trials.items():
            verdicts = _decide_all(decider, some, step)
            if not verdicts:
                return []
            what = f"{name}, {taught} example{'s' if taught > 1 else ''}"
            rows += [*rate_rows(what, verdicts, config.rate), *shipped_rows(what, verdicts)]
            if near:
                alone = clustered(verdicts, hit, "near")
                rows.append(Row(f"{what}: hits on questions of no cluster", alone))
            outside.append(values_of(verdicts, hit, OUT_OF_SCOPE))
        change = difference(outside[1], outside[0]) or NONE
        what = f"out-of-scope hits, {config.examples} examples minus one"
        return [*rows, Row(f"{name}: {what}", change)]

    return Suite(name, sum(len(t.messages) for some in trials.values() for t in some), measure)


def condition_suites(data: OutsideData, pool: Pool, config: OutsideConfig) -> list[Suite]:
    """Return a suite for each source: conditions on an intent, without and with examples."""
    return [
        _condition_suite(source, texts, pool, config)
        for source, texts in by_intent(data, config).items()
    ]


def _condition_suite(source: str, texts: Texts, pool: Pool, config: OutsideConfig) -> Suite:
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

    def measure(decider: Decider, step: Step) -> list[Row]:
        rows = []
        for taught, some in trials.items():
            verdicts = _decide_all(decider, some, step)
            if not verdicts:
                return []
            what = f"conditions, {source}, {taught or 'no'} examples"
            rows += _condition_rows(what, verdicts, config.rate)
        return rows

    total = sum(len(trial.messages) for some in trials.values() for trial in some)
    return Suite(f"conditions, {source}", total, measure)


def _condition_rows(what: str, verdicts: Sequence[Verdict], rate: float) -> list[Row]:
    """Return how often the right condition holds, alone or among others, and false hits."""
    rows = [
        Row(f"{what}: holds", clustered(
            verdicts, lambda one: one.message.right in one.fired, IN_SCOPE)),
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
    trials = []
    for source, texts in by_intent(data, config).items():
        for seed in range(config.listed_seeds):
            trials.append(_listed_trial(f"{source}/{seed}", texts, config))
    if not trials:
        return []
    trials = limited(trials, config.rows)
    return [Suite("listed", sum(len(trial.messages) for trial in trials), partial(_listed, trials))]


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


def _listed(trials: Sequence[Trial], decider: Decider, step: Step) -> list[Row]:
    verdicts = _decide_all(decider, trials, step)
    if not verdicts:
        return []

    def fires(one: Verdict) -> bool:
        return one.message.right in one.fired

    return [
        Row("listed: question and `fires` fire", clustered(verdicts, fires, "fires"), least=1.0),
        Row("listed: `silent` fire", clustered(verdicts, fires, "silent"), most=0.0),
    ]
