"""Answers, compared."""

from __future__ import annotations

UNINFORMATIVE = frozenset({
    "", "yes", "no", "yes, it is", "no, it is not", "no, it isn't", "i don't know", "i do not know",
    "i'm not sure", "unknown", "none", "n/a", "是", "不是", "是的", "对", "不", "我不知道",
    "不知道",
})  # fmt: skip
"""Answers that questions share by chance."""


def normalize_answer(text: str) -> str:
    """Return an answer as it is compared: no full stop at its end, case and spaces aside."""
    return " ".join(text.strip().rstrip(".。").split()).casefold()


def same_answer(one: str, other: str) -> bool:
    """Tell whether two answers are the same, and say something."""
    return (
        normalize_answer(one) == normalize_answer(other)
        and normalize_answer(one) not in UNINFORMATIVE
    )
