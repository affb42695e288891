"""Whether a freely generated answer is right, as a whole or as a sentence that names it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from errata.cache.text.answer_match import normalize_words

_STOP = re.compile(r"[.](?=\s|$)|[。]")


def is_right(answer: str, expected: Sequence[str]) -> bool:
    """Return whether the whole answer is one of those expected.

    The answer ends at the first line end, or at a full stop: whichever of its full stops makes it
    equal, so that ``St. Louis`` is neither cut to ``St`` nor right for ``St. Petersburg``.

    :param answer: the generated text, up to its line end.
    :param expected: any of them is right.
    """
    wanted = {normalize_words(text) for text in expected} - {""}
    ends = [match.start() for match in _STOP.finditer(answer)]
    return any(normalize_words(answer[:end]) in wanted for end in (*ends, len(answer)))


def names(answer: str, wanted: str) -> bool:
    """Return whether an answer holds the words of a name, in order and without a gap."""
    words, sought = normalize_words(answer).split(), normalize_words(wanted).split()
    starts = range(len(words) - len(sought) + 1)
    return bool(sought) and any(words[i : i + len(sought)] == sought for i in starts)


def is_named(answer: str, expected: Sequence[str], old: str = "") -> bool:
    """Return whether an answer is right, or a sentence that names a right one and not the old one.

    :param answer: the generated text, up to its line end.
    :param expected: any of them is right.
    :param old: what was right before the edit; empty where that is not known.
    """
    if is_right(answer, expected):
        return True
    found = [name for name in expected if names(answer, name)]
    return any(not old or names(name, old) or not names(answer, old) for name in found)
