"""Examining a reasoner: free generation, the right edit given, each kind of question apart."""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.kinds import context
from errata.facts import FactSource
from errata.facts.table import Split
from errata.reasoners.decoding import decode
from errata.reasoners.lessons import KINDS, YES_NO, Lesson
from errata.reasoners.prompts import Prompter
from errata.reasoners.teacher import Teacher
from errata.statistics import Rate, rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedTokenizerBase

    from errata.base import GenerativeModel

NEW_TOKENS = 24
BATCH = 64


def exam(source: FactSource, split: Split, each: int, seed: int = 0) -> list[Lesson]:
    """Return questions of every kind, none twice, in phrasings and with objects never taught.

    :param source: facts, sentences and aliases.
    :param split: whose subjects and objects are used.
    :param each: of each kind; fewer where the table has no more.
    """
    out = []
    for kind in KINDS:
        # Each kind draws for itself, so that no figure depends on how many of another were asked.
        teacher = Teacher(source, split, random.Random(f"exam/{seed}/{kind}"), unseen=True)
        found: dict[Lesson, None] = {}
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
        lessons: Sequence[Lesson],
    ) -> None:
        asked = {le.query for le in lessons if le.answer is None}
        asked |= {le.known[0] for le in lessons if le.known}
        self._alone = base_answers(base, tokenizer, sorted(asked))
        self.lessons = [le for le in lessons if self._known(le)]

    def _known(self, lesson: Lesson) -> bool:
        """Tell whether the base knows by itself what the lesson takes for granted."""
        if lesson.known is None:
            return True
        question, answer = lesson.known
        return normal(self._alone[question]) == normal(answer)

    def expected(self, lesson: Lesson) -> str:
        """Return the right answer; where no edit matters, what the base says alone."""
        return self._alone[lesson.query] if lesson.answer is None else lesson.answer

    def outcomes(
        self, answer: Callable[[Sequence[Lesson], Sequence[str]], list[str]]
    ) -> dict[str, list[bool]]:
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
            right = normal(text) == normal(self.expected(lesson))
            if lesson.kind == YES_NO and lesson.false_query:
                right = right and normal(denied[id(lesson)]) in ("no", "不是")
            found[lesson.kind].append(right)
        return dict(found)


def reader(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, prompter: Prompter, *,
    foreign: bool = False, aside: Callable[[Sequence[str]], dict[str, str]] | None = None,
    reluctance: float = 0.0,
) -> Callable[[Sequence[Lesson], Sequence[str]], list[str]]:  # fmt: skip
    """Return a function that answers lessons by a model with the edits in its prompt.

    :param aside: answers the queries to which the model says nothing.
    :param reluctance: log-odds taken off saying nothing.
    """

    def answer(lessons: Sequence[Lesson], queries: Sequence[str]) -> list[str]:
        prompts = [
            prompter.ids([context(edit) for edit in lesson.edits], query, NEW_TOKENS)
            for lesson, query in zip(lessons, queries, strict=True)
        ]
        said = greedy(
            model, tokenizer, prompts, one_line=not prompter.chat, foreign=foreign,
            reluctance=reluctance,
        )  # fmt: skip
        unsaid = sorted({query for query, text in zip(queries, said, strict=True) if not text})
        others = aside(unsaid) if aside is not None and unsaid else {}
        return [text or others.get(query, "") for query, text in zip(queries, said, strict=True)]

    return answer


def base_answers(
    base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, queries: Sequence[str]
) -> dict[str, str]:
    """Return what the base model says to each query, no edit in its prompt."""
    prompter = Prompter(tokenizer)
    prompts = [prompter.plain_ids(query) for query in queries]
    said = greedy(base, tokenizer, prompts, one_line=not prompter.chat)
    return dict(zip(queries, said, strict=True))


def greedy(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    one_line: bool,
    foreign: bool = False,
    reluctance: float = 0.0,
) -> list[str]:
    """Return greedy answers, in order; prompts of like length share a batch."""
    config = copy.deepcopy(model.generation_config)
    config.do_sample, config.num_beams, config.num_return_sequences = False, 1, 1
    config.max_new_tokens = NEW_TOKENS
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out = [""] * len(prompts)
    for start in range(0, len(order), BATCH):
        chunk = order[start : start + BATCH]
        said = decode(
            model, tokenizer, [prompts[i] for i in chunk], config,
            one_line=one_line, foreign=foreign, reluctance=reluctance,
        )  # fmt: skip
        for i, texts in zip(chunk, said, strict=True):
            out[i] = texts[0]
    return out


def figures(outcomes: dict[str, list[bool]]) -> dict[str, Rate]:
    """Return the rate of each kind, in the order of ``KINDS``."""
    return {kind: rate(outcomes[kind]) for kind in KINDS if outcomes.get(kind)}


def normal(text: str) -> str:
    """Return an answer as it is compared: no full stop at its end, case and spaces aside."""
    return " ".join(text.strip().rstrip(".。").split()).casefold()
