"""The state of a cache, its changes, and the rules that they obey."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MappingProxyType
from typing import Any

import numpy as np

from errata.cache.errors import EditError, PatchError, PatchFolderError, UnknownEdit
from errata.cache.index.search import SearchIndexes, encoded_texts, searched_texts
from errata.cache.patches.schema import did_you_mean
from errata.cache.precedence import Precedence, Seen, digest, same_scope
from errata.cache.records import Edit, RegexPatch, Vector
from errata.cache.segment_view import SegmentedEdits, SegmentedVectors, SegmentView
from errata.cache.storage.database import Row
from errata.cache.storage.rows import to_row

_NO_ENTRIES: Mapping[str, dict[str, Any]] = MappingProxyType({})
_EMPTY: Mapping[str, Edit] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The edits and the indexes over them; replaced at each change, never written to.

    :param indexes: indexes over all of them.
    :param filed: the edits of patch files, by id, in order.
    :param stored: the edits made at run time, by id, in order.
    :param bodies: the JSON of the stored edits in the database, by id.
    :param seen: of each stored edit, in the same order, the patches in files that it was made over
        (:mod:`errata.cache.precedence`).
    :param generation: the number of changes of this cache.
    :param stored_generation: the number of changes of the database, by any process.
    :param segment: the edits made at run time that are not in memory; None: all are.
    """

    indexes: SearchIndexes
    filed: Mapping[str, Edit] = field(default_factory=lambda: _EMPTY)
    stored: Mapping[str, Edit] = field(default_factory=lambda: _EMPTY)
    bodies: Mapping[str, str] = field(default_factory=dict)
    seen: Seen = field(default_factory=dict)
    generation: int = 0
    stored_generation: int = 0
    segment: SegmentView | None = None

    def edits(self) -> Iterable[Edit]:
        """Yield every edit in memory once, those of the files first."""
        later = (edit for key, edit in self.stored.items() if key not in self.filed)
        return chain(self.filed.values(), later)

    def all_edits(self) -> Sequence[Edit]:
        """Return every edit once, those of the files first."""
        if self.segment is None:
            return tuple(self.edits())
        later = tuple(edit for key, edit in self.stored.items() if key not in self.filed)
        return SegmentedEdits(tuple(self.filed.values()), self.segment, later)

    def vectors(self) -> Mapping[str, Vector]:
        """Return the encodings of the edits' texts, float32 [d] by text."""
        held = self.indexes.vectors
        return held if self.segment is None else SegmentedVectors(held, self.segment)

    def get(self, key: str) -> Edit | None:
        """Return the edit in memory of that id, if there is one."""
        return self.filed.get(key) or self.stored.get(key)

    def rivals(self, edit: Edit) -> tuple[Edit, ...]:
        """Return the other edits that list one of its texts, or have its pattern."""
        if isinstance(edit, RegexPatch):
            return tuple(o for o in self.edits() if o.id != edit.id and same_scope(o, edit))
        same, owners = self.indexes.characters.same, self.indexes.owners
        texts = (other for text in searched_texts(edit) for other in same(text))
        ids = dict.fromkeys(key for text in texts for key in owners.get(text, ()))
        found = (self.get(key) for key in ids if key != edit.id)
        return tuple(other for other in found if other is not None)

    def precedence(self) -> Precedence:
        """Return the order among edits that list one text."""
        return Precedence(self.seen, self.filed.keys(), self.filed.values)

    def unknown_texts(self, edits: Iterable[Edit]) -> list[str]:
        """Return the texts of the edits that are not encoded yet, each once."""
        known = self.indexes.vectors
        texts = (text for edit in edits for text in encoded_texts(edit))
        return [text for text in dict.fromkeys(texts) if text not in known]


