"""A snapshot of the cache: the edits in force, and the search over them."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from errata.cache.candidates import Candidates
from errata.cache.filters.text_filter import Filter, replace_spans
from errata.cache.index.languages import MultilingualVectors
from errata.cache.index.search import SearchConfig, SearchIndexes
from errata.cache.precedence import EditPredicate, Precedence, contested, in_force, overruled
from errata.cache.records import Edit, Fact, Hit, Query, RegexPatch
from errata.cache.segment_view import SegmentedById, SegmentedEdits, SegmentView
from errata.cache.text.aliases import AliasIndex, AliasMatch, subject_or_empty
from errata.cache.text.name_keys import (
    has_plain_names,
    name_keys,
    name_parts,
    names_in_text,
    parts_in_text,
)
from errata.cache.text.normalize import Words

__all__ = ["SearchConfig", "SearchIndexes", "View", "with_overruled"]

_LOG = logging.getLogger(__name__)
_RESTRICTED_VIEWS = 8
"""Views and filters of other selections that a view keeps, each with indexes of its own."""


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
    :param segment: edits on disk, all in force; None: there are none.
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
        segment: SegmentView | None = None,
    ) -> None:
        self.config = config or SearchConfig()
        self.generation = generation
        self.today = today
        self._indexes = indexes
        self._multilingual, self._segment = multilingual, segment
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
        self.in_memory = tuple(edit for edit in self._standing if edit.id not in self.overruled)
        self.edits: Sequence[Edit] = self.in_memory
        self.by_id: Mapping[str, Edit] = MappingProxyType({edit.id: edit for edit in self.edits})
        held = self.by_id
        if segment is not None:
            filed = sum(1 for edit in self.edits if self._precedence.is_filed(edit.id))
            self.edits = SegmentedEdits(self.in_memory[:filed], segment, self.in_memory[filed:])
            self.by_id = SegmentedById(self.by_id, segment)
        self._candidates = Candidates(
            held, self.by_id, indexes, self.config, self._precedence, multilingual, segment
        )  # fmt: skip
        settling = {edit.id for group in groups for edit in group}
        self._superseding = [e for e in self._dated if e.supersedes or e.id in settling]
        self._restricted: dict[frozenset[str], View] = {}
        self._filters: dict[tuple[str, ...], Filter] = {}

    def __len__(self) -> int:
        """Return the number of edits in force."""
        return len(self.edits)

    def may_have(self, wanted: EditPredicate) -> bool:
        """Return whether an edit in memory is wanted; where others are on disk, one may be."""
        return bool(self._segment) or any(map(wanted, self.in_memory))

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
                self._segment,
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

        So is the beginning of one at its end: a prompt that an answer is to go on from.

        :param text: any text, such as a query.
        """
        found = self._guard.secrets(text, cut=True)
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
        return self._candidates.search(queries, k, only)

    def hit(self, query: Query, edit: Edit) -> Hit:
        """Return a fact or language patch in force as a hit, at any distance from the query.

        :param query: encoded by the cache's encoder.
        :param edit: one of :attr:`edits`.
        """
        return self._candidates.hit(query, edit)

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

    def named(self, text: str) -> tuple[Edit, ...]:
        """Return the facts whose subject a text names; see :meth:`AliasIndex.named`."""
        return self._aliases(text).named(text)

    def alias_matches(self, text: str) -> Iterator[AliasMatch]:
        """Yield the text with an alias in it replaced by the subject that edits use.

        :param text: a query.
        """
        return self._aliases(text).matches(text)

    @cached_property
    def _filtering(self) -> Mapping[str, tuple[Edit, ...]]:
        """The edits that filter each target: patches, the highest priority first, and secrets."""
        patches = [edit for edit in self.in_memory if isinstance(edit, RegexPatch)]
        patches.sort(key=lambda patch: -patch.priority)
        # another answer to the question of an overruled fact does not publish its secret
        facts = (edit for edit in self._standing if isinstance(edit, Fact))
        secrets = tuple(f for f in facts if f.secret is not None or f.secret_hash is not None)
        queries = tuple(patch for patch in patches if patch.target == "query")
        outputs = tuple(patch for patch in patches if patch.target == "output")
        return {"query": queries, "output": (*outputs, *secrets)}

    def _aliases(self, text: str) -> AliasIndex:
        """Return the names in memory; where there are edits on disk, those that a text may have."""
        if self._segment is None:
            return self._all_aliases
        names = names_in_text(text) | set(parts_in_text(text))
        near = {edit.id: edit for name in names for edit in self._by_name.get(name, ())}
        return AliasIndex([*self._unspaced, *near.values(), *self._segment.named_in(text)])

    @cached_property
    def _all_aliases(self) -> AliasIndex:
        return AliasIndex(self.edits)

    @cached_property
    def _by_name(self) -> Mapping[Words, list[Edit]]:
        """The facts in memory by the names of their subject and the parts of these."""
        found: dict[Words, list[Edit]] = {}
        for edit in self.in_memory:
            if isinstance(edit, Fact):
                written = subject_or_empty(edit)
                parts = (part for part, _ in name_parts(written))
                for name in {*name_keys(written, edit.aliases), *parts}:
                    found.setdefault(name, []).append(edit)
        return found

    @cached_property
    def _unspaced(self) -> list[Edit]:
        return [edit for edit in self.in_memory if not has_plain_names(edit)]


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
