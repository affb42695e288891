"""Deterministic judgements of a chat model's answers."""

from __future__ import annotations

import re

from errata.cache.text.answer_match import normalize_answer, normalize_words
from errata.gates.conditions.language import language_of
from errata.generation.judge import names
from errata.reasoners.data.examples import ReasonerExample

_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")
_ITEM = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+")


def polarity(answer: str) -> bool | None:
    """Return whether an answer begins with yes, or with no; None where with neither."""
    first = normalize_words(answer).split()[:1]
    return {"yes": True, "no": False}.get(first[0]) if first else None


def follows(answer: str, mark: str) -> bool:
    """Return whether an answer follows an instruction.

    :param answer: the answer.
    :param mark: name of a check, a colon, and its value.
    """
    check, _, value = mark.partition(":")
    words = answer.split()
    if not words:
        return False
    if check == "language":
        return language_of(answer) == value
    if check == "sentences":
        return len(_SENTENCE_END.findall(answer.strip())) <= int(value) and "\n" not in answer
    if check == "words":
        return len(words) <= int(value)
    if check == "upper":
        return answer.isupper()
    if check == "list":
        return sum(bool(_ITEM.match(line)) for line in answer.splitlines()) >= 2
    if check == "begins":
        return normalize_words(answer).startswith(value)
    return names(answer, value) if check == "uses" else not names(answer, value)


def right(example: ReasonerExample, answer: str, false_answer: str, base_answer: str) -> bool:
    """Return whether an example is answered correctly.

    :param example: the example; where no edit governs its query, the base's answer is the right
        one, word for word.
    :param answer: to its query.
    :param false_answer: to the false form of a yes-or-no question.
    :param base_answer: of the base model without any edit, where no edit governs the query.
    """
    if example.answer is None:
        return normalize_answer(answer) == normalize_answer(base_answer)
    if example.false_query is not None:
        return polarity(answer) is True and polarity(false_answer) is False
    if not names(answer, example.answer):
        return False
    old = example.old
    return not old or names(example.answer, old) or not names(answer, old)