def updated(
    old: State,
    *,
    filed: Mapping[str, Edit] | None = None,
    stored: Mapping[str, Edit] | None = None,
    bodies: Mapping[str, str] | None = None,
    seen: Seen | None = None,
    stored_generation: int | None = None,
    fresh: Mapping[str, Vector],
) -> State:
    """Return the state after a change; the old one stays valid.

    :param old: the state before.
    :param filed: the new edits from files, if they changed.
    :param stored: the new edits made at run time, if they changed.
    :param bodies: their JSON.
    :param seen: the patches in files that each was made over.
    :param stored_generation: the database's number of changes after this one.
    :param fresh: encodings of the texts that the old state lacks.
    """
    state = State(
        indexes=old.indexes,
        filed=old.filed if filed is None else MappingProxyType(dict(filed)),
        stored=old.stored if stored is None else MappingProxyType(dict(stored)),
        bodies=old.bodies if bodies is None else MappingProxyType(dict(bodies)),
        seen=old.seen if seen is None else MappingProxyType(dict(seen)),
        generation=old.generation + 1,
        stored_generation=(
            old.stored_generation if stored_generation is None else stored_generation
        ),
        segment=old.segment,
    )
    changed = [(old.get(key), state.get(key)) for key in _changed_ids(old, state)]
    if all(a and b and encoded_texts(a) == encoded_texts(b) for a, b in changed):
        return state
    indexes = _updated_indexes(old.indexes, changed, fresh)
    if any(before is not None for before, _ in changed):
        used = {text for edit in state.edits() for text in encoded_texts(edit)}
        kept = {text: each for text, each in indexes.vectors.items() if text in used}
        indexes = replace(indexes, vectors=MappingProxyType(kept))
    return replace(state, indexes=indexes)


def owners_of(edits: Iterable[Edit]) -> dict[str, tuple[str, ...]]:
    """Return for each text that is searched the ids of the edits it belongs to."""
    owners: dict[str, tuple[str, ...]] = {}
    for edit in edits:
        for text in searched_texts(edit):
            owners[text] = (*owners.get(text, ()), edit.id)
    return owners


def _changed_ids(old: State, new: State) -> list[str]:
    """Return the ids whose edit may have changed, in the new state's order, removed ones last."""
    pairs = ((old.filed, new.filed), (old.stored, new.stored))
    added = [
        key
        for before, after in pairs
        if before is not after
        for key, edit in after.items()
        if before.get(key) is not edit
    ]
    removed = [
        key
        for before, after in pairs
        if before is not after
        for key in before.keys() - after.keys()
    ]
    return list(dict.fromkeys([*added, *removed]))


