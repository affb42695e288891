"""Which edits are in memory and which on disk only, and moving them from one to the other."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from errata.cache.encoder import Encoder
from errata.cache.errors import StoreError
from errata.cache.index.search import encoded_texts, searched_texts
from errata.cache.records import Edit, Fact, Vector
from errata.cache.segment import DAMAGES, Appended, Segment
from errata.cache.segment_config import SegmentConfig
from errata.cache.segment_view import SegmentView
from errata.cache.storage.base import EditStore
from errata.cache.storage.database import Database, Row
from errata.cache.storage.segment_file import key_of
from errata.cache.storage.transaction import Change, State, applied, updated
from errata.cache.text.name_keys import has_plain_names
from errata.cache.text.normalize import rough_key

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_TOKEN = "segment"
"""Under which the database notes what was written to the segment last."""


class Segments:
    """The segment of a cache's folder, kept in step with its database.

    :param database: its edits; the segment is beside it.
    :param encoder: of its vectors.
    :param config: how much is held in memory.
    """

    def __init__(self, database: Database, encoder: Encoder, config: SegmentConfig) -> None:
        self.config, self._database = config, database
        self._latest: SegmentView | None = None
        self._segment = Segment(
            database.path.with_name("segment.sqlite3"), encoder.fingerprint, encoder.dimension,
            config, read_only=database.read_only,
        )  # fmt: skip

    def close(self) -> None:
        """Close the file."""
        self._segment.file.close()

    def load(self) -> SegmentView | None:
        """Return the edits on disk; None where there are none, or none that can be used.

        The file of another encoder is left as it is; it is replaced when edits are moved.
        """
        try:
            view = self._segment.load(self._database.value(_TOKEN))
            self._latest = None if view is None else self._checked(view)
            return self._latest
        except DAMAGES as error:
            _LOG.warning("%s: it is made again (%s)", self._segment.file.path, error)
            if not self._database.read_only:
                self._segment.file.discard()
            return None

    def behind(self, view: SegmentView | None) -> bool:
        """Return whether another process moved edits to the disk since a view."""
        if self._segment.file.limit() <= (view.limit if view else 0):
            return False
        return self._segment.is_of(self._database.value(_TOKEN))

    def read(self, view: SegmentView | None) -> tuple[SegmentView | None, int, list[Row]]:
        """Return the edits on disk, the database's number of changes, and the rows of the rest.

        :param view: the edits on disk before; None: there were none.
        """
        there = self.load() if view is None else self._segment.refreshed(view)
        self._latest = there
        if there is None:
            return (None, *self._database.read())
        generation, rows = self._database.read(there.limit, there.out)
        aside = frozenset(row.id for row in rows if row.position <= there.limit)
        return replace(there, aside=aside), generation, rows

    def vectors(self, texts: Iterable[str]) -> dict[str, Vector]:
        """Return the encodings of those of the texts that edits on disk have."""
        view = self._latest
        if view is None:
            return {}
        wanted = set(texts)
        records = view.records_of(key_of("text", rough_key(text)) for text in wanted)
        return {
            text: vector
            for record in records
            for text, vector in record.vectors.items()
            if text in wanted
        }

    def set_apart(self, state: State, ids: Collection[str]) -> None:
        """Take edits out of the file before they are deleted from the database."""
        if state.segment is None or not ids:
            return
        at = self._database.positions(ids).values()
        self._segment.file.set_apart(place for place in at if place <= state.segment.limit)

    def to_move(self, state: State, change: Change | None = None) -> list[Edit]:
        """Return the edits to be moved to the disk, where many are in memory; else none.

        :param state: the state before a change.
        :param change: the change.
        """
        if self._database.read_only:
            return []
        after = _changed(state, change)
        aside = state.segment.aside if state.segment else frozenset[str]()
        recent = len(after.stored.keys() - aside)
        least = self.config.recent if state.segment else self.config.from_edits
        moving = movable(after, aside) if recent >= least else []
        enough = state.segment is not None or len(moving) >= least // 20  # to train centroids on
        return moving if enough else []

    def moved(
        self,
        state: State,
        moving: Sequence[Edit],
        change: Change | None = None,
        generation: int | None = None,
    ) -> State:
        """Return the state after a change that is in the database, with few edits in memory.

        Where moving fails, all are in memory, and a warning is logged.

        :param state: the state before the change.
        :param moving: what :meth:`to_move` returned.
        :param change: the change.
        :param generation: the database's number of changes after it.
        """
        generation = state.stored_generation if generation is None else generation
        after, fresh = _changed(state, change), {} if change is None else change.fresh
        try:
            moved = self._moved(after, moving, fresh, generation)
        except (StoreError, OSError, *DAMAGES) as error:
            _LOG.warning("%s: edits stay in memory (%s)", self._segment.file.path, error)
            moved = None
        if moved is None:
            return applied(state, change, generation)
        self._latest = moved
        gone = {edit.id for edit in moving}
        rest = updated(
            state,
            stored=_without(after.stored, gone),
            bodies=_without(after.bodies, gone),
            seen=_without(after.seen, gone),
            stored_generation=generation,
            fresh=fresh,
        )
        return replace(rest, segment=moved)

    def _moved(
        self, state: State, moving: Sequence[Edit], fresh: Mapping[str, Vector], generation: int
    ) -> SegmentView | None:
        """Append edits to the file; None where another process changed the database meanwhile."""
        database, view = self._database, state.segment
        with database.writing() as connection:
            if database.generation() != generation or self.behind(view):
                return None
            at = database.positions(state.stored)
            _, limit = database.count()
            gone = {edit.id for edit in moving}
            known = view.limit if view else 0
            apart = {p for key, p in at.items() if key not in gone and p > known}
            appended = []
            for edit in sorted(moving, key=lambda one: at[one.id]):
                texts, searched = encoded_texts(edit), len(searched_texts(edit))
                vectors = {
                    text: fresh[text] if text in fresh else state.indexes.vectors[text]
                    for text in texts
                }
                body = state.bodies[edit.id]
                appended.append(Appended(at[edit.id], edit, body, texts, searched, vectors))
            token = uuid.uuid4().hex
            made = self._segment.append(appended, view, limit, token, apart)
            database.set_value(connection, _TOKEN, token)
        aside = view.aside if view else frozenset[str]()
        return replace(made, aside=aside.union(state.stored.keys() - gone))

    def _checked(self, view: SegmentView) -> SegmentView:
        """Return the view without edits that are gone from the database, by another program."""
        file = self._segment.file
        for _ in range(2):
            count, _last = self._database.count()
            _, rows = self._database.read(view.limit, view.out)
            if count - len(rows) == len(view) or self._database.read_only:
                return view
            file.set_apart(
                file.positions() - {row.position for row in self._database.read()[1]} - view.out
            )
            view = self._segment.refreshed(view)
        raise ValueError(f"{len(view)} edits, {count - len(rows)} of them in the database")


def read_all(
    database: EditStore, segments: Segments | None, view: SegmentView | None
) -> tuple[SegmentView | None, int, list[Row]]:
    """Return the edits on disk, the database's number of changes, and the rows of the others.

    :param database: the edits.
    :param segments: the edits on disk; None: all are in memory.
    :param view: the edits on disk before; None: there were none.
    """
    return (None, *database.read()) if segments is None else segments.read(view)


def movable(state: State, aside: Collection[str]) -> list[Edit]:
    """Return the edits in memory that depend on no other one.

    :param state: edits in memory; no text of those on disk is also theirs.
    :param aside: ids of edits that stay.
    """
    everything = list(chain(state.filed.values(), state.stored.values()))
    keys = Counter(key for edit in everything for key in _keys(edit))
    named = {name for edit in everything for name in edit.supersedes}
    return [
        edit
        for edit in state.stored.values()
        if edit.id not in aside
        and edit.id not in named
        and edit.id not in state.filed
        and not state.seen.get(edit.id)
        and _is_plain(edit)
        and all(keys[key] == 1 for key in _keys(edit))
    ]


def lifted(state: State, edits: Iterable[Edit] = (), ids: Iterable[str] = ()) -> State:
    """Return the state with the edits in memory that others depend on.

    :param state: the state before.
    :param edits: to be added: those with one of their texts or ids, or superseded, are read.
    :param ids: of further edits to be read.
    """
    if state.segment is None:
        return state
    keys = {key_of("id", key) for key in ids}
    for edit in edits:
        keys.update(key_of("id", key) for key in (edit.id, *edit.supersedes))
        keys.update(key_of("text", key) for key in _keys(edit))
    records = state.segment.records_of(keys)
    if not records:
        return state
    fresh = {text: vector for one in records for text, vector in one.vectors.items()}
    after = updated(
        state,
        stored={one.id: one.edit for one in records} | dict(state.stored),
        bodies={one.id: one.body for one in records} | dict(state.bodies),
        seen={one.id: frozenset[str]() for one in records} | dict(state.seen),
        fresh=fresh,
    )
    return replace(after, segment=state.segment.without(records))


def on_disk(state: State, edits: Mapping[str, Edit]) -> set[str]:
    """Return the ids of those of the edits that are on disk already and that no other one changes.

    :param state: the state.
    :param edits: to be added, by id.
    """
    if state.segment is None:
        return set()
    if not state.segment.records_of(key_of("id", key) for key in edits):
        return set()
    keys = Counter(key for edit in edits.values() for key in _keys(edit))
    named = {name for edit in edits.values() for name in edit.supersedes}
    return {
        key
        for key, edit in edits.items()
        if key not in named
        and all(keys[one] == 1 for one in _keys(edit))
        and state.segment.get(key) == edit
    }


def _changed(state: State, change: Change | None) -> State:
    """Return the state after a change, with the indexes of before."""
    if change is None:
        return state
    return replace(state, stored=change.stored, bodies=change.bodies, seen=change.seen)


def _is_plain(edit: Edit) -> bool:
    """Return whether an edit is a fact in force on any day, for all, without a secret."""
    return (
        isinstance(edit, Fact)
        and not (edit.forget or edit.secret or edit.secret_hash)
        and edit.valid_from is None
        and edit.until is None
        and edit.rollout >= 1
        and not edit.supersedes
        and has_plain_names(edit)
    )


def _keys(edit: Edit) -> set[str]:
    return {rough_key(text) for text in searched_texts(edit)}


def _without(table: Mapping[str, _T], gone: Collection[str]) -> dict[str, _T]:
    return {key: value for key, value in table.items() if key not in gone}
