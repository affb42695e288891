"""Whether a freely generated answer is right."""

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
