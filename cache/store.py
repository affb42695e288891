"""The edit cache: stores edits durably and finds them by meaning and by characters."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from errata.cache.encoder import Encoder
from errata.cache.errors import IndexMismatchError, StoreError
from errata.cache.index.base import VectorIndex
from errata.cache.index.languages import MultilingualVectors
from errata.cache.index.terms import CharacterIndex, WordIndex
from errata.cache.patches.kinds import check
from errata.cache.records import Edit, Vector
from errata.cache.segment_config import SegmentConfig
from errata.cache.storage.base import EditStore
from errata.cache.storage.embeddings import check_fingerprint, encoded, keep_only
from errata.cache.storage.opening import open_store
from errata.cache.storage.rows import from_rows
from errata.cache.storage.saved_index import SavedIndex, indexes_over
from errata.cache.storage.segmented import Segments, lifted, on_disk, read_all
from errata.cache.storage.transaction import (
    Change,
    State,
    addition,
    applied,
    distinct,
    identical,
    refuse_taken,
    retractable,
    unplaced,
    updated,
)
from errata.cache.view import SearchConfig, SearchIndexes, View

__all__ = ["EditCache", "View"]

_LOG = logging.getLogger(__name__)


class EditCache:
    """Stores edits and finds them. Safe under threads and other processes.

    A change is atomic: a :class:`View` taken before stays as it was, an edit that :meth:`add`
    returned survives a kill, and a failed change changes nothing.

    :param encoder: encodes questions, conditions and examples; queries must be encoded by it, too.
    :param path: a folder (made where it is missing), the URL of a PostgreSQL database
        (``postgresql://…``), whose edits all replicas share, or None to stay in memory.
    :param reencode: encode everything again where the folder was written with another encoder.
    :param index: the factory of an empty vector index of a width; FAISS unless given.
    :param search: how candidates are found beside the nearest by vectors.
    :param segment: when edits made by program are on disk only (see ``docs/scale.md``).
    :raises StoreError: if the folder's edits are damaged, foreign or of a newer errata.
    :raises IndexMismatchError: if they were encoded by another encoder, unless ``reencode``.
    """

    def __init__(
        self,
        encoder: Encoder,
        path: str | os.PathLike[str] | None = None,
        *,
        reencode: bool = False,
        index: Callable[[int], VectorIndex] | None = None,
        search: SearchConfig | None = None,
        segment: SegmentConfig | None = None,
    ) -> None:
        self.encoder = encoder
        self._new_index = index or _faiss_index
        self.search_config = search or SearchConfig()
        self._lock = threading.RLock()
        self._closed = False
        self._stale = False
        self._indexed = False
        self._last_warning = ""
        self._view: View | None = None
        opened = open_store(encoder, path)
        self.name, self.path = opened.name, opened.folder
        self._database, self._encodings = opened.edits, opened.encodings
        self._multilingual = MultilingualVectors.of(encoder, opened.multilingual)
        self._segments: Segments | None = None
        home = None if opened.edits is None else opened.edits.segment_home
        # candidates across languages are found by vectors of their own, of which there is no file
        if home is not None and self._multilingual is None:
            self._segments = Segments(home, encoder, segment or SegmentConfig())
        self._state = State(self._empty_indexes({}))
        try:
            if self._database is not None:
                self._open(self._database, reencode)
        except BaseException:
            self._closed = True
            self._close_files()
            raise

    def __enter__(self) -> EditCache:
        """Return the cache; it is closed at the end of the block."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the cache."""
        self.close()

    @property
    def edits(self) -> Sequence[Edit]:
        """Every edit in force today, those of the files first, else in the order made."""
        return self.view().edits

    @property
    def all_edits(self) -> Sequence[Edit]:
        """Every edit, also those that are superseded or out of their dates."""
        return self._indexed_state().all_edits()

    @property
    def vectors(self) -> Mapping[str, Vector]:
        """The encodings of the edits' texts, float32 [d] by text."""
        return self._indexed_state().vectors()

    @property
    def generation(self) -> int:
        """The number of changes that this cache has made or read."""
        return self._state.generation

    def view(self, today: datetime.date | None = None) -> View:
        """Return a snapshot, changes by other processes included.

        Where reading fails, it is of the last good state, and a warning is logged.

        :param today: the day for the edits' dates; the present one unless given.
        :raises StoreError: if the cache is closed.
        """
        self._check_open()
        try:
            self.refresh()
        except StoreError as error:
            if str(error) != self._last_warning:
                self._last_warning = str(error)
                _LOG.warning("%s; the last good state stays in force", error)
        day = today or datetime.date.today()
        state = self._indexed_state()
        view = self._view
        if view is None or view.generation != state.generation or view.today != day:
            view = self._view = View(
                state.generation, state.edits(), state.indexes, day, None, self.search_config,
                state.precedence(), self._multilingual, state.segment,
            )  # fmt: skip
        return view

    def refresh(self) -> None:
        """Read the changes of other processes; cheap where there are none.

        :raises StoreError: if the file cannot be read; the last good state stays.
        """
        self._check_open()
        if self._database is None or not (self._database.changed() or self._stale):
            return
        self._stale = True  # stays set if the code below fails
        with self._lock:
            self._state = self._refreshed(self._indexed_state())
            self._stale = False

    def add(self, edits: Iterable[Edit]) -> tuple[Edit, ...]:
        """Add edits in one transaction and one call of the encoder; they survive a kill on return.

        Each becomes the latest of its scope; the view's ``overruled`` says which are silent for it.

        :param edits: the edits; one that is in the cache already, and the latest, is skipped.
        :return: the edits of the cache, in the order given.
        :raises PatchError: if an edit is not well formed.
        :raises EditError: if an id is taken by another edit.
        :raises StoreError: if writing fails.
        """
        self._check_open()
        wanted = {key: unplaced(edit) for key, edit in distinct(edits).items()}
        entries = {key: check(edit) for key, edit in wanted.items()}
        there = on_disk(self._indexed_state(), wanted)
        adding = [edit for key, edit in wanted.items() if key not in there]
        many = self._segments is not None and len(adding) >= self._segments.config.recent
        # Encoded before the lock is taken: other threads need not wait for the encoder.
        fresh = self._encode(self._indexed_state().unknown_texts(adding), keep=not many)

        def plan(state: State) -> tuple[State, Change | None]:
            # An edit that was there, or whose texts were known, may have been retracted since.
            now = on_disk(state, wanted) if there else there
            adding = [edit for key, edit in wanted.items() if key not in now]
            state = lifted(state, adding)
            change = addition(adding, state, entries)
            if change is None:
                return state, None
            missing = [text for text in state.unknown_texts(adding) if text not in fresh]
            return state, dataclasses.replace(change, fresh={**fresh, **self._encode(missing)})

        self._change(plan, many=many)
        return tuple(self._state.get(key) or edit for key, edit in wanted.items())

    def retract(self, edit_id: str) -> Edit:
        """Remove an edit that was made with :meth:`add`; return it.

        :param edit_id: its id.
        :raises EditError: it is in a patch file, or none; writing fails.
        """
        self._check_open()
        self._indexed_state()
        removed: list[Edit] = []

        def plan(state: State) -> tuple[State, Change]:
            state = lifted(state, ids=[edit_id])
            removed.append(retractable(edit_id, state))
            return state, Change(
                stored={key: each for key, each in state.stored.items() if key != edit_id},
                bodies={key: body for key, body in state.bodies.items() if key != edit_id},
                seen={key: held for key, held in state.seen.items() if key != edit_id},
                delete=[edit_id],
            )

        self._change(plan)
        return removed[-1]

    def set_files(self, edits: Iterable[Edit]) -> None:
        """Replace all edits of patch files; only new texts are encoded.

        :param edits: the edits of the files (see :func:`errata.cache.patches.files.load_folder`).
        :raises PatchError: if an edit is not well formed, or an id is taken by one made at run
            time; the last good set stays in force.
        """
        self._check_open()
        filed = distinct(edits)
        old = self._state
        for key, edit in filed.items():
            if old.filed.get(key) != edit:
                check(edit)
        fresh = self._encode(old.unknown_texts(filed.values()))
        with self._lock:
            self.refresh()
            state = self._state = lifted(self._state, filed.values())
            refuse_taken(filed, state.stored)
            if identical(filed, state.filed) and self._indexed:
                return
            missing = [text for text in state.unknown_texts(filed.values()) if text not in fresh]
            fresh.update(self._encode(missing))
            if self._indexed:
                self._state = updated(state, filed=filed, fresh=fresh)
                return
            vectors = {**state.indexes.vectors, **fresh}
            self._state = dataclasses.replace(
                state,
                indexes=self._empty_indexes(vectors),
                filed=filed,
                generation=state.generation + 1,
            )
            self._indexed_state()

    def close(self) -> None:
        """Close the cache; indexes and encodings are saved for the next start."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._database is None:
                return
            try:
                if self.path is not None and not self._database.read_only:
                    self._save_derived(self.path)
            except (OSError, sqlite3.Error, IndexMismatchError) as error:
                _LOG.warning("%s: the index is built again next time (%s)", self.path, error)
            finally:
                self._close_files()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the cache {self.name} is closed: open it again")

    def _empty_indexes(self, vectors: Mapping[str, Vector]) -> SearchIndexes:
        index = self._new_index(self.encoder.dimension)
        return SearchIndexes(index, CharacterIndex(), WordIndex(), {}, vectors)

    def _open(self, database: EditStore, reencode: bool) -> None:
        # Called before reading: no change in between is missed.
        database.changed()
        there, generation, rows = read_all(database, self._segments, None)
        written, mine = database.fingerprint(), self.encoder.fingerprint
        if (rows or there) and not reencode:
            check_fingerprint(written, mine, database.path)
        stored, bodies, seen = from_rows(rows, self._state, database.path)
        vectors = self._encode(self._state.unknown_texts(stored.values()))
        if written != mine and not database.read_only:
            database.set_fingerprint(mine)
        state = State(
            self._empty_indexes(vectors),
            stored=stored,
            bodies=bodies,
            seen=seen,
            generation=generation,
            stored_generation=generation,
            segment=there,
        )
        self._state = lifted(state, stored.values())

    def _encode(self, texts: Sequence[str], *, keep: bool = True) -> dict[str, Vector]:
        """Return encodings by text, stored ones where there are any, else the encoder's."""
        there = {} if self._segments is None else self._segments.vectors(texts)
        return encoded(texts, self.encoder, self._encodings, there, keep=keep)

    def _indexed_state(self) -> State:
        """Return the state with its indexes, built at the first use: files are loaded by then."""
        if self._indexed:
            return self._state
        with self._lock:
            if not self._indexed:
                state = self._state
                indexes = indexes_over(
                    state.edits(), state.indexes.vectors, self._new_index, self.encoder, self.path
                )
                self._state = state = dataclasses.replace(state, indexes=indexes)
                self._indexed = True
                if self._segments is not None and (moving := self._segments.to_move(state)):
                    self._state = self._segments.moved(state, moving)
            return self._state

    def _change(
        self, plan: Callable[[State], tuple[State, Change | None]], *, many: bool = False
    ) -> None:
        """Apply the change that a plan makes of the current state, under the lock.

        :param plan: returns that state, with what the change depends on in memory, and the change.
        :param many: its encodings are not stored yet.
        """
        with self._lock:
            self._check_open()
            if self._database is None:
                self._state = applied(*plan(self._state), 0)
                return
            self._stale = True  # stays set if the code below fails
            moving: Sequence[Edit] = ()
            with self._database.writing() as connection:
                state, change = plan(self._refreshed(self._state))
                generation = state.stored_generation
                if change is not None:
                    if self._segments is not None:
                        self._segments.set_apart(state, change.delete)
                        moving = self._segments.to_move(state, change)
                    generation = self._database.change(
                        connection, change.insert, change.delete, change.seen_anew(state)
                    )
                if not moving:
                    state = applied(state, change, generation)
            if moving and self._segments is not None:
                state = self._segments.moved(state, moving, change, generation)
            if (many or moving) and self._encodings is not None:  # those on disk have theirs there
                keep_only(self._encodings, state.indexes.vectors)
            self._state = state
            self._stale = False

    def _refreshed(self, state: State) -> State:
        """Return the state with the changes of other processes in the database."""
        database, segments = self._database, self._segments
        if database is None:
            return state
        behind = segments is not None and segments.behind(state.segment)
        if database.generation() == state.stored_generation and not behind:
            return state
        there, generation, rows = read_all(database, segments, state.segment)
        stored, bodies, seen = from_rows(rows, state, database.path)
        fresh = self._encode(state.unknown_texts(stored.values()))
        after = updated(
            dataclasses.replace(state, segment=there),
            stored=stored,
            bodies=bodies,
            seen=seen,
            stored_generation=generation,
            fresh=fresh,
        )
        return lifted(after, after.edits())

    def _save_derived(self, folder: Path) -> None:
        state = self._state
        if not self._indexed:
            return
        SavedIndex(folder, self.encoder.fingerprint, state.indexes.owners).save(state.indexes.index)
        for store in (self._encodings, self._multilingual):
            if store is not None:
                store.prune(list(state.indexes.vectors))

    def _close_files(self) -> None:
        for each in (self._segments, self._database):
            if each is not None:
                each.close()


def _faiss_index(dimension: int) -> VectorIndex:
    # Imported late: slow to import, and not needed with another index.
    from errata.cache.index.faiss_index import FaissIndex

    return FaissIndex(dimension)
