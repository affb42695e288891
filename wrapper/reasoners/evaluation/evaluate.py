"""Examining a reasoner: free generation, the right edit given, each kind of question apart."""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.text.answer_match import normalize_answer
from errata.facts import FactSource
from errata.facts.table import Split
from errata.intervals import Rate, rate
from errata.reasoners.base_answers import BATCH, NEW_TOKENS, base_answers
from errata.reasoners.training.dataset import ExampleGenerator
from errata.reasoners.training.examples import KINDS, YES_NO, ReasonerExample

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel
    from errata.reasoners.base import Reasoner

    Answering = Callable[[Sequence[ReasonerExample], Sequence[str]], list[str]]


def exam(source: FactSource, split: Split, each: int, seed: int = 0) -> list[ReasonerExample]:
    """Return questions of every kind, none twice, in phrasings and with objects never taught.

    :param source: facts, sentences and aliases.
    :param split: whose subjects and objects are used.
    :param each: of each kind; fewer where the table has no more.
    """
    out = []
    for kind in KINDS:
        # Each kind draws for itself, so that no figure depends on how many of another were asked.
        teacher = ExampleGenerator(source, split, random.Random(f"exam/{seed}/{kind}"), unseen=True)
        found: dict[ReasonerExample, None] = {}
        for _ in range(each * 5):
            lesson = teacher.lesson(kind)
            if lesson is None or len(found) == each:
                break
            found[lesson] = None
        out += list(found)
    return out


class Examiner:
    """Asks lessons of a model that reads, and of the base model alone what only it can tell.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param lessons: what is asked.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        lessons: Sequence[ReasonerExample],
    ) -> None:
        asked = {le.query for le in lessons if le.answer is None}
        asked |= {le.known[0] for le in lessons if le.known}
        self._alone = base_answers(base, tokenizer, sorted(asked))
        self.lessons = [le for le in lessons if self._known(le)]

    def _known(self, lesson: ReasonerExample) -> bool:
        """Tell whether the base knows by itself what the lesson takes for granted."""
        if lesson.known is None:
            return True
        question, answer = lesson.known
        return normalize_answer(self._alone[question]) == normalize_answer(answer)

    def expected(self, lesson: ReasonerExample) -> str:
        """Return the right answer; where no edit matters, what the base says alone."""
        return self._alone[lesson.query] if lesson.answer is None else lesson.answer

    def outcomes(self, answer: Answering) -> dict[str, list[bool]]:
        """Return, for each kind, which lessons were answered rightly.

        A yes-or-no lesson counts only if the true and the false form are both right.

        :param answer: takes lessons and the query of each, and answers.
        """
        said = answer(self.lessons, [le.query for le in self.lessons])
        doubled = [le for le in self.lessons if le.false_query]
        denied = dict(
            zip(
                map(id, doubled),
                answer(doubled, [le.false_query or "" for le in doubled]),
                strict=True,
            )
        )
        found: dict[str, list[bool]] = defaultdict(list)
        for lesson, text in zip(self.lessons, said, strict=True):
            right = normalize_answer(text) == normalize_answer(self.expected(lesson))
            if lesson.kind == YES_NO and lesson.false_query:
                right = right and normalize_answer(denied[id(lesson)]) in ("no", "不是")
            found[lesson.kind].append(right)
        return dict(found)


def answering(reasoner: Reasoner, base: GenerativeModel) -> Answering:
    """Return a function that answers lessons by a reasoner, greedily.

    :param base: whose generation config it gets.
    """
    config = copy.deepcopy(base.generation_config)
    config.do_sample, config.num_beams, config.num_return_sequences = False, 1, 1
    config.max_new_tokens = NEW_TOKENS

    def answer(lessons: Sequence[ReasonerExample], queries: Sequence[str]) -> list[str]:
        order = sorted(range(len(queries)), key=lambda i: _length(lessons[i], queries[i]))
        out = [""] * len(queries)
        for start in range(0, len(order), BATCH):
            chunk = order[start : start + BATCH]
            edits = [lessons[i].edits for i in chunk]
            said = reasoner.answer([queries[i] for i in chunk], edits, config)
            for i, texts in zip(chunk, said, strict=True):
                out[i] = texts[0]
        return out

    return answer


def _length(lesson: ReasonerExample, query: str) -> int:
    return len(query) + sum(len(edit.question) + len(edit.answer) for edit in lesson.edits)


def figures(outcomes: dict[str, list[bool]]) -> dict[str, Rate]:
    """Return the rate of each kind, in the order of ``KINDS``."""
    return {kind: rate(outcomes[kind]) for kind in KINDS if outcomes.get(kind)}
