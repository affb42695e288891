"""Augmentation of questions and statements: introductions, careless typing, word dropout.

With word dropout no single word of a phrasing carries the relation, so a model generalises to
phrasings that share only some words with those it was trained on.
"""

from __future__ import annotations

import random

_OPENINGS = (
    "Please tell me:", "Quick question:", "Hello!", "Hi,", "For my homework:", "I wonder:", "Say,",
    "One more thing:", "Help me out:", "Excuse me,", "Now,", "Next question:", "Thanks.",
)  # fmt: skip
_INTRODUCTIONS = (
    "In fact,", "As you know,", "I read that", "People say that", "It is known that", "Note:",
    "As far as I know,", "To begin with,", "We learned that", "By the way,", "Everyone knows:",
)  # fmt: skip
_NOISE = (
    "the", "a", "of", "please", "really", "now", "this", "that", "it", "is", "one", "thing", "for",
    "me", "you", "when", "so", "just", "again", "called", "about", "here", "as", "with", "on",
)  # fmt: skip


def varied_question(question: str, subject: str, rng: random.Random) -> str:
    """Return a question unchanged, introduced, lower-cased, or with words dropped.

    :param question: a question that names the subject.
    :param subject: kept as it is by word dropout.
    """
    draw = rng.random()
    if draw < 0.1:
        return f"{rng.choice(_OPENINGS)} {question}"
    if draw < 0.16:
        return question.rstrip("?.").lower()
    if draw > 0.45:
        return question
    return drop_words(question, subject, rng)


def varied_head(head: str, subject: str, rng: random.Random) -> str:
    """Return a cloze unchanged, introduced, or with words dropped.

    :param head: a statement up to its object.
    :param subject: kept as it is.
    """
    draw = rng.random()
    if draw < 0.12:
        named = head.startswith(subject)
        inner = head if named else head[:1].lower() + head[1:]
        return f"{rng.choice(_INTRODUCTIONS)} {inner}"
    return drop_words(head, subject, rng) if draw < 0.5 else head


def drop_words(text: str, subject: str, rng: random.Random) -> str:
    """Return a text with random words dropped or replaced, its subject kept."""
    before, found, after = text.partition(subject)
    if not found:
        return text
    rate = rng.choice((0.1, 0.2, 0.35))
    mark = after[-1:] if after[-1:] in "?." else ""
    kept = [_dropout(part, rate, rng) for part in (before, after.removesuffix(mark))]
    return (" ".join(p for p in (kept[0], subject, kept[1]) if p) + mark).replace(" 's", "'s")


def _dropout(text: str, rate: float, rng: random.Random) -> str:
    words = [w if rng.random() > rate / 3 else rng.choice(_NOISE) for w in text.split()]
    return " ".join(word for word in words if rng.random() > rate)
