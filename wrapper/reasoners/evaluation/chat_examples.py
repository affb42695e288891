"""Examples that reasoners of chat models are evaluated on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from errata.cache.records import Fact, LanguagePatch
from errata.facts import FactSource
from errata.facts.names import invented_name
from errata.facts.table import Split
from errata.reasoners.data.examples import (
    EDIT_QUESTION,
    LOCALITY,
    ONE_HOP,
    PARAPHRASE,
    REAL_LOCALITY,
    REAL_PARAPHRASE,
    REVERSED,
    SAY_THAT,
    YES_NO,
    ReasonerExample,
)
from errata.reasoners.data.groups import GroupGenerator, SharedEditGenerator
from errata.reasoners.data.questions import Questions
from errata.reasoners.data.texts import RealTexts

INSTRUCTION = "an instruction followed"
ROWS = (
    EDIT_QUESTION, PARAPHRASE, REAL_PARAPHRASE, YES_NO, ONE_HOP, REVERSED, SAY_THAT, INSTRUCTION,
    LOCALITY, REAL_LOCALITY,
)  # fmt: skip
"""As in the report."""
_CANDIDATES = 3
"""Examples drawn for each one wanted where the base has to know something."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction that can be checked.

    :param text: the consequence of a patch, such as ``answer in French``.
    :param check: name of the check (:func:`errata.reasoners.evaluation.judge.follows`).
    :param value: what it checks for.
    """

    text: str
    check: str
    value: str


INSTRUCTIONS = (
    Instruction("answer in French", "language", "french"),
    Instruction("answer in Spanish", "language", "spanish"),
    Instruction("answer in German", "language", "german"),
    Instruction("answer in one sentence", "sentences", "1"),
    Instruction("answer in at most twelve words", "words", "12"),
    Instruction("answer in capital letters only", "upper", ""),
    Instruction("answer with a list of bullet points", "list", ""),
    Instruction('use the word "certainly"', "uses", "certainly"),
    Instruction('begin the answer with "Dear friend"', "begins", "dear friend"),
    Instruction('do not use the word "the"', "avoids", "the"),
)


def chat_examples(
    source: FactSource, texts: RealTexts | None, per_row: int, seed: int = 0, split: Split = "test"
) -> dict[str, list[ReasonerExample]]:
    """Return the examples of each row, in phrasings held out of training.

    A row that needs files of texts is empty without them. The first examples of a row do not depend
    on ``per_row``, so that answers to them can be kept.

    :param source: facts, sentences and aliases.
    :param texts: of real people.
    :param per_row: examples of each row; of one hop three times as many, for the base does not know
        the second step of all.
    :param seed: of the draws.
    :param split: of subjects, objects, questions and intents.
    """
    texts = texts or RealTexts()
    questions = texts.questions(split)
    near = list(questions.different)
    every = list(questions.same)
    rngs = {row: random.Random(f"chat/{seed}/{row}") for row in ROWS}
    draws: dict[str, Draw] = {
        kind: partial(SharedEditGenerator(source, split, rngs[kind], unseen=True).example, kind)
        for kind in (EDIT_QUESTION, PARAPHRASE, YES_NO, ONE_HOP, REVERSED, LOCALITY)
    }
    held_out = split == "test"
    statements = GroupGenerator(source, split, rngs[SAY_THAT], texts, held_out=held_out)
    draws[SAY_THAT] = statements.say_that
    if every:
        draws[REAL_PARAPHRASE] = partial(_paraphrase, questions, every, rngs[REAL_PARAPHRASE])
        draws[INSTRUCTION] = partial(_instructed, every, rngs[INSTRUCTION])
    if near:
        draws[REAL_LOCALITY] = partial(_different, questions, near, rngs[REAL_LOCALITY])
    counts = dict.fromkeys(ROWS, per_row) | {ONE_HOP: _CANDIDATES * per_row}
    found = {row: _distinct(draws[row], counts[row]) for row in ROWS if row in draws}
    return {row: examples for row, examples in found.items() if examples}


def text_examples(
    source: FactSource, texts: RealTexts | None, per_row: int, split: Split
) -> list[ReasonerExample]:
    """Return the examples of the rows that are made of texts, without instructions.

    :param source: facts, sentences and aliases.
    :param texts: of real people; None: there are none.
    :param per_row: examples of each row.
    :param split: of questions and intents.
    """
    if texts is None:
        return []
    found = chat_examples(source, texts, per_row, split=split)
    rows = (REAL_PARAPHRASE, SAY_THAT, REAL_LOCALITY)
    return [one for row in rows for one in found.get(row, ())]


Draw = Callable[[], ReasonerExample | None]


def _distinct(draw: Draw, count: int) -> list[ReasonerExample]:
    """Return examples of which no two ask the same under an edit of the same question."""
    made: dict[tuple[str, ...], ReasonerExample] = {}
    for _ in range(count * 5):
        example = draw()
        if example is not None:
            scopes = (edit.scope for edit in example.edits)
            made.setdefault((example.query, *scopes), example)
        if len(made) == count:
            break
    return list(made.values())


def _paraphrase(questions: Questions, pool: Sequence[str], rng: random.Random) -> ReasonerExample:
    question = rng.choice(pool)
    answer = invented_name(rng)
    edit = Fact(question, answer)
    return ReasonerExample(REAL_PARAPHRASE, (edit,), rng.choice(questions.same[question]), answer)


def _different(questions: Questions, pool: Sequence[str], rng: random.Random) -> ReasonerExample:
    question = rng.choice(pool)
    edit = Fact(question, invented_name(rng))
    return ReasonerExample(REAL_LOCALITY, (edit,), rng.choice(questions.different[question]), None)


def _instructed(pool: Sequence[str], rng: random.Random) -> ReasonerExample:
    """Return an example whose ``known`` is the instruction in the query, for the base."""
    instruction, query = rng.choice(INSTRUCTIONS), rng.choice(pool)
    edit = LanguagePatch("the user asks a question", instruction.text)
    told = f"{query} {instruction.text[:1].upper()}{instruction.text[1:]}."
    mark = f"{instruction.check}:{instruction.value}"
    return ReasonerExample(INSTRUCTION, (edit,), query, mark, (told, mark))
