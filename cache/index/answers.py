"""Facts found by their answer: whoever asks what Gitega is the capital of names no country."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from errata.cache.records import Edit, Fact
from errata.cache.text.normalize import LONGEST, normalize_query, word_ngrams

_MARKS = ',;:!?()[]"“”„«»…'


class AnswerIndex:
    """Finds the facts whose answer a text names; never changed once built.

    Where words are not spaced, as in Chinese, only a text that is the answer names it.

    :param edits: all edits; what is to be forgotten has no answer to be found by.
    """

    def __init__(self, edits: Iterable[Edit]) -> None:
        self._ids: dict[tuple[str, ...], list[str]] = {}
        for edit in edits:
            if isinstance(edit, Fact) and not edit.forget:
                words = _words_of(edit.answer)
                if 0 < len(words) <= LONGEST:
                    self._ids.setdefault(words, []).append(edit.id)

    def named(self, text: str) -> set[str]:
        """Return the ids of the facts whose answer stands in a text, as words of their own.

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
