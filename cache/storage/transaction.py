"""The state of a cache, its changes, and the rules that they obey."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np

from errata.cache.errors import EditError, PatchError, PatchFolderError, StoreError, UnknownEdit
from errata.cache.index.base import VectorIndex
from errata.cache.patches.kinds import dump_edit, parse_edit
from errata.cache.patches.schema import did_you_mean
from errata.cache.records import Edit, RegexPatch, Vector
from errata.cache.storage.database import Row
from errata.cache.view import SearchIndexes

_EMPTY: Mapping[str, Edit] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The edits and the indexes over them; replaced at each change, never written to.

    :param indexes: indexes over all of them.
    :param filed: the edits of patch files, by id, in order.
    :param stored: the edits made at run time, by id, in order.
    :param bodies: the JSON of the stored edits in the database, by id.
    :param generation: the number of changes of this cache.
    :param stored_generation: the number of changes of the database, by any process.
    """

    indexes: SearchIndexes
    filed: Mapping[str, Edit] = field(default_factory=lambda: _EMPTY)
    stored: Mapping[str, Edit] = field(default_factory=lambda: _EMPTY)
    bodies: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0
    stored_generation: int = 0

    def edits(self) -> Iterable[Edit]:
        """Yield every edit once, those of the files first."""
        later = (edit for key, edit in self.stored.items() if key not in self.filed)
        return chain(self.filed.values(), later)

    def get(self, key: str) -> Edit | None:
        """Return the edit of that id, if there is one."""
        return self.filed.get(key) or self.stored.get(key)

    def unknown_scopes(self, edits: Iterable[Edit]) -> list[str]:
        """Return the scopes of the edits that are not encoded yet, each once."""
        known = self.indexes.vectors
        scopes = (edit.scope for edit in edits if is_searchable(edit))
        return [scope for scope in dict.fromkeys(scopes) if scope not in known]


def is_searchable(edit: Edit) -> bool:
    """Return whether an edit is found by search; regex patches are applied to every text."""
    return not isinstance(edit, RegexPatch)


def updated(
    old: State,
    *,
    filed: Mapping[str, Edit] | None = None,
    stored: Mapping[str, Edit] | None = None,
    bodies: Mapping[str, str] | None = None,
    stored_generation: int | None = None,
    fresh: Mapping[str, Vector],
) -> State:
    """Return the state after a change; the old one stays valid.

    :param old: the state before.
    :param filed: the new edits from files, if they changed.
    :param stored: the new edits made at run time, if they changed.
    :param bodies: their JSON.
    :param stored_generation: the database's number of changes after this one.
    :param fresh: encodings of the scopes that the old state lacks.
    """
    state = State(
        indexes=old.indexes,
        filed=old.filed if filed is None else MappingProxyType(dict(filed)),
        stored=old.stored if stored is None else MappingProxyType(dict(stored)),
        bodies=old.bodies if bodies is None else MappingProxyType(dict(bodies)),
        generation=old.generation + 1,
        stored_generation=(
            old.stored_generation if stored_generation is None else stored_generation
        ),
    )
    changed = _changed_ids(old, state)
    before = {key: edit.scope for key in changed if (edit := old.get(key)) and is_searchable(edit)}
    after = {key: edit.scope for key in changed if (edit := state.get(key)) and is_searchable(edit)}
    removed = [key for key, scope in before.items() if after.get(key) != scope]
    added = {key: scope for key, scope in after.items() if before.get(key) != scope}
    if not removed and not added:
        return state
    indexes = _updated_indexes(old.indexes, removed, added, fresh)
    if removed:
        scopes = {edit.scope for edit in state.edits()}
        kept = {scope: each for scope, each in indexes.vectors.items() if scope in scopes}
        indexes = replace(indexes, vectors=MappingProxyType(kept))
    return replace(state, indexes=indexes)


def build_index(empty: VectorIndex, edits: Sequence[Edit], vectors: Mapping[str, Vector]) -> None:
    """Fill an empty index with the encodings of the edits' scopes."""
    wanted = [edit for edit in edits if is_searchable(edit)]
    if wanted:
        matrix = np.stack([vectors[edit.scope] for edit in wanted])
        empty.add([edit.id for edit in wanted], matrix)


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
    removed: Sequence[str],
    added: Mapping[str, str],
    fresh: Mapping[str, Vector],
) -> SearchIndexes:
    vectors = dict(old.vectors)
    vectors.update((scope, fresh[scope]) for scope in added.values() if scope not in vectors)
    index = old.index.copy()
    characters = old.characters.copy()
    index.remove(removed)
    characters.remove(removed)
    if added:
        index.add(list(added), np.stack([vectors[scope] for scope in added.values()]))
        characters.add(added)
    return SearchIndexes(index, characters, MappingProxyType(vectors))


# -- changes of the edits made at run time ------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The rows to write and the edits after a change.

    :param stored: the edits made at run time after the change, by id, in order.
    :param bodies: their JSON, by id.
    :param fresh: encodings of scopes that the state lacks.
    :param insert: rows to write.
    :param delete: ids to remove.
    """

    stored: Mapping[str, Edit]
    bodies: Mapping[str, str]
    fresh: Mapping[str, Vector] = field(default_factory=dict)
    insert: Sequence[Row] = ()
    delete: Sequence[str] = ()


def distinct(edits: Iterable[Edit]) -> dict[str, Edit]:
    """Return the edits by id, in order; equal ones once.

    :raises EditError: if two that differ have one id.
    """
    found: dict[str, Edit] = {}
    for edit in edits:
        other = found.setdefault(edit.id, edit)
        if other != edit:
            places = f" ({other.location} and {edit.location})" if edit.location else ""
            raise EditError(f"two different edits have the id {edit.id!r}{places}: rename one")
    return found


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


def to_row(edit: Edit) -> Row:
    """Return the edit as a row of the database."""
    body = {**dump_edit(edit), "id": edit.id}
    return Row(edit.id, edit.kind, json.dumps(body, ensure_ascii=False))


def from_rows(
    rows: Sequence[Row], known: State, path: Path
) -> tuple[dict[str, Edit], dict[str, str]]:
    """Return edits and bodies by id; known ones are not parsed again.

    :param rows: the rows of the database.
    :param known: the state before.
    :param path: the database, for messages.
    :raises StoreError: if an edit cannot be read.
    """
    stored: dict[str, Edit] = {}
    for row in rows:
        if known.bodies.get(row.id) == row.body:
            stored[row.id] = known.stored[row.id]
            continue
        try:
            stored[row.id] = parse_edit(json.loads(row.body))
        except (PatchError, ValueError) as error:
            raise StoreError(
                f"{path}: the edit {row.id!r} of kind {row.kind!r} cannot be read ({error}). "
                "Nothing was deleted: install the package that brings its kind, restore the file "
                "from a backup, or move it away to begin an empty cache"
            ) from error
    return stored, {row.id: row.body for row in rows}


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
