"""A snapshot of the cache: the edits in force, and the search over them."""

from __future__ import annotations

import datetime
import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np

from errata.cache.filters.text_filter import Filter, replace_spans
from errata.cache.index.languages import LanguageIndex, MultilingualVectors
from errata.cache.index.search import SearchConfig, SearchIndexes
from errata.cache.index.terms import AnswerIndex
from errata.cache.precedence import EditPredicate, Precedence, contested, in_force, overruled
from errata.cache.records import Edit, Fact, Hit, Query, RegexPatch
from errata.cache.text.aliases import AliasIndex, AliasMatch
from errata.cache.text.language import is_english
from errata.cache.text.normalize import compare

__all__ = ["SearchConfig", "SearchIndexes", "View", "with_overruled"]

_LOG = logging.getLogger(__name__)
_RESTRICTED_VIEWS = 8
"""Views and filters of other selections that a view keeps, each with indexes of its own."""

Allowed = Callable[[str], bool]
"""Whether the edit of an id may be found."""


class View:
    """A snapshot of the cache, which later changes leave as it is.

    :param generation: the cache's number of changes at the time.
    :param edits: every edit, in order, in force or not.
    :param indexes: the indexes over them.
    :param today: the day for the edits' dates.
    :param superseding: which edits supersede and overrule others; all in force unless given.
    :param config: how candidates are found.
    :param precedence: the order among edits of one scope; that of ``edits`` unless given.
    :param multilingual: vectors for texts that are not in English; None: all are read as English.
    """

    def __init__(
        self,
        generation: int,
        edits: Iterable[Edit],
        indexes: SearchIndexes,
        today: datetime.date,
        superseding: EditPredicate | None = None,
        config: SearchConfig | None = None,
        precedence: Precedence | None = None,
        multilingual: MultilingualVectors | None = None,
    ) -> None:
        self.config = config or SearchConfig()
        self.generation = generation
        self.today = today
        self._indexes = indexes
        self._multilingual = multilingual
        self._dated = tuple(edit for edit in edits if edit.in_force(today))
        self._precedence = precedence or Precedence(
            {}, {edit.id for edit in self._dated}, lambda: self._dated
        )
        self._standing = in_force(self._dated, today, superseding)
        spellings = indexes.characters.spellings()
        groups = contested(self._standing, spellings, indexes.owners)
        self.overruled: Mapping[str, Edit] = MappingProxyType(
            overruled(
                map(self._precedence.latest_first, groups), superseding or (lambda edit: True)
            )
        )
        self.edits = tuple(edit for edit in self._standing if edit.id not in self.overruled)
        self.by_id: Mapping[str, Edit] = MappingProxyType({edit.id: edit for edit in self.edits})
        settling = {edit.id for group in groups for edit in group}
        self._superseding = [e for e in self._dated if e.supersedes or e.id in settling]
        self._restricted: dict[frozenset[str], View] = {}
        self._filters: dict[tuple[str, ...], Filter] = {}

    def __len__(self) -> int:
        """Return the number of edits in force."""
        return len(self.edits)

    def restricted(self, allowed: EditPredicate) -> View:
        """Return the view in which only the edits that a caller allows supersede or overrule.

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
                self.config,
                self._precedence,
                self._multilingual,
            )
            if len(self._restricted) >= _RESTRICTED_VIEWS:
                self._restricted.clear()
            self._restricted[excluded] = view
        return view

    @cached_property
    def rolling_out(self) -> tuple[Edit, ...]:
        """The edits that are in force for a share of conversations, superseded ones included."""
        return tuple(edit for edit in self._dated if edit.rollout < 1)

    def text_filter(self, target: Literal["query", "output"], allowed: EditPredicate) -> Filter:
        """Return the filter of a target: its regex patches by priority; of outputs, secrets.

        :param target: the text that is filtered.
        :param allowed: the caller's selection.
        """
        chosen = (target, *(edit.id for edit in self._filtering[target] if allowed(edit)))
        found = self._filters.get(chosen)
        if found is None:
            if len(self._filters) >= _RESTRICTED_VIEWS:
                self._filters.clear()
            edits = [edit for edit in self._filtering[target] if allowed(edit)]
            patches = [edit for edit in edits if isinstance(edit, RegexPatch)]
            secrets = [edit for edit in edits if isinstance(edit, Fact)]
            found = self._filters[chosen] = Filter(target, patches, secrets)
        return found

    def without_secrets(self, text: str) -> str:
        """Return a text with the secrets of all edits withheld, as it may be logged.

        :param text: any text, such as a query.
        """
        found = self._guard.secrets(text)
        return replace_spans(text, found) if found else text

    @cached_property
    def _guard(self) -> Filter:
        facts = [edit for edit in self._filtering["output"] if isinstance(edit, Fact)]
        return Filter("output", (), facts)

    def search(
        self, queries: Sequence[Query], k: int = 16, only: EditPredicate | None = None
    ) -> list[list[Hit]]:
        """Return the facts and language patches near each query, best first.

        An edit is as near as the nearest of its scope and its examples. One that the query is a
        spelling of is always found, with score 1.0 (first, and past k where many are). Edits that
        share rare words with it, and facts whose answer it mentions, come last, and in addition
        to k; so do, for a query in English, k edits in other languages. Without a multilingual
        encoder, edits that share characters with a query of many unknown tokens come next.

        :param queries: encoded by the cache's encoder.
        :param k: the most edits for each query found by vectors and characters.
        :param only: which edits may be found; all in force unless given. Which supersede others,
            :meth:`restricted` says.
        """
        by_id = self.by_id
        # the predicate is called once an edit
        allowed = cache(lambda key: key in by_id and (only is None or only(by_id[key])))
        languages = self._languages
        if languages is None:
            return self._search(queries, k, allowed)
        english = [query for query in queries if is_english(query.text)]
        foreign = languages.foreign
        read = self._search(english, k, lambda key: key not in foreign and allowed(key))
        found = dict(zip(map(id, english), read, strict=True))
        return [
            [*found.get(id(query), ()), *self._across(languages, query, k, allowed)]
            for query in queries
        ]

    def _search(self, queries: Sequence[Query], k: int, allowed: Allowed) -> list[list[Hit]]:
        """Return the hits of each query by the encoder's own vectors."""
        found = self._nearest(queries, k, allowed)
        return [
            self._hits(query, near, k, allowed) for query, near in zip(queries, found, strict=True)
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
        return LanguageIndex(self._multilingual, self.edits, self._indexes.owners)

    def hit(self, query: Query, edit: Edit) -> Hit:
        """Return a fact or language patch in force as a hit, at any distance from the query.

        :param query: encoded by the cache's encoder.
        :param edit: one of :attr:`edits`.
        """
        examples = edit.examples
        texts = examples if edit.scope in examples else (*examples, edit.scope)
        # The index's scores depend in their last digits on the batch: compute them here.
        cosines = self._cosines
        if self._languages is not None and self._languages.crosses(query.text, edit.id):
            cosines = self._languages.cosines
        scores = cosines(query, texts)
        ranked = sorted(zip(texts, scores, strict=True), key=lambda pair: -pair[1])
        against = max(cosines(query, edit.counterexamples), default=-1.0)
        same = any(compare(text, query.text) == "same" for text in texts)
        vector = self._indexes.vectors[ranked[0][0]]
        kept = tuple(pair for pair in ranked if pair[0] in examples)
        return Hit(edit, 1.0 if same else ranked[0][1], vector, kept, against)

    def overrules(self, edits: Iterable[Edit]) -> tuple[Edit, ...]:
        """Return the edits that some of those in force overrule."""
        if not self.overruled:
            return ()
        return tuple(
            other
            for edit in edits
            if self.by_id.get(edit.id) == edit
            for other in self._overruled_by.get(edit.id, ())
        )

    @cached_property
    def _overruled_by(self) -> Mapping[str, list[Edit]]:
        found: dict[str, list[Edit]] = {}
        for edit in self._standing:
            if edit.id in self.overruled:
                found.setdefault(self.overruled[edit.id].id, []).append(edit)
        return found

    def _cosines(self, query: Query, texts: Sequence[str]) -> list[float]:
        """Return the cosine of the best window with each text."""
        if not texts:
            return []
        rows = np.stack([self._indexes.vectors[text] for text in texts])
        # einsum: BLAS rounds differently in batches of different size
        best = np.einsum("wd,nd->nw", query.vectors, rows).max(axis=1)
        return [float(score) for score in np.clip(best, -1.0, 1.0)]

    def named(self, text: str) -> tuple[Edit, ...]:
        """Return the facts whose subject a text names; see :meth:`AliasIndex.named`."""
        return self._aliases.named(text)

    def alias_matches(self, text: str) -> Iterator[AliasMatch]:
        """Yield the text with an alias in it replaced by the subject that edits use.

        :param text: a query.
        """
        return self._aliases.matches(text)

    @cached_property
    def _filtering(self) -> Mapping[str, tuple[Edit, ...]]:
        """The edits that filter each target: patches, the highest priority first, and secrets."""
        patches = [edit for edit in self.edits if isinstance(edit, RegexPatch)]
        patches.sort(key=lambda patch: -patch.priority)
        # another answer to the question of an overruled fact does not publish its secret
        facts = (edit for edit in self._standing if isinstance(edit, Fact))
        secrets = tuple(f for f in facts if f.secret is not None or f.secret_hash is not None)
        queries = tuple(patch for patch in patches if patch.target == "query")
        outputs = tuple(patch for patch in patches if patch.target == "output")
        return {"query": queries, "output": (*outputs, *secrets)}

    @cached_property
    def _answers(self) -> AnswerIndex:
        return AnswerIndex(self.edits)

    @cached_property
    def _aliases(self) -> AliasIndex:
        return AliasIndex(self.edits)

    @cached_property
    def _not_in_force(self) -> int:
        """The number of texts that belong to no edit in force."""
        by_id = self.by_id
        return sum(not any(key in by_id for key in ids) for ids in self._indexes.owners.values())

    def _nearest(self, queries: Sequence[Query], k: int, allowed: Allowed) -> list[set[str]]:
        """Return for each query the ids of edits with a text nearest to any of its windows."""
        index, owners = self._indexes.index, self._indexes.owners
        if not len(index) or not queries or k < 1:
            return [set() for _ in queries]
        matrix = np.concatenate([query.vectors for query in queries])
        wanted = k + self.config.margin
        fetch = wanted + min(wanted, self._not_in_force)
        while True:
            result = index.search(matrix, fetch)
            rows = [_owners(ids, owners, allowed) for ids in result.ids]
            if fetch >= len(index) or all(len(found) >= wanted for found in rows):
                break
            fetch *= 4
        near: list[set[str]] = []
        row = 0
        for query in queries:
            windows = rows[row : row + len(query.vectors)]
            near.append({key for keys in windows for key in keys[:wanted]})
            row += len(windows)
        return near

    def _hits(self, query: Query, near: set[str], k: int, allowed: Allowed) -> list[Hit]:
        characters, owners = self._indexes.characters, self._indexes.owners
        same = set(_owners(characters.same(query.text), owners, allowed))
        shared: dict[str, float] = {}
        if self._languages is None and query.unknown_share > self.config.unreadable_share:
            alike = characters.search(
                query.text, k, lambda text: any(map(allowed, owners.get(text, ())))
            )
            for text, score in alike:
                for key in _owners([text], owners, allowed):
                    shared[key] = max(score, shared.get(key, 0.0))
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
        return [self.hit(query, self.by_id[key]) for key in named if key not in found][:most]

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
        hits = [self.hit(query, self.by_id[key]) for key in named]
        return heapq.nsmallest(most, hits, key=lambda hit: (-hit.score, hit.edit.id))


def _owners(
    texts: Iterable[str], owners: Mapping[str, tuple[str, ...]], allowed: Allowed
) -> list[str]:
    """Return the ids of the edits that the texts belong to and that may be found, each once."""
    keys = (key for text in texts for key in owners.get(text, ()) if allowed(key))
    return list(dict.fromkeys(keys))


def with_overruled(edits: Iterable[Edit], view: View) -> tuple[Edit, ...]:
    """Return edits that were made just now with those that they overrule.

    A warning is logged for one that is silent from the start: an edit of its scope has a higher
    priority.

    :param edits: the edits.
    :param view: the cache's after they were added.
    """
    made = []
    for edit in edits:
        over = view.overruled.get(edit.id)
        if over is not None:
            place = over.location or f"the edit {over.id}"
            _LOG.warning(
                "edit %s is silent: %s answers %r and has priority %d; give it that, or supersedes",
                edit.id, place, over.scope, over.priority,
            )  # fmt: skip
        others = view.overrules([edit])
        made.append(replace(edit, overrules=others) if others else edit)
    return tuple(made)
