"""Comparing answers."""

from __future__ import annotations

from errata.cache.text.normalize import normalize

UNINFORMATIVE = frozenset({
    "", "yes", "no", "yes, it is", "no, it is not", "no, it isn't", "i don't know", "i do not know",
    "i'm not sure", "unknown", "none", "n/a", "是", "不是", "是的", "对", "不", "我不知道",
    "不知道",
})  # fmt: skip
"""Normalized answers that unrelated questions share."""

_ARTICLES = frozenset({"a", "an", "the"})
_MARKS = ".,;:!?\"'“”‘’()[]。，、；：！？（）"


def normalize_words(text: str) -> str:
    """Return an answer in the form in which free generations are compared.

    Case, articles, spaces, and marks at the ends of words are ignored (Yang et al. 2025, "The
    mirage of model editing": the protocol they call WILD).
    """
    words = (word.strip(_MARKS) for word in normalize(text).split())
    return " ".join(word for word in words if word and word not in _ARTICLES)


def normalize_answer(text: str) -> str:
    """Return an answer normalized, without a full stop at its end."""
    return normalize(text).rstrip(".。").rstrip()


def same_answer(one: str, other: str) -> bool:
    """Return whether two answers are the same and informative."""
    return (
        normalize_answer(one) == normalize_answer(other)
        and normalize_answer(one) not in UNINFORMATIVE
    )
