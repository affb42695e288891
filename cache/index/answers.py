"""Finding facts by their answer: "What is Gitega the capital of?" does not name the country."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from errata.cache.records import Edit, Fact
from errata.cache.text.normalize import LONGEST, normalize_query, word_ngrams

_MARKS = ',;:!?()[]"“”„«»…'


class AnswerIndex:
    """Finds the facts whose answer is mentioned in a text; never changed once built.

    In languages without spaces, such as Chinese, only a text equal to the answer mentions it.

    :param edits: all edits; facts with ``forget`` are left out.
    """

    def __init__(self, edits: Iterable[Edit]) -> None:
        self._ids: dict[tuple[str, ...], list[str]] = {}
        for edit in edits:
            if isinstance(edit, Fact) and not edit.forget:
                words = _words_of(edit.answer)
                if 0 < len(words) <= LONGEST:
                    self._ids.setdefault(words, []).append(edit.id)

    def mentioned(self, text: str) -> set[str]:
        """Return the ids of the facts whose answer is a word n-gram of a text.

        :param text: any text.
        """
        return {key for run in word_ngrams(_words(text)) for key in self._ids.get(run, ())}


@lru_cache(maxsize=65536)
def _words_of(answer: str) -> tuple[str, ...]:
    words = _words(answer)
    return words[1:] if words[:1] == ("the",) else words


def _words(text: str) -> tuple[str, ...]:
    bare = (word.lstrip(_MARKS).rstrip(f"{_MARKS}.") for word in normalize_query(text).split())
    return tuple(word.removesuffix("'s").removesuffix("’s") for word in bare if word)
