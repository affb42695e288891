"""Suites of edits that other people's formats hold, paragraphs, many edits, template facts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from errata.cache.records import Edit, Fact, PatchTests
from errata.gates.data.outside import OutsideData, Paragraph, held_out
from errata.gates.data.pairs import split_pairs
from errata.gates.data.questions import QuestionBook
from errata.gates.evaluation.evaluate import HARD
from errata.gates.evaluation.outside.config import OutsideConfig
from errata.gates.evaluation.outside.deciders import (
    Decider,
    GateDecider,
    Message,
    Step,
    Trial,
    Verdict,
)
from errata.gates.evaluation.outside.intents import by_intent, faq_patch
from errata.gates.evaluation.outside.suites import (
    Measurement,
    Suite,
    clustered,
    decided,
    drawn,
    hit,
    right,
)
from errata.gates.evaluation.report import Row
from errata.gates.evaluation.trials import build_trial, question_only
from errata.intervals import share

REWORDED, STATEMENT, CLOZE, QUESTION, NESTED = (
    "reworded", "statement", "other relation, cloze", "other relation, question", "nested",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordCase:
    """An edit of a published format and its texts by part.

    :param edit: the edit.
    :param texts: texts by part: :data:`REWORDED`, :data:`STATEMENT`, ….
    """

    edit: Fact
    texts: Mapping[str, tuple[str, ...]]


def record_suites(
    records: Mapping[str, Sequence[RecordCase]], config: OutsideConfig
) -> list[Suite]:
    """Return a suite for each format, and one with a rewording as a second example.

    :param records: cases by the name of their format.
    """
    suites = []
    for name, cases in records.items():
        taught = [_with_example(one) for one in cases if len(one.texts.get(REWORDED, ())) > 1]
        for what, some in ((name, cases), (f"{name}, 2 examples", taught)):
            if some:
                suites.append(Suite(what, partial(_prepare_records, what, some, config)))
    return suites


def _with_example(case: RecordCase) -> RecordCase:
    """Return a case whose first rewording is listed with its edit."""
    listed, *asked = case.texts[REWORDED]
    edit = replace(case.edit, tests=PatchTests((listed,)))
    return RecordCase(edit, {**case.texts, REWORDED: tuple(asked)})


def _prepare_records(name: str, cases: Sequence[RecordCase], config: OutsideConfig) -> Measurement:
    """Return the edits of a format together, and texts about them."""
    messages = [
        Message(text, one.edit.id, _part(part, text, one.edit), one.edit.id)
        for one in cases
        for part, texts in one.texts.items()
        for text in texts
    ]
    trial = Trial(tuple(one.edit for one in cases), drawn(messages, config.rows))
    return Measurement.of([trial], partial(decided, partial(_record_rows, name)))


def _part(part: str, text: str, edit: Fact) -> str:
    """Return a rewording's part: whether text and edit are questions or clozes."""
    forms = ["question" if one.rstrip().endswith("?") else "cloze" for one in (edit.question, text)]
    return f"{forms[0]} edit, reworded as a {forms[1]}" if part == REWORDED else part


def _record_rows(name: str, verdicts: Sequence[Verdict]) -> list[Row]:
    rows = []
    for part in sorted({one.message.part for one in verdicts}):
        if "reworded" in part:
            rows.append(Row(f"{name}, {part}: found", clustered(verdicts, right, part)))
        elif part == NESTED:
            said = clustered(verdicts, lambda one: one.right and not one.entailed, part)
            entailed = clustered(verdicts, lambda one: one.right and one.entailed, part)
            rows += [
                Row(f"{name}, {part}: stored answer said verbatim", said),
                Row(f"{name}, {part}: taken as entailed", entailed),
            ]
        else:
            rows.append(Row(f"{name}, {part}: false hits", clustered(verdicts, hit, part)))
    return rows


def paragraph_suites(data: OutsideData, config: OutsideConfig) -> list[Suite]:
    """Return the suite of edits whose answer is a paragraph, if the data have any."""
    if not any(held_out(one.question) for one in data.paragraphs):
        return []
    return [Suite("paragraph answers", partial(_prepare_paragraphs, data, config))]


def _prepare_paragraphs(data: OutsideData, config: OutsideConfig) -> Measurement:
    """Return the edits that are held out together, rewordings and questions of detail."""
    paragraphs = [one for one in data.paragraphs if held_out(one.question)]
    edits = {one.question: Fact(one.question, one.answer) for one in paragraphs}
    messages = [text for one in paragraphs for text in _about(one, edits[one.question])]
    trial = Trial(tuple(edits.values()), drawn(messages, config.rows))
    return Measurement.of([trial], partial(decided, _paragraph_rows))


