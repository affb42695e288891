"""A change of the edits made at run time, and the rules it obeys."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from errata.cache.errors import EditError, PatchError, PatchFolderError, StoreError, UnknownEdit
from errata.cache.patches.kinds import dump_edit, parse_edit
from errata.cache.patches.schema import did_you_mean
from errata.cache.records import Edit, Vector
from errata.cache.state import State
from errata.cache.storage.database import Row


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What to write and what to hold afterwards.

    :param stored: the edits made at run time after the change, by id, in order.
    :param bodies: their JSON, by id.
    :param fresh: encodings of scopes the state does not know.
    :param insert: rows to write.
    :param delete: ids to take out.
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
    """Tell whether an edit is not there yet.

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
    """Tell whether two sets are the same in content, order and place."""
    if list(one) != list(two):
        return False
    # Locations do not count in ==, but a moved line has to show in messages.
    return all(a == b and a.location == b.location for a, b in zip(one.values(), two.values()))  # noqa: B905


def to_row(edit: Edit) -> Row:
    """Return the edit as it is stored."""
    body = {**dump_edit(edit), "id": edit.id}
    return Row(edit.id, edit.kind, json.dumps(body, ensure_ascii=False))


def from_rows(
    rows: Sequence[Row], known: State, path: Path
) -> tuple[dict[str, Edit], dict[str, str]]:
    """Return edits and bodies by id; those that are known are not parsed again.

    :param rows: what the database holds.
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
    """Return the edit made at run time that is to be taken back.

    :raises EditError: if it stands in a file.
    :raises UnknownEdit: if there is none of that id.
    """
    filed = state.filed.get(edit_id)
    if filed is not None:
        raise EditError(
            f"edit {edit_id} stands in {filed.location or 'a patch file'}: delete it there, or set "
            "until: to a day in the past"
        )
    edit = state.stored.get(edit_id)
    if edit is None:
        hint = did_you_mean(edit_id, state.stored)
        raise UnknownEdit(
            f"no edit has the id {edit_id!r}{hint or ': see edits for those there are'}"
        )
    return edit
