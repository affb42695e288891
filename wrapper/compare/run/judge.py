"""Whether a freely generated answer is right."""

from __future__ import annotations

import re
from collections.abc import Sequence

from errata.cache.text.normalize import normalize

_ARTICLES = frozenset({"a", "an", "the"})
_MARKS = ".,;:!?\"'“”‘’()[]。，、；：！？（）"
_STOP = re.compile(r"[.](?=\s|$)|[。]")


def normalised(text: str) -> str:
    """Return an answer in the form that is compared.

    Case, articles, spaces, and marks at the ends of words are ignored (Yang et al. 2025, "The
    mirage of model editing": the protocol they call WILD).
    """
    words = (word.strip(_MARKS) for word in normalize(text).split())
    return " ".join(word for word in words if word and word not in _ARTICLES)


def is_right(answer: str, expected: Sequence[str]) -> bool:
    """Return whether the whole answer is one of those expected.

    The answer ends at the first line end, or at a full stop: whichever of its full stops makes it
    equal, so that ``St. Louis`` is neither cut to ``St`` nor right for ``St. Petersburg``.

    :param answer: the generated text, up to its line end.
    :param expected: any of them is right.
    """
    wanted = {normalised(text) for text in expected} - {""}
    ends = [match.start() for match in _STOP.finditer(answer)]
    return any(normalised(answer[:end]) in wanted for end in (*ends, len(answer)))