def _paragraph_rows(verdicts: Sequence[Verdict]) -> list[Row]:
    what = "paragraph answers"
    whole = clustered(verdicts, lambda one: one.right and not one.entailed, "detail")
    return [
        Row(f"{what}: rewordings found", clustered(verdicts, right, "reworded"), least=0.8),
        Row(f"{what}: questions of detail found", clustered(verdicts, right, "detail")),
        Row(f"{what}: questions of detail answered by the whole paragraph", whole),
    ]


def _about(paragraph: Paragraph, edit: Edit) -> list[Message]:
    texts = [("reworded", paragraph.rephrase), *(("detail", text) for text in paragraph.details)]
    return [Message(text, edit.id, part, edit.id) for part, text in texts]


def candidate_suites(data: OutsideData, config: OutsideConfig) -> list[Suite]:
    """Return the suite of a large cache of questions that people typed.

    Measured is whether the right edit is among the candidates, before the gate decides.
    """
    if not (data.pairs or data.paragraphs or by_intent(data, config)):
        return []
    return [Suite("candidates", partial(_prepare_candidates, data, config))]


def _prepare_candidates(data: OutsideData, config: OutsideConfig) -> Measurement:
    """Return patches by intent, questions of pairs and of paragraphs, and queries about them."""
    rng = random.Random(f"{config.seed}/many")
    edits, messages = _faq_messages(data, rng, config)
    same = [pair for pair in split_pairs(data.pairs)["test"] if pair.same] if data.pairs else []
    for pair in rng.sample(same, min(2 * config.rows, len(same))):
        edit = question_only(pair.b)
        edits.setdefault(edit.id, edit)
        messages.append(Message(pair.a, edit.id, "question pairs"))
    held = [one for one in data.paragraphs if held_out(one.question)]
    for paragraph in held[: config.rows]:
        edit = Fact(paragraph.question, paragraph.answer)
        edits.setdefault(edit.id, edit)
        messages.append(Message(paragraph.rephrase, edit.id, "paragraph answers"))
    asked = {message.text for message in messages}
    for pair in data.pairs:
        if len(edits) < config.many and pair.b not in asked:
            edits.setdefault(question_only(pair.b).id, question_only(pair.b))
    kept = [one for one in messages if one.part != "FAQ"]
    kept += drawn([one for one in messages if one.part == "FAQ"], config.rows)
    trial = Trial(tuple(edits.values()), tuple(kept))
    return Measurement(len(kept), partial(_candidate_rows, trial))


def _candidate_rows(trial: Trial, decider: Decider, step: Step) -> list[Row]:
    if not isinstance(decider, GateDecider):
        return []
    found = decider.found(trial)
    step(len(found))
    rows = []
    for part in dict.fromkeys(message.part for message, _ in found):
        shares = share([one.right in ids for one, ids in found if one.part == part])
        what = f"right patch among the candidates, {len(trial.edits):,} edits: {part}"
        rows.append(Row(what, shares, least=0.99))
    return rows


def _faq_messages(
    data: OutsideData, rng: random.Random, config: OutsideConfig
) -> tuple[dict[str, Edit], list[Message]]:
    """Return a patch with its examples for every intent, and messages about them."""
    examples = config.examples
    edits: dict[str, Edit] = {}
    messages = []
    for texts in by_intent(data, config).values():
        for intent, some in texts.items():
            if len(some) > examples:
                shuffled = rng.sample(some, examples + 1)
                edit = faq_patch(intent, shuffled[:examples])
                edits[edit.id] = edit
                messages.append(Message(shuffled[examples], edit.id, "FAQ"))
    return edits, messages


def template_suites(config: OutsideConfig) -> list[Suite]:
    """Return the suite of the facts table: test subjects, held-out phrasings."""
    return [Suite("template facts", partial(_prepare_templates, config))]


def _prepare_templates(config: OutsideConfig) -> Measurement:
    """Return facts together, and queries that they govern or nearly govern."""
    book = QuestionBook("test", held_out=True)
    built = build_trial(book, (), size=config.templates, seed=config.seed)
    parts = {"paraphrase": "paraphrase", "entailed": "entailed"}
    messages = [
        Message(one.text, one.edit_id, parts.get(one.label, one.kind), one.about)
        for one in built.queries
    ]
    messages = [
        replace(one, part="neighbour") if one.part in HARD else one
        for one in messages
        if one.part in ("paraphrase", "entailed", *HARD)
    ]
    trial = Trial(built.edits, drawn(messages, config.rows))
    return Measurement.of([trial], partial(decided, _template_rows))


def _template_rows(verdicts: Sequence[Verdict]) -> list[Row]:
    what = "template facts"
    return [
        Row(f"{what}: paraphrases found", clustered(verdicts, right, "paraphrase")),
        Row(f"{what}: entailed questions found", clustered(verdicts, right, "entailed")),
        Row(f"{what}: hard neighbours, false hits", clustered(verdicts, hit, "neighbour")),
    ]
