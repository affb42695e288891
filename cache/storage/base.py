"""What the edit cache needs of the place that its edits are kept in."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from errata.cache.records import Vector
from errata.cache.storage.database import Database, Row


class EditStore(Protocol):
    """Edits that outlive the process: SQLite's file, or PostgreSQL with a local copy of it.

    Contract: a change is in force for every reader or for none; one that returned survives a kill;
    changes by other processes are seen in the order in which they were made.
    """

    @property
    def path(self) -> Path:
        """The file that is read."""

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written."""

    @property
    def segment_home(self) -> Database | None:
        """The file beside which edits may be on disk only; None: all edits are in memory."""

    def changed(self) -> bool:
        """Return whether another one changed the edits since this thread's last call."""

    def generation(self) -> int:
        """Return the number of changes made so far."""

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the edits' encoder, or None where none was set."""

    def set_fingerprint(self, fingerprint: str) -> None:
        """Store the encoder's fingerprint."""

    def read(self) -> tuple[int, list[Row]]:
        """Return the generation and its edits, in the order they were made."""

    def writing(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        """Open an exclusive transaction; commit at the end, roll back on any exception."""

    def change(
        self,
        connection: sqlite3.Connection,
        insert: Sequence[Row],
        delete: Sequence[str],
        seen: Mapping[str, str] | None = None,
    ) -> int:
        """Write edits inside :meth:`writing`; return the new generation."""

    def close(self) -> None:
        """Close every connection."""


class Encodings(Protocol):
    """Encodings of texts kept beside the edits. They can be made again: no error is raised."""

    def read(self, texts: Sequence[str]) -> dict[str, Vector]:
        """Return the stored encodings by text, each float32 [d]."""

    def write(self, vectors: Mapping[str, Vector]) -> None:
        """Store encodings by text."""

    def prune(self, texts: Sequence[str]) -> None:
        """Delete the encodings of other texts, where these are many."""


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """The parts of an open cache.

    :param name: where they are, for messages.
    :param folder: where the indexes are kept between runs; None: nowhere.
    :param edits: the edits; None: in memory.
    :param encodings: their encodings; None: in memory.
    :param multilingual: the same by the encoder of other languages, if there is one.
    """

    name: str = "in memory"
    folder: Path | None = None
    edits: EditStore | None = None
    encodings: Encodings | None = None
    multilingual: Encodings | None = None
