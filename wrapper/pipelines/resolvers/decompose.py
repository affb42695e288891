"""A query put a step further: an edit's answer where the words stood that ask for it.

"What do people pay with where pizza comes from?" follows from an edit that says where pizza comes
from. With "Benin" where the words stood that the edit answers, it is a question that the base model
knows how to answer, or another edit does: the chain is taken apart, as MeLLo (Zhong et al. 2023)
has a large model do by a prompt. Here the gate tells which words those are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from errata.cache.errors import EditError
from errata.cache.records import Fact
from errata.cache.text.spacing import word_pattern
from errata.cache.text.subject import Span, span_of, subject_of

OwnQuestionScores = Callable[[Sequence[str]], Sequence[float]]
"""Tells of each of n texts how likely it asks the edit's own question, 0 to 1."""

SURE = 0.8
"""Probability from which words ask an edit's question. Words that do are at 0.99 and above."""
BEFORE, BEHIND = 70, 4
"""Characters before the subject at most, and words behind it."""
LONGEST = 8
"""Words of an answer that is put in a query."""

_WORD = re.compile(r"[^\s?.,:;!()\[\]\"“”？。，！]+")
_PAUSE = re.compile(r"[?!:;()\[\]\"“”？。，！]|[,.] ")
_OWNS = ("'s", "’s")


def decompose(query: str, fact: Fact, asks: OwnQuestionScores) -> str | None:
    """Return the query about what a fact answers, None where no words in it ask for that.

    :param query: follows from the fact.
    :param fact: what is taken for granted.
    :param asks: tells which words ask the fact's question.
    """
    answer = fact.answer.strip().rstrip(".")
    if not answer or len(answer.split()) > LONGEST or _PAUSE.search(answer):
        return None  # a sentence stands for nothing
    if re.search(word_pattern(answer), query, re.IGNORECASE):
        return None  # who names the answer does not ask for it
    try:
        subject = subject_of(fact)
    except EditError:
        return None
    span = span_of(subject, query) or span_of(subject.removeprefix("the "), query)
    if span is None:
        return None
    spans = list(_phrases(query, span))
    sure = asks([query[start:end] for start, end in spans]) if spans else []
    best = max(range(len(spans)), key=lambda at: sure[at], default=None)
    if best is None or sure[best] < SURE:
        return None
    start, end = spans[best]
    return f"{query[:start]}{answer}{query[end:]}"


def _phrases(query: str, subject: Span) -> Iterator[Span]:
    """Yield the phrases that might name something by way of a subject.

    "the country where X lies", "X's capital": from an article before it, or from the subject
    itself, to the subject or a few words behind, without a pause between.
    """
    found = [match.span() for match in _WORD.finditer(query)]
    starts = [a for a, b in found if query[a:b].casefold() == "the" and a < subject[0]]
    ends = [b for _, b in found if b > subject[1]][:BEHIND]
    for start in (*(a for a in starts if subject[0] - a <= BEFORE), subject[0]):
        for end in (subject[1], *ends):
            phrase = query[start:end]
            around = f"{query[start : subject[0]]} {query[subject[1] : end]}"
            if (start, end) != subject and not _PAUSE.search(around) and phrase[-2:] not in _OWNS:
                yield start, end
