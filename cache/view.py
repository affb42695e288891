"""A snapshot of the cache: the edits in force, and the search over them."""

from __future__ import annotations

import datetime
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np

from errata.cache.index.answers import AnswerIndex
from errata.cache.index.base import SearchResult, VectorIndex
from errata.cache.index.characters import CharacterIndex
from errata.cache.records import Edit, Fact, Hit, Query, RegexPatch, Vector
from errata.cache.text.aliases import AliasIndex, AliasMatch

UNREADABLE_SHARE = 0.2
"""Share of unknown tokens above which candidates are also found by characters."""

_MARGIN = 8
"""Candidates beyond k that are scored exactly before the k best are taken."""

_RESTRICTED_VIEWS = 8
"""Views of other selections that a view keeps, each with its own indexes of names and answers."""

EditPredicate = Callable[[Edit], bool]


@dataclass(frozen=True, slots=True, eq=False)
class SearchIndexes:
    """Indexes over edits, and the encodings of their scopes; never changed once shared.

    :param index: vectors by edit id.
    :param characters: scopes by edit id.
    :param vectors: float32 [d] by scope.
    """

    index: VectorIndex
    characters: CharacterIndex
    vectors: Mapping[str, Vector]


class View:
    """A snapshot of the cache, which later changes leave as it is.

    :param generation: the cache's number of changes at the time.
    :param edits: every edit, in order, in force or not.
    :param indexes: the indexes over them.
    :param today: the day for the edits' dates.
    :param superseding: which edits supersede others; all in force unless given.
    """

    def __init__(
        self,
        generation: int,
        edits: Iterable[Edit],
        indexes: SearchIndexes,
        today: datetime.date,
        superseding: EditPredicate | None = None,
    ) -> None:
        self.generation = generation
        self.today = today
        self._dated = tuple(edit for edit in edits if edit.in_force(today))
        self.edits = in_force(self._dated, today, superseding)
        self.by_id: Mapping[str, Edit] = MappingProxyType({edit.id: edit for edit in self.edits})
        self._indexes = indexes
        self._superseding = [edit for edit in self._dated if edit.supersedes]
        self._restricted: dict[frozenset[str], View] = {}

    def __len__(self) -> int:
        """Return the number of edits in force."""
        return len(self.edits)

    def restricted(self, allowed: EditPredicate) -> View:
        """Return the view in which only the edits that a caller allows supersede others.

        With ``edits={"tags": ["eu"]}``, an edit without that tag neither answers nor keeps the one
        it supersedes from answering. The edits that are not allowed are still in the view:
        :meth:`search` leaves them out by ``only``.

        :param allowed: the caller's selection.
        """
        excluded = frozenset(edit.id for edit in self._superseding if not allowed(edit))
        if not excluded:
            return self
        view = self._restricted.get(excluded)
        if view is None:
            view = View(
                self.generation,
                self._dated,
                self._indexes,
                self.today,
                lambda edit: edit.id not in excluded,
            )
            if len(self._restricted) >= _RESTRICTED_VIEWS:
                self._restricted.clear()
            self._restricted[excluded] = view
        return view

    def regexes(self, target: Literal["query", "output"]) -> tuple[RegexPatch, ...]:
        """Return the regex patches of a target, highest priority first, else in order."""
        return self._regexes[target]

    @cached_property
    def secrets(self) -> tuple[Fact, ...]:
        """The facts in force that have a secret, as a ``SecretGuard`` takes them."""
        return tuple(
            edit
            for edit in self.edits
            if isinstance(edit, Fact) and (edit.secret is not None or edit.secret_hash is not None)
        )

    def search(
        self, queries: Sequence[Query], k: int = 16, only: EditPredicate | None = None
    ) -> list[list[Hit]]:
        """Return the facts and language patches near each query, best first.

        An edit whose scope equals the normalized query is always found, with score 1.0 (first, and
        past k where many do). For a query with many unknown tokens, edits that share characters
        with it come next. Facts whose answer the query mentions come last, at most k / 2 more:
        "Of which country is Gitega the capital?" shares nothing else with the inverse question.

        :param queries: encoded by the cache's encoder.
        :param k: the most edits for each query, without those found by their answers.
        :param only: which edits may be found; all in force unless given. Which supersede others,
            :meth:`restricted` says.
        """
        allowed = _Allowed(self.by_id, only)
        found = self._nearest(queries, k, allowed)
        return [
            self._hits(query, near, k, allowed) for query, near in zip(queries, found, strict=True)
        ]

    def hit(self, query: Query, edit: Edit) -> Hit:
        """Return a fact or language patch in force as a hit, at any distance from the query.

        :param query: encoded by the cache's encoder.
        :param edit: one of :attr:`edits`.
        """
        vector = self._indexes.vectors[edit.scope]
        score = float((query.vectors @ vector).max())
        return Hit(edit, min(1.0, max(-1.0, score)), vector)

    def named(self, text: str) -> tuple[Edit, ...]:
        """Return the facts whose subject a text names; see :meth:`AliasIndex.named`."""
        return self._aliases.named(text)

    def alias_matches(self, text: str) -> Iterator[AliasMatch]:
        """Yield the text with an alias in it replaced by the subject that edits use.

        :param text: a query.
        """
        return self._aliases.matches(text)

    @cached_property
    def _regexes(self) -> Mapping[str, tuple[RegexPatch, ...]]:
        patches = [edit for edit in self.edits if isinstance(edit, RegexPatch)]
        patches.sort(key=lambda patch: -patch.priority)
        return {
            target: tuple(patch for patch in patches if patch.target == target)
            for target in ("query", "output")
        }

    @cached_property
    def _answers(self) -> AnswerIndex:
        return AnswerIndex(self.edits)

    @cached_property
    def _aliases(self) -> AliasIndex:
        return AliasIndex(self.edits)

    @cached_property
    def _not_in_force(self) -> int:
        return len(self._indexes.index) - (
            len(self.edits) - sum(isinstance(edit, RegexPatch) for edit in self.edits)
        )

    def _nearest(self, queries: Sequence[Query], k: int, allowed: _Allowed) -> list[set[str]]:
        """Return for each query the ids nearest to any of its windows."""
        index = self._indexes.index
        if not len(index) or not queries or k < 1:
            return [set() for _ in queries]
        matrix = np.concatenate([query.vectors for query in queries])
        wanted = k + _MARGIN
        fetch = wanted + min(wanted, self._not_in_force)
        while True:
            result = index.search(matrix, fetch)
            if fetch >= len(index) or _has_enough(result, wanted, allowed):
                break
            fetch *= 4
        near: list[set[str]] = []
        row = 0
        for query in queries:
            windows = result.ids[row : row + len(query.vectors)]
            near.append({key for ids in windows for key in ids if key in allowed})
            row += len(windows)
        return near

    def _hits(self, query: Query, near: set[str], k: int, allowed: _Allowed) -> list[Hit]:
        characters = self._indexes.characters
        same = {key for key in characters.same(query.text) if key in allowed}
        shared: dict[str, float] = {}
        if query.unknown_share > UNREADABLE_SHARE:
            shared = dict(characters.search(query.text, k, allowed))
        ranked = []
        for key in near | shared.keys() | same:
            edit = self.by_id[key]
            vector = self._indexes.vectors[edit.scope]
            # The index's score depends in its last digits on the batch: compute it here.
            score = 1.0 if key in same else float((query.vectors @ vector).max())
            hit = Hit(edit, min(1.0, max(-1.0, score)), vector)
            ranked.append(((key not in same, -shared.get(key, 0.0), -hit.score, key), hit))
        ranked.sort(key=lambda item: item[0])
        hits = [hit for _, hit in ranked[: max(k, len(same))]]
        return hits + self._by_answer(query, {hit.edit.id for hit in hits}, k // 2, allowed)

    def _by_answer(self, query: Query, found: set[str], most: int, allowed: _Allowed) -> list[Hit]:
        """Return the facts whose answer a query mentions, without those found, nearest first."""
        named = sorted(key for key in self._answers.mentioned(query.text) - found if key in allowed)
        if len(named) > most:  # many answer "France"
            vectors = self._indexes.vectors
            rows = np.stack([vectors[self.by_id[key].scope] for key in named])
            near = (rows @ query.vectors.T).max(axis=1)
            named = [named[at] for at in np.argsort(-near, kind="stable")[: most + _MARGIN]]
        hits = [self.hit(query, self.by_id[key]) for key in named]
        return heapq.nsmallest(most, hits, key=lambda hit: (-hit.score, hit.edit.id))


class _Allowed:
    """The ids that may be found; the predicate is called once an edit."""

    def __init__(self, by_id: Mapping[str, Edit], only: EditPredicate | None) -> None:
        self._by_id = by_id
        self._only = only
        self._known: dict[str, bool] = {}

    def __contains__(self, key: object) -> bool:
        key = str(key)
        known = self._known.get(key)
        if known is None:
            edit = self._by_id.get(key)
            known = edit is not None and (self._only is None or self._only(edit))
            self._known[key] = known
        return known


def in_force(
    edits: Iterable[Edit], today: datetime.date, superseding: EditPredicate | None = None
) -> tuple[Edit, ...]:
    """Return the edits whose dates include the day and that no such edit supersedes, in order.

    :param edits: all edits.
    :param today: the day.
    :param superseding: which edits supersede others; all whose dates include the day unless given.
    """
    dated = [edit for edit in edits if edit.in_force(today)]
    superseded = {
        name
        for edit in dated
        if edit.supersedes and (superseding is None or superseding(edit))
        for name in edit.supersedes
    }
    return tuple(edit for edit in dated if edit.id not in superseded)


def _has_enough(result: SearchResult, k: int, allowed: _Allowed) -> bool:
    return all(sum(key in allowed for key in row) >= k for row in result.ids)
