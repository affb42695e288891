"""Whether the base model answers two questions alike, as a sign that they ask the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from errata.cache.text.answer_match import same_answer
from errata.cache.text.normalize import words_with_offsets
from errata.reasoners.base_answers import (
    DEFAULT_CONFIG,
    AnswerConfig,
    answer_log_probabilities,
    complete_answers,
    mean_token_probability,
)
from errata.reasoners.prompts import Prompter, context_length_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True)
class ConsistencyConfig:
    """When equal answers of a base model are evidence that two questions ask the same.

    :param answers: how the base is asked.
    :param min_evidence: natural log of how many times likelier the shared answer has to be behind
        a question than behind its control (:func:`control`). An answer that the base gives to
        anything of that form, such as "I don't know" in any language, is about 0. Chosen, not
        fitted: the middle of what Kass and Raftery (1995, "Bayes factors") call positive evidence,
        1 to 3.
    :param invented_word: stands in a control; no model has seen it. One with a capital reads as a
        name, which most of the words are that questions differ in.
    :param confidence: geometric mean of the probabilities of an answer's tokens from which the
        base is confident of it; abstention penalties are fitted with this value.
    """

    answers: AnswerConfig = DEFAULT_CONFIG
    min_evidence: float = 2.0
    invented_word: str = "Quorvath"
    confidence: float = 0.8


DEFAULT_CONSISTENCY = ConsistencyConfig()


@dataclass(frozen=True, slots=True)
class Consistency:
    """How the base model's answer to a query compares with its answers to n questions.

    :param agrees: for each question, whether its answer is the same as the query's.
    :param confident: whether the probability of the query's answer reaches
        :attr:`ConsistencyConfig.confidence`.
    """

    agrees: tuple[bool, ...]
    confident: bool


class BaseConsistency:
    """Compares the base model's answers to questions, without any edit.

    A model that knows that Aoraki is Mount Cook answers of both that they lie in New Zealand. The
    answers need not be true: a mistake that an edit corrects is made in all phrasings. Nothing is
    cached, since the base's weights may be edited.

    :param base: the base model; it is called, never changed.
    :param tokenizer: its tokenizer.
    :param config: which equal answers are evidence.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        config: ConsistencyConfig = DEFAULT_CONSISTENCY,
    ) -> None:
        self._base, self._tokenizer, self.config = base, tokenizer, config
        self._prompter, self._context_length = Prompter(tokenizer), context_length_of(base)

    def agrees(self, query: str, questions: Sequence[str]) -> tuple[bool, ...]:
        """Return for each question whether the base answers it as it answers the query.

        See :meth:`agrees_batch`.

        :param query: the query.
        :param questions: n questions.
        """
        return self.agrees_batch([query], [questions])[0]

    def agrees_batch(
        self, queries: Sequence[str], questions: Sequence[Sequence[str]]
    ) -> list[tuple[bool, ...]]:
        """Return for each query which of its questions the base answers as the query.

        Greedily, all texts in one batch. Equal answers count where they depend on the words in
        which query and question differ: see :meth:`evidence`. Texts that do not fit into the
        base's context agree with none.

        :param queries: the queries.
        :param questions: of each query, those it is compared with.
        """
        pairs = [(q, e) for q, some in zip(queries, questions, strict=True) for e in some]
        answers = self._answers([text for pair in pairs for text in pair])
        same = [(q, e) for q, e in dict.fromkeys(pairs) if same_answer(answers[q], answers[e])]
        evidence = self.evidence([(q, e, answers[q]) for q, e in same])
        least = self.config.min_evidence
        agreed = {pair for pair, found in zip(same, evidence, strict=True) if found >= least}
        return [
            tuple((query, one) in agreed for one in some)
            for query, some in zip(queries, questions, strict=True)
        ]

    def evidence(self, shared: Sequence[tuple[str, str, str]]) -> list[float]:
        """Return how far each shared answer depends on the words in which two questions differ.

        The log-likelihood ratio, in nats, of the answer behind a question and behind its control
        (:func:`control`); the lesser of the two questions'. Where the base answers "I don't have
        that information." of the head of sales and of the head of marketing, it does so of the
        head of anything, and the ratio is near 0. Equal questions, which have no control, give
        infinity.

        :param shared: two questions each, and the answer that the base gives to both.
        """
        word = self.config.invented_word
        texts: list[tuple[int, str, str]] = []
        for at, (one, other, _) in enumerate(shared):
            for text, beside in ((one, other), (other, one)):
                against = control(text, beside, word)
                texts += [(at, text, against)] if against != text else []
        scores = answer_log_probabilities(
            self._base, self._tokenizer,
            [(text, shared[at][2]) for at, *both in texts for text in both],
        )  # fmt: skip
        found = [float("inf")] * len(shared)
        for row, (at, _, _) in enumerate(texts):
            found[at] = min(found[at], sum(scores[2 * row]) - sum(scores[2 * row + 1]))
        return found

    def compare(self, query: str, questions: Sequence[str]) -> Consistency:
        """Return which of n questions get the query's answer, and whether that is confident.

        Equal answers count here without further evidence, as when the penalties were fitted.
        """
        answers = self._answers([query, *questions])
        answer = answers[query]
        confident = bool(answer) and self._probability(query, answer) >= self.config.confidence
        agrees = tuple(same_answer(answer, answers[text]) for text in questions)
        return Consistency(agrees, confident)

    def _probability(self, query: str, answer: str) -> float:
        return mean_token_probability(self._base, self._tokenizer, {query: answer})[query]

    def _answers(self, texts: Sequence[str]) -> dict[str, str]:
        """Return the complete answer to each text; empty where the text does not fit."""
        fitting = [text for text in dict.fromkeys(texts) if self._fits(text)]
        found = dict.fromkeys(texts, "")
        if fitting:
            found |= complete_answers(self._base, self._tokenizer, fitting, self.config.answers)
        return found

    def _fits(self, text: str) -> bool:
        length = len(self._prompter.query_ids(text)) + self.config.answers.max_new_tokens
        limit = self._context_length
        return bool(text.strip()) and (limit is None or length <= limit)


def control(text: str, other: str, invented_word: str) -> str:
    """Return a text with an invented word for each run of words that another text lacks.

    "Who is the head of sales?" beside "Who is the head of marketing?" gives "Who is the head of
    Quorvath?"; a text whose words all stand in the other, in that order, is returned as it is.

    :param text: a question.
    :param other: the question it is compared with.
    :param invented_word: the word.
    """
    words = list(words_with_offsets(text))
    matcher = SequenceMatcher(
        None, [word for word, _, _ in words], [word for word, _, _ in words_with_offsets(other)],
        autojunk=False,
    )  # fmt: skip
    for tag, first, last, _, _ in reversed(matcher.get_opcodes()):
        if tag in ("replace", "delete"):
            start, end = words[first][1], words[last - 1][2]
            text = f"{text[:start]}{invented_word}{text[end:]}"
    return text
