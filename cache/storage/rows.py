"""Edits as rows of the database, and rows as edits."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import PatchError, StoreError
from errata.cache.patches.kinds import dump_edit, parse_edit
from errata.cache.records import Edit
from errata.cache.storage.database import Row

if TYPE_CHECKING:
    from errata.cache.storage.transaction import State

_JSON = json.JSONEncoder(ensure_ascii=False)
_UNSEEN: frozenset[str] = frozenset()


def to_row(edit: Edit, seen: Collection[str] = (), entry: dict[str, Any] | None = None) -> Row:
    """Return the edit as a row of the database; the body has an id that is no content hash.

    :param edit: the edit.
    :param seen: digests of the patches in files that it is made over.
    :param entry: what :func:`errata.cache.patches.kinds.dump_edit` returned, where it was called.
    """
    body = _JSON.encode(dump_edit(edit) if entry is None else entry)
    return Row(edit.id, edit.kind, body, json.dumps(sorted(seen)) if seen else "[]")


def from_rows(
    rows: Sequence[Row], known: State, path: Path
) -> tuple[dict[str, Edit], dict[str, str], dict[str, frozenset[str]]]:
    """Return edits, bodies and what they were made over, by id; known ones are not parsed again.

    :param rows: the rows of the database.
    :param known: the state before.
    :param path: the database, for messages.
    :raises StoreError: if an edit cannot be read.
    """
    stored: dict[str, Edit] = {}
    seen: dict[str, frozenset[str]] = {}
    for row in rows:
        try:
            seen[row.id] = (
                frozenset(map(str, json.loads(row.seen))) if row.seen != "[]" else _UNSEEN
            )
            if known.bodies.get(row.id) == row.body:
                stored[row.id] = known.stored[row.id]
                continue
            stored[row.id] = edit = parse_edit(json.loads(row.body))
            if edit.id != row.id:
                raise ValueError(f"expected content of that id, found that of {edit.id!r}")
        except (PatchError, ValueError, TypeError) as error:
            raise StoreError(
                f"{path}: the edit {row.id!r} of kind {row.kind!r} cannot be read ({error}). "
                "Nothing was deleted: install the package that brings its kind, restore the file "
                "from a backup, or move it away to begin an empty cache"
            ) from error
    return stored, {row.id: row.body for row in rows}, seen
