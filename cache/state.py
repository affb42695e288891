"""What the cache knows, as one value: replaced at each change, never written to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MappingProxyType

import numpy as np

from errata.cache.index.base import VectorIndex
from errata.cache.records import Edit, RegexPatch, Vector
from errata.cache.view import Searchable

_EMPTY: Mapping[str, Edit] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The edits of one moment and the indexes over them.

    :param searchable: indexes over all of them.
    :param filed: the edits that came from patch files, by id, in order.
    :param stored: the edits that were made at run time, by id, in order.
    :param bodies: the JSON of the stored edits, by id, as it stands in the database.
    :param generation: counts the changes this cache has seen.
    :param stored_generation: counts the changes of the database, by any process.
    """

    searchable: Searchable
    filed: Mapping[str, Edit] = field(default_factory=lambda: _EMPTY)
    stored: Mapping[str, Edit] = field(default_factory=lambda: _EMPTY)
    bodies: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0
    stored_generation: int = 0

    def edits(self) -> Iterable[Edit]:
        """Yield every edit once: those of the files first."""
        later = (edit for key, edit in self.stored.items() if key not in self.filed)
        return chain(self.filed.values(), later)

    def get(self, key: str) -> Edit | None:
        """Return the edit of that id, if there is one."""
        return self.filed.get(key) or self.stored.get(key)

    def unknown_scopes(self, edits: Iterable[Edit]) -> list[str]:
        """Return the scopes of the edits that have no encoding yet, each once."""
        known = self.searchable.vectors
        scopes = (edit.scope for edit in edits if searched(edit))
        return [scope for scope in dict.fromkeys(scopes) if scope not in known]


def searched(edit: Edit) -> bool:
    """Tell whether an edit is found by search (regex patches are applied, not found)."""
    return not isinstance(edit, RegexPatch)


def with_edits(
    old: State,
    *,
    filed: Mapping[str, Edit] | None = None,
    stored: Mapping[str, Edit] | None = None,
    bodies: Mapping[str, str] | None = None,
    stored_generation: int | None = None,
    fresh: Mapping[str, Vector],
) -> State:
    """Return the state after a change; the old one keeps answering.

    :param old: the state before.
    :param filed: the new edits from files, if they changed.
    :param stored: the new edits made at run time, if they changed.
    :param bodies: their JSON.
    :param stored_generation: the database's count after the change.
    :param fresh: encodings of the scopes that the old state does not know.
    """
    state = State(
        searchable=old.searchable,
        filed=old.filed if filed is None else MappingProxyType(dict(filed)),
        stored=old.stored if stored is None else MappingProxyType(dict(stored)),
        bodies=old.bodies if bodies is None else MappingProxyType(dict(bodies)),
        generation=old.generation + 1,
        stored_generation=(
            old.stored_generation if stored_generation is None else stored_generation
        ),
    )
    touched = _touched(old, state)
    before = {key: edit.scope for key in touched if (edit := old.get(key)) and searched(edit)}
    after = {key: edit.scope for key in touched if (edit := state.get(key)) and searched(edit)}
    gone = [key for key, scope in before.items() if after.get(key) != scope]
    came = {key: scope for key, scope in after.items() if before.get(key) != scope}
    if not gone and not came:
        return state
    searchable = _changed(old.searchable, gone, came, fresh)
    if gone:
        scopes = {edit.scope for edit in state.edits()}
        kept = {scope: each for scope, each in searchable.vectors.items() if scope in scopes}
        searchable = replace(searchable, vectors=MappingProxyType(kept))
    return replace(state, searchable=searchable)


def build_index(empty: VectorIndex, edits: Sequence[Edit], vectors: Mapping[str, Vector]) -> None:
    """Fill an empty index with the encodings of the edits' scopes."""
    wanted = [edit for edit in edits if searched(edit)]
    if wanted:
        matrix = np.stack([vectors[edit.scope] for edit in wanted])
        empty.add([edit.id for edit in wanted], matrix)


def _touched(old: State, new: State) -> list[str]:
    """Return the ids whose edit may have changed, in the new state's order, those gone last."""
    pairs = ((old.filed, new.filed), (old.stored, new.stored))
    came = [
        key
        for before, after in pairs
        if before is not after
        for key, edit in after.items()
        if before.get(key) is not edit
    ]
    gone = [
        key
        for before, after in pairs
        if before is not after
        for key in before.keys() - after.keys()
    ]
    return list(dict.fromkeys([*came, *gone]))


def _changed(
    old: Searchable, gone: Sequence[str], came: Mapping[str, str], fresh: Mapping[str, Vector]
) -> Searchable:
    vectors = dict(old.vectors)
    vectors.update((scope, fresh[scope]) for scope in came.values() if scope not in vectors)
    index = old.index.copy()
    characters = old.characters.copy()
    index.remove(gone)
    characters.remove(gone)
    if came:
        index.add(list(came), np.stack([vectors[scope] for scope in came.values()]))
        characters.add(came)
    return Searchable(index, characters, MappingProxyType(vectors))
