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
from types import TracebackType

import numpy as np

from errata.cache.encoder import Encoder, encode_in_parts
from errata.cache.errors import IndexMismatchError, StoreError
from errata.cache.index.base import VectorIndex
from errata.cache.index.languages import MultilingualVectors
from errata.cache.index.terms import CharacterIndex, WordIndex
from errata.cache.patches.kinds import check
from errata.cache.records import Edit, Vector
from errata.cache.storage.base import EditStore
from errata.cache.storage.opening import open_store
from errata.cache.storage.saved_index import SavedIndex
from errata.cache.storage.transaction import (
    Change,
    State,
    addition,
    applied,
    distinct,
    from_rows,
    identical,
    owners_of,
    refuse_taken,
    retractable,
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
        self._state = State(self._empty_indexes({}))
        try:
            if self._database is not None:
                self._open(self._database, reencode)
        except BaseException:
            self._closed = True
            if self._database is not None:
                self._database.close()
            raise

    def __enter__(self) -> EditCache:
        """Return the cache; it is closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the cache."""
        self.close()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Every edit in force today, those of the files first, else in the order made."""
        return self.view().edits

    @property
    def all_edits(self) -> tuple[Edit, ...]:
        """Every edit, also those that are superseded or out of their dates."""
        return tuple(self._indexed_state().edits())

    @property
    def vectors(self) -> Mapping[str, Vector]:
        """The encodings of the edits' texts, float32 [d] by text."""
        return self._indexed_state().indexes.vectors

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
                state.precedence(), self._multilingual,
            )  # fmt: skip
        return view

    def refresh(self) -> None:
        """Read the changes of other processes; cheap where there are none.

        :raises StoreError: if the file cannot be read; the last good state stays.
        """
        self._check_open()
        if self._database is None or not (self._database.changed() or self._stale):
            return
        # Stays set if the code below fails.
        self._stale = True
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
        wanted = {
            key: dataclasses.replace(edit, location=None, overrules=())
            for key, edit in distinct(edits).items()
        }
        for edit in wanted.values():
            check(edit)
        # Encoded before the lock is taken: other threads need not wait for the encoder.
        fresh = self._encode(self._indexed_state().unknown_texts(wanted.values()))

        def plan(state: State) -> Change | None:
            change = addition(wanted.values(), state)
            if change is None:
                return None
            # The edit whose texts were known may have been retracted since.
            unknown = state.unknown_texts(wanted.values())
            missing = [text for text in unknown if text not in fresh]
            return dataclasses.replace(change, fresh={**fresh, **self._encode(missing)})

        self._change(plan)
        return tuple(self._state.get(key) or edit for key, edit in wanted.items())

    def retract(self, edit_id: str) -> Edit:
        """Remove an edit that was made with :meth:`add`; return it.

        :param edit_id: its id.
        :raises EditError: it is in a patch file, or none; writing fails.
        """
        self._check_open()
        self._indexed_state()
        removed: list[Edit] = []

        def plan(state: State) -> Change:
            removed.append(retractable(edit_id, state))
            return Change(
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
            state = self._state
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
                self._database.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the cache {self.name} is closed: open it again")

    def _empty_indexes(self, vectors: Mapping[str, Vector]) -> SearchIndexes:
        index = self._new_index(self.encoder.dimension)
        return SearchIndexes(index, CharacterIndex(), WordIndex(), {}, vectors)

    def _open(self, database: EditStore, reencode: bool) -> None:
        # Called before reading: no change in between is missed.
        database.changed()
        generation, rows = database.read()
        written, mine = database.fingerprint(), self.encoder.fingerprint
        if rows and written is not None and written != mine and not reencode:
            raise IndexMismatchError(
                f"{database.path}: expected the encoder {mine}, found edits encoded by {written}: "
                "open it with that encoder, or encode again with reencode=True (errata reindex)"
            )
        stored, bodies, seen = from_rows(rows, self._state, database.path)
        vectors = self._encode(self._state.unknown_texts(stored.values()))
        if written != mine and not database.read_only:
            database.set_fingerprint(mine)
        self._state = State(
            self._empty_indexes(vectors),
            stored=stored,
            bodies=bodies,
            seen=seen,
            generation=generation,
            stored_generation=generation,
        )

    def _encode(self, texts: Sequence[str]) -> dict[str, Vector]:
        """Return encodings by text, stored ones where there are any, else the encoder's."""
        if not texts:
            return {}
        known = {} if self._encodings is None else self._encodings.read(texts)
        missing = [text for text in texts if text not in known]
        for part, made in encode_in_parts(self.encoder, missing):
            fresh = dict(zip(part, made, strict=True))
            if self._encodings is not None:
                self._encodings.write(fresh)
            known.update(fresh)
        return known

    def _indexed_state(self) -> State:
        """Return the state with its indexes, built at the first use: files are loaded by then."""
        if self._indexed:
            return self._state
        with self._lock:
            if not self._indexed:
                state = self._state
                vectors = state.indexes.vectors
                owners = owners_of(state.edits())
                index = self._index_over(list(owners), vectors)
                characters, words = CharacterIndex(), WordIndex()
                characters.add(owners)
                words.add(owners)
                indexes = SearchIndexes(index, characters, words, owners, vectors)
                self._state = dataclasses.replace(state, indexes=indexes)
                self._indexed = True
            return self._state

    def _index_over(self, texts: Sequence[str], vectors: Mapping[str, Vector]) -> VectorIndex:
        index = self._new_index(self.encoder.dimension)
        if self.path is not None:
            if SavedIndex(self.path, self.encoder.fingerprint, texts).load_into(index):
                return index
            index = self._new_index(self.encoder.dimension)
        if texts:  # at once: an index that grows is built again and again
            index.add(texts, np.stack([vectors[text] for text in texts]))
        return index

    def _change(self, plan: Callable[[State], Change | None]) -> None:
        """Apply the change that a plan makes of the current state, under the lock."""
        with self._lock:
            self._check_open()
            if self._database is None:
                self._state = applied(self._state, plan(self._state), 0)
                return
            # Stays set if the code below fails.
            self._stale = True
            with self._database.writing() as connection:
                state = self._refreshed(self._state)
                change = plan(state)
                generation = state.stored_generation
                if change is not None:
                    generation = self._database.change(
                        connection, change.insert, change.delete, change.seen_anew(state)
                    )
                state = applied(state, change, generation)
            self._state = state
            self._stale = False

    def _refreshed(self, state: State) -> State:
        """Return the state with the changes of other processes in the database."""
        database = self._database
        if database is None or database.generation() == state.stored_generation:
            return state
        generation, rows = database.read()
        stored, bodies, seen = from_rows(rows, state, database.path)
        fresh = self._encode(state.unknown_texts(stored.values()))
        return updated(
            state,
            stored=stored,
            bodies=bodies,
            seen=seen,
            stored_generation=generation,
            fresh=fresh,
        )

    def _save_derived(self, folder: Path) -> None:
        state = self._state
        if self._indexed:
            keep = SavedIndex(folder, self.encoder.fingerprint, state.indexes.owners)
            keep.save(state.indexes.index)
        if self._encodings is not None and self._indexed:
            self._encodings.prune(list(state.indexes.vectors))
        if self._multilingual is not None and self._indexed:
            self._multilingual.prune(list(state.indexes.vectors))


def _faiss_index(dimension: int) -> VectorIndex:
    # Imported late: slow to import, and not needed with another index.
    from errata.cache.index.faiss_index import FaissIndex

    return FaissIndex(dimension)
