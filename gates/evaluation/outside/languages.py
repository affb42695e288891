"""Suites in other languages than English, and across two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from errata.cache.records import Edit, Fact
from errata.gates.data.languages import (
    Part,
    Question,
    SourcedPair,
    parallel_part,
    template_questions,
)
from errata.gates.data.outside import OutsideData
from errata.gates.evaluation.outside.config import OutsideConfig
from errata.gates.evaluation.outside.deciders import Decider, Message, Step, Trial, Verdict
from errata.gates.evaluation.outside.pairs import OTHER, SAME, TUNE, accuracy, labelled
from errata.gates.evaluation.outside.suites import (
    CALIBRATION,
    IN_SCOPE,
    OUT_OF_SCOPE,
    Measurement,
    Suite,
    clustered,
    decided,
    hit,
    limited,
    rate_rows,
    shipped_rows,
)
from errata.gates.evaluation.report import Row
from errata.gates.evaluation.trials import question_only

PREFIX = "languages: "
"""Of the names of these suites."""
NAMES = {"zh": "Chinese", "de": "German", "fr": "French", "es": "Spanish"}
_AIMS = {"lcqmc": 0.84, "bq": 0.78}
_SORTS = {"rewordings": "found", "other relation": "false hits", "other subject": "false hits"}


def language_suites(data: OutsideData, config: OutsideConfig) -> list[Suite]:
    """Return the suites in other languages, where the data have any."""
    suites = []
    if data.chinese or data.parallel:
        for language, name in NAMES.items():
            prepare = partial(_prepare_facts, language, name, config)
            suites.append(Suite(f"{PREFIX}facts in {name}", prepare))
    for source in dict.fromkeys(one.source for one in data.chinese.get("test", ())):
        prepare = partial(_prepare_pairs, source, data, config)
        suites.append(Suite(f"{PREFIX}pairs, {source}", prepare))
    if data.chinese:
        prepare = partial(_prepare_patches, data, config)
        suites.append(Suite(f"{PREFIX}Chinese patches", prepare))
    if data.parallel:
        prepare = partial(_prepare_parallel, data, config)
        suites.append(Suite(f"{PREFIX}another language than the patch's", prepare))
    return suites


def _prepare_facts(language: str, name: str, config: OutsideConfig) -> Measurement:
    """Return template facts of a language, each against rewordings and neighbours.

    The edit is worded as the first template; the others ask for it, for another relation of its
    subject, and for another subject.
    """
    questions = [one for one in template_questions("test") if one.language == language]
    pairs: list[tuple[Message, Edit]] = []
    for one in questions:
        if one.wording == 0:
            edit = Fact(one.text, "an answer", subject=one.name)
            for part, query in _about(one, questions):
                right = edit.id if part == "rewordings" else ""
                pairs.append((Message(query.text, right, part, one.fact), edit))
    trial = Trial((), tuple(message for message, _ in pairs))
    kept = set(limited([trial], config.rows)[0].messages)
    pairs = [pair for pair in pairs if pair[0] in kept]
    return Measurement(len(pairs), partial(_fact_rows, pairs, name))


def _about(edit: Question, questions: Sequence[Question]) -> list[tuple[str, Question]]:
    """Return rewordings of an edit, and questions about its neighbours, with their part."""
    same = [one for one in questions if one.fact == edit.fact and one.wording]
    relations = [
        one
        for one in questions
        if (one.kind, one.subject) == (edit.kind, edit.subject) and one.relation != edit.relation
    ]
    subjects = [
        one
        for one in questions
        if (one.kind, one.relation) == (edit.kind, edit.relation) and one.subject != edit.subject
    ]
    step = max(1, len(subjects) // 3)
    return [
        *(("rewordings", one) for one in same),
        *(("other relation", one) for one in relations[:: max(1, len(relations) // 3)][:3]),
        *(("other subject", one) for one in subjects[::step][:3]),
    ]


def _fact_rows(
    pairs: Sequence[tuple[Message, Edit]], name: str, decider: Decider, step: Step
) -> list[Row]:
    verdicts = decider.decide_pairs(pairs, step)
    if verdicts is None:
        return []
    return [
        Row(
            f"facts in {name}, {sort}: {what}",
            clustered(verdicts, hit, sort),
            least=0.85 if what == "found" else None,
            most=None if what == "found" else 0.03,
        )
        for sort, what in _SORTS.items()
    ]


def _prepare_pairs(source: str, data: OutsideData, config: OutsideConfig) -> Measurement:
    """Return labelled pairs of a source, and of the tune split for the threshold of accuracy."""

    def some(part: Part, most: int) -> list[SourcedPair]:
        return [one for one in data.chinese.get(part, ()) if one.source == source][:most]

    test = labelled([one.pair for one in some("test", config.labelled)], "")
    tune = labelled([one.pair for one in some("tune", config.labelled_tune)], TUNE)
    pairs = [*test, *tune]
    return Measurement(len(pairs), partial(_pair_rows, pairs, source))


def _pair_rows(
    pairs: Sequence[tuple[Message, Edit]],
    source: str,
    decider: Decider,
    step: Step,
) -> list[Row]:
    verdicts = decider.decide_pairs(pairs, step)
    if verdicts is None:
        return []
    name = f"Chinese pairs, {source}"
    return [
        Row(f"{name}: accuracy", accuracy(verdicts), least=_AIMS.get(source)),
        Row(f"{name}: same found", clustered(verdicts, hit, SAME)),
        Row(f"{name}: different, false hits", clustered(verdicts, hit, OTHER)),
    ]


def _prepare_patches(data: OutsideData, config: OutsideConfig) -> Measurement:
    """Return questions of LCQMC as patches that are in force together.

    Messages in scope are the other questions of *same* pairs; out of scope are questions of pairs
    whose questions are no patch's.
    """
    pairs = [one.pair for one in data.chinese["test"] if one.source == "lcqmc"][: config.labelled]
    same = [pair for pair in pairs if pair.same][: config.rows]
    edits = {pair.b: question_only(pair.b) for pair in same}
    taken = {text for pair in same for text in (pair.a, pair.b)}
    messages = [
        Message(pair.a, edits[pair.b].id, IN_SCOPE, pair.b) for pair in same if pair.a not in edits
    ]
    strangers = dict.fromkeys(
        text for pair in pairs for text in (pair.a, pair.b)
        if not {pair.a, pair.b} & taken
    )  # fmt: skip
    messages += [Message(text, "", OUT_OF_SCOPE) for text in strangers]
    trials = limited([Trial(tuple(edits.values()), tuple(messages))], config.rows)
    rows = partial(shipped_rows, f"{len(edits)} Chinese patches in force")
    return Measurement.of(trials, _rows_of(rows))


def _prepare_parallel(data: OutsideData, config: OutsideConfig) -> Measurement:
    """Return questions in English as patches, and as messages the same in other languages.

    Half of the measured questions are patches while the other half is out of scope, and the other
    way round; those that tune are out of scope and give the threshold of a stated rate.
    """
    rows = list(data.parallel)
    test = [row for row in rows if parallel_part(row) == "test"]
    tune = [row for row in rows if parallel_part(row) == "tune"]
    trials = []
    for turn in (0, 1):
        own, other = test[turn::2], test[1 - turn :: 2]
        edits = {row["en"]: question_only(row["en"]) for row in own}
        messages = [
            Message(row[language], edits[row["en"]].id if part == IN_SCOPE else "", part, row["en"])
            for part, some in ((IN_SCOPE, own), (OUT_OF_SCOPE, other), (CALIBRATION, tune))
            for row in some
            for language in config.languages
            if language in row
        ]
        trials.append(Trial(tuple(edits.values()), tuple(messages)))
    what = "another language than the patch's"

    def figures(verdicts: Sequence[Verdict]) -> list[Row]:
        return [*rate_rows(what, verdicts, config.rate), *shipped_rows(what, verdicts)]

    return Measurement.of(trials, _rows_of(figures))


def _rows_of(
    rows: Callable[[Sequence[Verdict]], list[Row]],
) -> Callable[[Sequence[Trial], Decider, Step], list[Row]]:
    return partial(decided, rows)