def _updated_indexes(
    old: SearchIndexes,
    changed: Sequence[tuple[Edit | None, Edit | None]],
    fresh: Mapping[str, Vector],
) -> SearchIndexes:
    """Return the indexes after a change.

    :param changed: edits before and after.
    :param fresh: encodings of the texts that the old indexes lack.
    """
    owners, vectors = dict(old.owners), dict(old.vectors)
    for before, after in changed:
        for text in searched_texts(before) if before else ():
            owners[text] = tuple(key for key in owners[text] if before and key != before.id)
        for text in searched_texts(after) if after else ():
            owners[text] = (*owners.get(text, ()), after.id if after else "")
        for text in encoded_texts(after) if after else ():
            if text not in vectors:
                vectors[text] = fresh[text]
    removed = [text for text, ids in owners.items() if not ids]
    for text in removed:
        del owners[text]
    added = [text for text in owners if text not in old.owners]
    index, characters, words = old.index.copy(), old.characters.copy(), old.words.copy()
    for each in (index, characters, words):
        each.remove(removed)
    if added:
        index.add(added, np.stack([vectors[text] for text in added]))
        characters.add(added)
        words.add(added)
    return SearchIndexes(
        index, characters, words, MappingProxyType(owners), MappingProxyType(vectors)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The rows to write and the edits after a change.

    :param stored: the edits made at run time after the change, by id, in order.
    :param bodies: their JSON, by id.
    :param seen: the patches in files that each was made over, by id, in order.
    :param fresh: encodings of texts that the state lacks.
    :param insert: rows to write.
    :param delete: ids to remove, before that.
    """

    stored: Mapping[str, Edit]
    bodies: Mapping[str, str]
    seen: Seen
    fresh: Mapping[str, Vector] = field(default_factory=dict)
    insert: Sequence[Row] = ()
    delete: Sequence[str] = ()

    def seen_anew(self, state: State) -> dict[str, str]:
        """Return the column ``seen`` of the rows in which it changes, by id."""
        return {
            key: json.dumps(sorted(held))
            for key, held in self.seen.items()
            if state.seen.get(key, held) != held
        }


def applied(state: State, change: Change | None, generation: int) -> State:
    """Return the state after a change.

    :param state: the state before.
    :param change: the change; None for none.
    :param generation: the database's number of changes after this one.
    """
    if change is None:
        return state
    return updated(
        state,
        stored=change.stored,
        bodies=change.bodies,
        seen=change.seen,
        stored_generation=generation,
        fresh=change.fresh,
    )


def addition(
    edits: Iterable[Edit], state: State, entries: Mapping[str, dict[str, Any]] = _NO_ENTRIES
) -> Change | None:
    """Return the change that makes edits the latest of their scope, without encodings.

    An edit that is in the cache already is committed again where a later one shares a text with it:
    one made by program moves to the end; a patch of a file is no longer seen by what was made over
    it.

    :param edits: the edits; None is returned where all of them are the latest.
    :param state: the state before.
    :param entries: of the edits that were dumped already, by id.
    :raises EditError: if an id is taken by another edit.
    """
    stored, bodies, seen = dict(state.stored), dict(state.bodies), dict(state.seen)
    insert: list[Row] = []
    delete: list[str] = []
    precedence, moved = state.precedence(), set[str]()
    for edit in edits:
        new, rivals = is_new(edit, state), state.rivals(edit)
        if not new and moved.isdisjoint(one.id for one in rivals):
            if precedence.latest_first((edit, *rivals))[0].id == edit.id:
                continue
        moved.add(edit.id)
        if not new and edit.id not in stored:
            again = digest(state.filed[edit.id])
            seen.update((key, held - {again}) for key, held in seen.items() if again in held)
            continue
        if not new:
            delete.append(edit.id)
            for table in (stored, bodies, seen):
                table.pop(edit.id)
        over = frozenset(digest(one) for one in rivals if one.id in state.filed)
        row = to_row(edit, over, entries.get(edit.id))
        insert.append(row)
        stored[edit.id], bodies[edit.id], seen[edit.id] = edit, row.body, over
    changed = insert or seen != dict(state.seen)
    return Change(stored, bodies, seen, insert=insert, delete=delete) if changed else None


def distinct(edits: Iterable[Edit]) -> dict[str, Edit]:
    """Return the edits by id, in order; equal ones once.

    :raises EditError: if two that differ have one id, or one is no edit.
    """
    found: dict[str, Edit] = {}
    for edit in edits:
        if not isinstance(edit, Edit):
            raise EditError(
                f"expected edits such as Fact(question, answer), found {type(edit).__name__}; "
                "nothing was changed"
            )
        other = found.setdefault(edit.id, edit)
        if other != edit:
            places = f" ({other.location} and {edit.location})" if edit.location else ""
            raise EditError(f"two different edits have the id {edit.id!r}{places}: rename one")
    return found


def unplaced(edit: Edit) -> Edit:
    """Return an edit without its place in a file, and without those that it overruled."""
    if edit.location is None and not edit.overrules:
        return edit
    return replace(edit, location=None, overrules=())


def is_new(edit: Edit, state: State) -> bool:
    """Return whether an edit is not in the cache yet.

    :raises EditError: if another edit has its id.
    """
    other = state.get(edit.id)
    if other is not None and other != edit:
        place = f" in {other.location}" if other.location else ""
        raise EditError(
            f"the id {edit.id!r} is taken by another edit{place} ({other.scope!r}): retract that "
            "first, or choose another id"
        )
    return other is None


def refuse_taken(filed: Mapping[str, Edit], stored: Mapping[str, Edit]) -> None:
    """Check edits from files against those made at run time.

    :raises PatchFolderError: naming the place of every patch whose id is taken by another edit.
    """
    problems = [
        PatchError(
            f"the id {key!r} is taken by an edit made at run time: retract that, or rename this",
            edit.location,
        )
        for key, edit in filed.items()
        if key in stored and stored[key] != edit
    ]
    if problems:
        raise PatchFolderError(problems)


def identical(one: Mapping[str, Edit], two: Mapping[str, Edit]) -> bool:
    """Return whether two sets of edits are the same in content, order and location."""
    if list(one) != list(two):
        return False
    # == leaves locations out, but messages show them.
    return all(a == b and a.location == b.location for a, b in zip(one.values(), two.values()))  # noqa: B905


def retractable(edit_id: str, state: State) -> Edit:
    """Return an edit made at run time, to be retracted.

    :raises EditError: if it is in a patch file.
    :raises UnknownEdit: if there is none of that id.
    """
    filed = state.filed.get(edit_id)
    if filed is not None:
        raise EditError(
            f"edit {edit_id} is in {filed.location or 'a patch file'}: delete it there, or set "
            "until: to a day in the past"
        )
    edit = state.stored.get(edit_id)
    if edit is None:
        hint = did_you_mean(edit_id, state.stored)
        raise UnknownEdit(
            f"no edit has the id {edit_id!r}{hint or ': see edits for those there are'}"
        )
    return edit
