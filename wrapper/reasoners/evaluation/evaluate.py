"""Evaluating a reasoner: free generation with the right edit given, each kind of query apart."""

from __future__ import annotations

import copy
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.patches.kinds import context
from errata.cache.text.answer_match import normalize_answer
from errata.facts import FactSource
from errata.facts.table import Split
from errata.generation.judge import names
from errata.intervals import Rate, rate
from errata.reasoners.base_answers import BATCH, DEFAULT_CONFIG, base_answers
from errata.reasoners.data.dataset import ExampleGenerator
from errata.reasoners.data.examples import KINDS, YES_NO, ReasonerExample
from errata.reasoners.evaluation.judge import polarity

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel
    from errata.reasoners.base import Reasoner

    AnswerFunction = Callable[[Sequence[ReasonerExample], Sequence[str]], list[str]]
    """Takes examples and a query of each, and returns the answers."""


def evaluation_set(
    source: FactSource, split: Split, per_kind: int, seed: int = 0
) -> list[ReasonerExample]:
    """Return distinct examples of every kind, in phrasings and with objects held out of training.

    :param source: facts, sentences and aliases.
    :param split: of the subjects and objects.
    :param per_kind: examples of each kind; fewer where the table has no more.
    :param seed: of the draw.
    """
    out = []
    for kind in KINDS:
        # a generator for each kind, so that no kind depends on the number of another's
        rng = random.Random(f"exam/{seed}/{kind}")
        generator = ExampleGenerator(source, split, rng, unseen=True)
        found: dict[ReasonerExample, None] = {}
        for _ in range(per_kind * 5):
            example = generator.example(kind)
            if example is None or len(found) == per_kind:
                break
            found[example] = None
        out += list(found)
    return out


class Evaluator:
    """Examples with their targets, some of which are the base model's answers.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param examples: the examples; those that require knowledge the base lacks are left out.
    :param sentences: answers are sentences of a chat model, right if they name the target; of a
        yes-or-no question, if they begin with it. Where no edit governs the query, the whole
        answer is compared in any case.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        examples: Sequence[ReasonerExample],
        *,
        sentences: bool = False,
    ) -> None:
        self._sentences = sentences
        queries = {one.query for one in examples if one.answer is None}
        queries |= {one.known[0] for one in examples if one.known}
        self._base_answers = base_answers(base, tokenizer, sorted(queries))
        self.examples = [one for one in examples if self._base_knows(one)]

    def _base_knows(self, example: ReasonerExample) -> bool:
        """Return whether the base model has the knowledge that an example requires."""
        if example.known is None:
            return True
        question, answer = example.known
        return self._right(self._base_answers[question], answer)

    def _right(self, text: str, target: str) -> bool:
        if not self._sentences:
            return normalize_answer(text) == normalize_answer(target)
        form = polarity(target)
        return names(text, target) if form is None else polarity(text) is form

    def target(self, example: ReasonerExample) -> str:
        """Return the right answer; where no edit governs the query, the base model's."""
        return self._base_answers[example.query] if example.answer is None else example.answer

    def outcomes(self, answer: AnswerFunction) -> dict[str, list[bool]]:
        """Return for each kind which examples were answered correctly.

        A yes-or-no example is correct if both its true and its false form are.

        :param answer: answers the examples.
        """
        answers = answer(self.examples, [one.query for one in self.examples])
        two_forms = [one for one in self.examples if one.false_query]
        false_answers = dict(
            zip(
                map(id, two_forms),
                answer(two_forms, [one.false_query or "" for one in two_forms]),
                strict=True,
            )
        )
        found: dict[str, list[bool]] = defaultdict(list)
        for example, text in zip(self.examples, answers, strict=True):
            if example.answer is None:
                correct = normalize_answer(text) == normalize_answer(self.target(example))
            else:
                correct = self._right(text, example.answer)
            if example.kind == YES_NO and example.false_query:
                false_answer = false_answers[id(example)]
                correct = correct and any(self._right(false_answer, no) for no in ("no", "不是"))
            found[example.kind].append(correct)
        return dict(found)


def greedy_answers(reasoner: Reasoner, base: GenerativeModel) -> AnswerFunction:
    """Return a function that answers examples by a reasoner, greedily.

    :param reasoner: the reasoner.
    :param base: the base model, whose generation config it gets.
    """
    config = copy.deepcopy(base.generation_config)
    config.do_sample, config.num_beams, config.num_return_sequences = False, 1, 1
    config.max_new_tokens = DEFAULT_CONFIG.max_new_tokens

    def answer(examples: Sequence[ReasonerExample], queries: Sequence[str]) -> list[str]:
        order = sorted(range(len(queries)), key=lambda i: _length(examples[i], queries[i]))
        out = [""] * len(queries)
        for start in range(0, len(order), BATCH):
            chunk = order[start : start + BATCH]
            edits = [examples[i].edits for i in chunk]
            answers = reasoner.answer([queries[i] for i in chunk], edits, config)
            for i, texts in zip(chunk, answers, strict=True):
                out[i] = texts[0]
        return out

    return answer


def _length(example: ReasonerExample, query: str) -> int:
    return len(query) + sum(len(context(edit)) for edit in example.edits)


def rates(outcomes: dict[str, list[bool]]) -> dict[str, Rate]:
    """Return the rate of each kind, those of ``KINDS`` first and in their order."""
    kinds = dict.fromkeys((*KINDS, *outcomes))
    return {kind: rate(outcomes[kind]) for kind in kinds if outcomes.get(kind)}
