"""The search over the edits of a view: candidates of a query, best first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from itertools import islice

import numpy as np

from errata.cache.index.languages import LanguageIndex, MultilingualVectors
from errata.cache.index.search import SearchConfig, SearchIndexes
from errata.cache.index.terms import AnswerIndex
from errata.cache.precedence import EditPredicate, Precedence
from errata.cache.records import Edit, Hit, Query
from errata.cache.segment_view import SegmentView
from errata.cache.text.language import is_english
from errata.cache.text.normalize import compare

Allowed = Callable[[str], bool]
"""Whether the edit of an id may be found."""


class Candidates:
    """Finds the edits in force that may govern a query.

    :param held: those in memory, by id.
    :param by_id: all of them.
    :param indexes: over those in memory.
    :param config: how candidates are found.
    :param precedence: the order among edits of one scope.
    :param multilingual: vectors for texts that are not in English; None: all are read as English.
    :param segment: the edits on disk; None: there are none.
    """

    def __init__(
        self,
        held: Mapping[str, Edit],
        by_id: Mapping[str, Edit],
        indexes: SearchIndexes,
        config: SearchConfig,
        precedence: Precedence,
        multilingual: MultilingualVectors | None,
        segment: SegmentView | None,
    ) -> None:
        self.held, self.by_id, self.config = held, by_id, config
        self._indexes, self._precedence = indexes, precedence
        self._multilingual, self._segment = multilingual, segment

    def search(
        self, queries: Sequence[Query], k: int = 16, only: EditPredicate | None = None
    ) -> list[list[Hit]]:
        """Return the hits of each query, as :meth:`errata.cache.view.View.search` does."""
        by_id = self.by_id
        # the predicate is called once an edit
        allowed = cache(lambda key: key in by_id and (only is None or only(by_id[key])))
        languages = self._languages
        foreign = frozenset() if languages is None else languages.foreign
        english = [query for query in queries if languages is None or is_english(query.text)]

        def both_english(key: str) -> bool:
            return key not in foreign and allowed(key)

        near = zip(english, self._nearest(english, k, both_english), strict=True)
        found = {id(query): self._hits(query, keys, k, both_english) for query, keys in near}
        if languages is None:
            return [found[id(query)] for query in queries]
        return [
            [*found.get(id(query), ()), *self._across(languages, query, k, allowed)]
            for query in queries
        ]

    def _across(
        self, languages: LanguageIndex, query: Query, k: int, allowed: Allowed
    ) -> list[Hit]:
        """Return the hits of which query and edit are not both in English, by its vectors."""
        only = is_english(query.text)
        if only and not languages.foreign:
            return []
        near = set(languages.nearest(query.text, k, allowed, foreign_only=only))
        foreign = languages.foreign
        return self._hits(query, near, k, lambda key: (not only or key in foreign) and allowed(key))

    @cached_property
    def _languages(self) -> LanguageIndex | None:
        if self._multilingual is None:
            return None
        return LanguageIndex(self._multilingual, tuple(self.held.values()), self._indexes.owners)

    def hit(self, query: Query, edit: Edit) -> Hit:
        """Return a fact or language patch in force as a hit, at any distance from the query.

        :param query: encoded by the cache's encoder.
        :param edit: one of :attr:`edits`.
        """
        examples, against = edit.examples, edit.counterexamples
        texts = examples if edit.scope in examples else (*examples, edit.scope)
        elsewhere = self._segment is not None and edit.id not in self.held
        record = self._segment.record(edit.id) if self._segment and elsewhere else None
        vectors = self._indexes.vectors if record is None else record.vectors
        languages = self._languages
        if languages is None or (edit.id not in languages.foreign and is_english(query.text)):
            # the index's scores depend in their last digits on the batch: compute them here
            windows = query.vectors
            rows = np.stack([vectors[text] for text in (*texts, *against)])
        else:
            windows = languages.vectors.of_query(query.text)
            rows = languages.vectors.of_edits((*texts, *against))
        # einsum: BLAS rounds differently in batches of different size
        scores = np.einsum("wd,nd->nw", windows, rows).max(axis=1).clip(-1.0, 1.0).tolist()
        ranked = sorted(zip(texts, scores, strict=False), key=lambda pair: -pair[1])
        same = any(compare(text, query.text) == "same" for text in texts)
        return Hit(
            edit,
            1.0 if same else ranked[0][1],
            vectors[ranked[0][0]],
            tuple(pair for pair in ranked if pair[0] in examples),
            max(scores[len(texts) :], default=-1.0),
        )

    @cached_property
    def _answers(self) -> AnswerIndex:
        return AnswerIndex(self.held.values())

    @cached_property
    def _not_in_force(self) -> int:
        """The number of texts that belong to no edit in force."""
        by_id = self.by_id
        return sum(not any(key in by_id for key in ids) for ids in self._indexes.owners.values())

    def _nearest(self, queries: Sequence[Query], k: int, allowed: Allowed) -> list[set[str]]:
        """Return for each query the ids of edits with a text nearest to any of its windows."""
        index, owners = self._indexes.index, self._indexes.owners
        near: list[set[str]] = [set() for _ in queries]
        wanted = k + self.config.margin
        if len(index) and queries and k > 0:
            matrix = np.concatenate([query.vectors for query in queries])
            fetch = wanted + min(wanted, self._not_in_force)
            while True:
                result = index.search(matrix, fetch)
                rows = [_owners(ids, owners, allowed) for ids in result.ids]
                if fetch >= len(index) or all(len(found) >= wanted for found in rows):
                    break
                fetch *= 4
            each = iter(rows)
            for query, keys in zip(queries, near, strict=True):
                for found in islice(each, len(query.vectors)):
                    keys.update(found[:wanted])
        if self._segment is not None and k > 0:
            for query, keys in zip(queries, near, strict=True):
                keys |= self._segment.nearest(query, wanted, allowed)
        return near

    def _hits(self, query: Query, near: set[str], k: int, allowed: Allowed) -> list[Hit]:
        characters, owners = self._indexes.characters, self._indexes.owners
        same = set(_owners(characters.same(query.text), owners, allowed))
        if self._segment is not None:
            same.update(filter(allowed, self._segment.same(query.text)))
        shared: dict[str, float] = {}
        if self._languages is None and query.unknown_share > self.config.unreadable_share:
            alike = characters.search(
                query.text, k, lambda text: any(map(allowed, owners.get(text, ())))
            )
            for text, score in alike:
                for key in _owners([text], owners, allowed):
                    shared[key] = max(score, shared.get(key, 0.0))
            if self._segment is not None:
                alike = self._segment.by_characters(query.text, k)
                shared.update(pair for pair in alike if allowed(pair[0]))
        ranked = []
        for key in near | shared.keys() | same:
            hit = self.hit(query, self.by_id[key])
            ranked.append(((key not in same, -shared.get(key, 0.0), -hit.score, key), hit))
        ranked.sort(key=lambda item: item[0])
        hits = [hit for _, hit in ranked[: max(k, len(same))]]
        if len(same) > 1:  # a gate gives all of them 1.0: the later one comes first
            latest = self._precedence.latest_first(self.by_id[key] for key in same)
            order = {edit.id: at for at, edit in enumerate(latest)}
            hits[: len(same)] = sorted(
                hits[: len(same)], key=lambda hit: (-hit.score, order[hit.edit.id])
            )
        for more in (self._by_words, self._by_answer):
            hits += more(query, {hit.edit.id for hit in hits}, k, allowed)
        return hits

    def _by_words(self, query: Query, found: set[str], k: int, allowed: Allowed) -> list[Hit]:
        """Return the edits that share rare words with a query, without those found, best first."""
        owners, most = self._indexes.owners, int(k * self.config.by_words)
        if not most:
            return []
        texts = self._indexes.words.search(
            query.text, k + most, lambda text: any(map(allowed, owners.get(text, ())))
        )
        named = _owners([text for text, _ in texts], owners, allowed)
        if self._segment is not None:
            scores = {key: score for text, score in reversed(texts) for key in owners[text]}
            scores.update(self._segment.by_words(query.text, k + most))
            named = sorted(filter(allowed, scores), key=lambda key: (-scores[key], key))
        fresh = islice((key for key in named if key not in found), most)
        return [self.hit(query, self.by_id[key]) for key in fresh]

    def _by_answer(self, query: Query, found: set[str], k: int, allowed: Allowed) -> list[Hit]:
        """Return the facts whose answer a query mentions, without those found, nearest first."""
        most = int(k * self.config.by_answer)
        named = sorted(filter(allowed, self._answers.mentioned(query.text) - found))
        if len(named) > most:  # many answer "France"
            vectors = self._indexes.vectors
            rows = np.stack([vectors[self.by_id[key].scope] for key in named])
            near = (rows @ query.vectors.T).max(axis=1)
            best = np.argsort(-near, kind="stable")[: most + self.config.margin]
            named = [named[at] for at in best]
        if self._segment is not None:
            there = self._segment.by_answer(query, most + self.config.margin)
            named += [key for key in there if key not in found and allowed(key)]
        hits = [self.hit(query, self.by_id[key]) for key in named]
        return heapq.nsmallest(most, hits, key=lambda hit: (-hit.score, hit.edit.id))


def _owners(
    texts: Iterable[str], owners: Mapping[str, tuple[str, ...]], allowed: Allowed
) -> list[str]:
    """Return the ids of the edits that the texts belong to and that may be found, each once."""
    keys = (key for text in texts for key in owners.get(text, ()) if allowed(key))
    return list(dict.fromkeys(keys))
