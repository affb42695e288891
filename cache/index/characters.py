"""Candidates by characters, for text of unknown tokens: 斑马 and 熊猫 have one encoding.

The postings are never changed once built, so that copies share them: additions go into a small
tail, removals leave a tombstone, and at a fifth of both the postings are rebuilt.
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from errata.cache.text.normalize import normalize_query

_LEAST_TAIL = 256


def bigrams(text: str) -> frozenset[str]:
    """Return the pairs of neighbouring characters of a normalized text; of one character, itself.

    :param text: a text that :func:`errata.cache.text.normalize.normalize_query` returned.
    """
    if len(text) < 2:
        return frozenset([text] if text else [])
    return frozenset(text[place : place + 2] for place in range(len(text) - 1))


@dataclass(frozen=True, slots=True)
class _Postings:
    """The rows with each bigram; never changed once built."""

    ids: tuple[str, ...] = ()
    sizes: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    rows: Mapping[str, NDArray[np.intp]] = field(default_factory=dict)


class CharacterIndex:
    """Finds the same text, or texts that share many bigrams."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._same: dict[str, tuple[str, ...]] = {}
        self._main = _Postings()
        self._tail: dict[str, frozenset[str]] = {}
        self._dead: set[str] = set()

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._texts)

    def copy(self) -> CharacterIndex:
        """Return an independent index."""
        other = CharacterIndex()
        other._texts = dict(self._texts)
        other._same = dict(self._same)
        other._main = self._main
        other._tail = dict(self._tail)
        other._dead = set(self._dead)
        return other

    def add(self, texts: Mapping[str, str]) -> None:
        """Add texts by id, replacing those of ids that are present.

        :param texts: id to text.
        """
        self.remove(texts)
        for key, text in texts.items():
            folded = normalize_query(text)
            self._texts[key] = folded
            self._same[folded] = (*self._same.get(folded, ()), key)
            self._tail[key] = bigrams(folded)
        self._compact()

    def remove(self, ids: Iterable[str]) -> int:
        """Remove texts; unknown ids are skipped.

        :return: how many were removed.
        """
        count = 0
        for key in ids:
            folded = self._texts.pop(key, None)
            if folded is None:
                continue
            count += 1
            others = tuple(other for other in self._same[folded] if other != key)
            if others:
                self._same[folded] = others
            else:
                del self._same[folded]
            if self._tail.pop(key, None) is None:
                self._dead.add(key)
        self._compact()
        return count

    def same(self, text: str) -> tuple[str, ...]:
        """Return the ids whose text is the same once normalized, in the order they were added."""
        return self._same.get(normalize_query(text), ())

    def search(
        self, text: str, k: int, allowed: Container[str] | None = None
    ) -> list[tuple[str, float]]:
        """Return the k nearest ids by Dice's coefficient of bigrams, best first.

        :param text: any text.
        :param k: how many at most.
        :param allowed: ids to search among; all unless given.
        :return: id and coefficient, 0 < coefficient <= 1.
        """
        wanted = bigrams(normalize_query(text))
        found: list[tuple[str, float]] = []
        for key, score in self._main_scores(wanted):
            if len(found) == k:
                break
            if key not in self._dead and (allowed is None or key in allowed):
                found.append((key, score))
        for key, pairs in self._tail.items():
            count = len(wanted & pairs)
            if count and (allowed is None or key in allowed):
                found.append((key, 2 * count / (len(wanted) + len(pairs))))
        return heapq.nsmallest(k, found, key=lambda item: (-item[1], item[0]))

    def _main_scores(self, wanted: frozenset[str]) -> Iterator[tuple[str, float]]:
        """Yield id and coefficient of the postings' rows that share a bigram, best first."""
        main = self._main
        lists = [main.rows[pair] for pair in wanted if pair in main.rows]
        if not lists:
            return
        shared = np.bincount(np.concatenate(lists), minlength=len(main.ids))
        scores = 2 * shared / (len(wanted) + main.sizes)
        for row in np.argsort(-scores, kind="stable")[: np.count_nonzero(shared)].tolist():
            yield main.ids[row], float(scores[row])

    def _compact(self) -> None:
        if len(self._tail) + len(self._dead) <= max(_LEAST_TAIL, len(self._main.ids) // 5):
            return
        rows: dict[str, list[int]] = {}
        sizes = []
        for row, text in enumerate(self._texts.values()):
            pairs = bigrams(text)
            sizes.append(len(pairs))
            for pair in pairs:
                rows.setdefault(pair, []).append(row)
        postings = {pair: np.array(each, dtype=np.intp) for pair, each in rows.items()}
        self._main = _Postings(tuple(self._texts), np.array(sizes, dtype=np.intp), postings)
        self._tail = {}
        self._dead = set()
