"""Candidates by what texts are made of: the same words, a named answer, or characters.

The postings are never changed once built, so that copies share them: additions go into a small
tail, removals leave a tombstone, and at a fifth of both the postings are rebuilt.
"""

from __future__ import annotations

import copy
import heapq
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from errata.cache.records import Edit, Fact
from errata.cache.text.normalize import LONGEST, normalize_query, rough_key, word_ngrams

_LEAST_TAIL = 256
_MARKS = ',;:!?()[]"“”„«»…'
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese letters."""
Terms = frozenset[str]


def bigrams(text: str) -> Terms:
    """Return the pairs of neighbouring characters of a normalized text; of one character, itself.

    :param text: a text that :func:`errata.cache.text.normalize.normalize_query` returned.
    """
    if len(text) < 2:
        return frozenset([text] if text else [])
    return frozenset(text[place : place + 2] for place in range(len(text) - 1))


@lru_cache(maxsize=65536)
def words_of(text: str) -> Terms:
    """Return the words of a text, folded; of a word in a script without spaces, its bigrams."""
    key = rough_key(text)
    if key.isascii():
        return frozenset(key.split())
    found: set[str] = set()
    for word in key.split():
        found |= bigrams(word) if _WITHOUT_SPACES.search(word) else {word}
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Postings:
    """The rows with each term; never changed once built."""

    texts: tuple[str, ...] = ()
    sizes: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    rows: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)


class TermIndex(ABC):
    """Finds texts by the terms they share with a query; a subclass says which, and what they count.

    Safe to search while a copy is changed.
    """

    def __init__(self) -> None:
        self._texts: dict[str, Terms] = {}
        self._main = _Postings()
        self._tail: dict[str, Terms] = {}
        self._dead: set[str] = set()

    @staticmethod
    @abstractmethod
    def terms(text: str) -> Terms:
        """Return the terms of a text."""

    @abstractmethod
    def weight(self, count: int) -> float:
        """Return what a term counts that so many texts have."""

    @abstractmethod
    def scores(
        self, shared: NDArray[np.float64], sizes: NDArray[np.intp], query: int
    ) -> NDArray[np.float64]:
        """Return scores of texts, float64 [n].

        :param shared: the weight of the terms that each shares with the query, [n].
        :param sizes: terms of each, [n].
        :param query: terms of the query.
        """

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._texts)

    def copy(self) -> Self:
        """Return an independent index."""
        other = copy.copy(self)
        other._texts, other._tail, other._dead = {**self._texts}, {**self._tail}, {*self._dead}
        return other

    def add(self, texts: Iterable[str]) -> None:
        """Add texts; those that are present are skipped."""
        for text in texts:
            if text not in self._texts:
                self._texts[text] = self._tail[text] = self.terms(text)
        self._compact()

    def remove(self, texts: Iterable[str]) -> int:
        """Remove texts; unknown ones are skipped.

        :return: how many were removed.
        """
        count = 0
        for text in texts:
            if self._texts.pop(text, None) is not None:
                count += 1
                if self._tail.pop(text, None) is None:
                    self._dead.add(text)
        self._compact()
        return count

    def search(
        self, text: str, k: int, allowed: Callable[[str], bool] | None = None
    ) -> list[tuple[str, float]]:
        """Return the k best texts that share a term, best first.

        :param text: any text.
        :param k: how many at most.
        :param allowed: whether a text may be found; all unless given.
        :return: text and score, above 0.
        """
        wanted, postings = self.terms(text), self._main.rows
        weights = {term: self.weight(len(postings.get(term, ()))) for term in wanted}
        found: list[tuple[str, float]] = []
        for key, score in self._main_scores(weights):
            if len(found) == k:
                break
            if key not in self._dead and (allowed is None or allowed(key)):
                found.append((key, score))
        if self._tail:
            tail = self._tail_scores(weights)
            found += (pair for pair in tail if allowed is None or allowed(pair[0]))
        return heapq.nsmallest(k, found, key=lambda item: (-item[1], item[0]))

    def _main_scores(self, weights: Mapping[str, float]) -> Iterator[tuple[str, float]]:
        """Yield the postings' texts that share a term, with their scores, best first."""
        main = self._main
        lists = {term: main.rows[term] for term in weights if term in main.rows}
        if not lists:
            return
        shared = np.zeros(len(main.texts))
        for term, rows in lists.items():
            shared[rows] += weights[term]
        rows = np.flatnonzero(shared)
        scores = self.scores(shared[rows], main.sizes[rows], len(weights))
        for at in np.argsort(-scores, kind="stable").tolist():
            yield main.texts[rows[at]], float(scores[at])

    def _tail_scores(self, weights: Mapping[str, float]) -> list[tuple[str, float]]:
        found = [(key, terms & weights.keys(), len(terms)) for key, terms in self._tail.items()]
        found = [one for one in found if one[1]]
        shared = np.array([sum(weights[term] for term in terms) for _, terms, _ in found])
        sizes = np.array([size for _, _, size in found], dtype=np.intp)
        scores = self.scores(shared, sizes, len(weights)).tolist() if found else []
        return [(key, score) for (key, _, _), score in zip(found, scores, strict=True)]

    def _compact(self) -> None:
        if len(self._tail) + len(self._dead) <= max(_LEAST_TAIL, len(self._main.texts) // 5):
            return
        rows: dict[str, list[int]] = {}
        for row, terms in enumerate(self._texts.values()):
            for term in terms:
                rows.setdefault(term, []).append(row)
        postings = {term: np.array(each, dtype=np.intp) for term, each in rows.items()}
        sizes = np.array([len(terms) for terms in self._texts.values()], dtype=np.intp)
        self._main = _Postings(tuple(self._texts), sizes, postings)
        self._tail, self._dead = {}, set()


class CharacterIndex(TermIndex):
    """Finds texts by Dice's coefficient of their bigrams, for text of unknown tokens.

    斑马 and 熊猫 have one encoding.
    """

    def __init__(self) -> None:
        super().__init__()
        self._same: dict[str, tuple[str, ...]] = {}

    @staticmethod
    def terms(text: str) -> Terms:
        """Return the bigrams of the normalized text."""
        return bigrams(normalize_query(text))

    def weight(self, count: int) -> float:
        """Return 1."""
        return 1.0

    def scores(
        self, shared: NDArray[np.float64], sizes: NDArray[np.intp], query: int
    ) -> NDArray[np.float64]:
        """Return Dice's coefficients, 0 to 1."""
        return 2 * shared / (query + sizes)

    def copy(self) -> Self:
        """Return an independent index."""
        other = super().copy()
        other._same = dict(self._same)
        return other

    def add(self, texts: Iterable[str]) -> None:
        """Add texts; those that are present are skipped."""
        new = [text for text in texts if text not in self._texts]
        for text in new:
            key = rough_key(text)
            self._same[key] = (*self._same.get(key, ()), text)
        super().add(new)

    def remove(self, texts: Iterable[str]) -> int:
        """Remove texts; unknown ones are skipped."""
        gone = [text for text in texts if text in self._texts]
        for text in gone:
            key = rough_key(text)
            self._same[key] = tuple(other for other in self._same[key] if other != text)
            if not self._same[key]:
                del self._same[key]
        return super().remove(gone)

    def same(self, text: str) -> tuple[str, ...]:
        """Return the texts with the same letters and digits, in the order they were added."""
        return self._same.get(rough_key(text), ())

    def spellings(self) -> Collection[tuple[str, ...]]:
        """Return the texts, those with the same letters and digits together."""
        return self._same.values()


class WordIndex(TermIndex):
    """Finds texts by the words they share with a query, by BM25 (Robertson and Zaragoza 2009).

    A word counts by how few texts have it. It occurs in a question once, as good as always, so
    that its frequency in a text counts as 1.

    :param length_share: b, how much a text's length counts, 0 to 1.
    :param saturation: k1.
    """

    def __init__(self, length_share: float = 0.75, saturation: float = 1.2) -> None:
        super().__init__()
        self.length_share, self.saturation = length_share, saturation

    terms = staticmethod(words_of)

    def weight(self, count: int) -> float:
        """Return the inverse document frequency."""
        return math.log1p((len(self._texts) - count + 0.5) / (count + 0.5))

    def scores(
        self, shared: NDArray[np.float64], sizes: NDArray[np.intp], query: int
    ) -> NDArray[np.float64]:
        """Return BM25 scores."""
        mean = max(1.0, float(self._main.sizes.mean()) if len(self._main.sizes) else 1.0)
        long = 1 - self.length_share + self.length_share * sizes / mean
        return shared * (self.saturation + 1) / (1 + self.saturation * long)


class AnswerIndex:
    """Finds the facts whose answer a text mentions; never changed once built.

    "What is Gitega the capital of?" does not name the country.

    In languages without spaces, such as Chinese, only a text equal to the answer mentions it.

    :param edits: all edits; facts with ``forget`` are left out.
    """

    def __init__(self, edits: Iterable[Edit]) -> None:
        self._ids: dict[tuple[str, ...], list[str]] = {}
        for edit in edits:
            if isinstance(edit, Fact) and not edit.forget:
                words = answer_words(edit.answer)
                if 0 < len(words) <= LONGEST:
                    self._ids.setdefault(words, []).append(edit.id)

    def mentioned(self, text: str) -> set[str]:
        """Return the ids of the facts whose answer is a word n-gram of a text.

        :param text: any text.
        """
        return {key for run in word_ngrams(bare_words(text)) for key in self._ids.get(run, ())}


@lru_cache(maxsize=65536)
def answer_words(answer: str) -> tuple[str, ...]:
    """Return the words by which a text mentions an answer, without a leading article."""
    words = bare_words(answer)
    return words[1:] if words[:1] == ("the",) else words


def bare_words(text: str) -> tuple[str, ...]:
    """Return the normalized words of a text without marks around them or a possessive's ending."""
    bare = (word.lstrip(_MARKS).rstrip(f"{_MARKS}.") for word in normalize_query(text).split())
    return tuple(word.removesuffix("'s").removesuffix("’s") for word in bare if word)
