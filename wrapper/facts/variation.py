"""Phrasings as people type them: introduced, careless, or with words missing.

With words missing at random, no single word of a phrasing carries the relation alone, so that
phrasings never seen are understood from what they share with those seen.
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
    """Return a question as people type it: introduced, careless, or with words missing.

    :param question: a question, its subject in it.
    :param subject: what is never touched.
    """
    way = rng.random()
    if way < 0.1:
        return f"{rng.choice(_OPENINGS)} {question}"
    if way < 0.16:
        return question.rstrip("?.").lower()
    if way > 0.45:
        return question
    return missing_words(question, subject, rng)


def varied_head(head: str, subject: str, rng: random.Random) -> str:
    """Return the beginning of a statement as people write it: introduced, or with words missing.

    :param head: a statement up to its object.
    :param subject: what is never touched.
    """
    way = rng.random()
    if way < 0.12:
        named = head.startswith(subject)
        inner = head if named else head[:1].lower() + head[1:]
        return f"{rng.choice(_INTRODUCTIONS)} {inner}"
    return missing_words(head, subject, rng) if way < 0.5 else head


def missing_words(text: str, subject: str, rng: random.Random) -> str:
    """Return a text with words missing or exchanged at random, its subject untouched."""
    before, found, after = text.partition(subject)
    if not found:
        return text
    drop = rng.choice((0.1, 0.2, 0.35))
    mark = after[-1:] if after[-1:] in "?." else ""
    kept = [_thinned(part, drop, rng) for part in (before, after.removesuffix(mark))]
    return (" ".join(p for p in (kept[0], subject, kept[1]) if p) + mark).replace(" 's", "'s")


def _thinned(text: str, drop: float, rng: random.Random) -> str:
    words = [w if rng.random() > drop / 3 else rng.choice(_NOISE) for w in text.split()]
    return " ".join(word for word in words if rng.random() > drop)
