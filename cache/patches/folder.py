"""A folder of patch files as it changes: read whole, compared with what was in force before."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from errata.cache.errors import ErrataError, PatchError, PatchFolderError
from errata.cache.patches.files import is_patch_file, load_folder
from errata.cache.records import Edit

Signature = tuple[tuple[str, int, int, int], ...]
"""Name, time of change, size and inode of each patch file; empty where there is no folder."""

_ATTEMPTS = 10
_ATTEMPT_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class PatchChanges:
    """How the patches of a folder differ from those before.

    :param added: new patches.
    :param changed: patches, as they are now, whose id or whose question, condition or pattern was
        there before with anything else different.
    :param removed: patches that are gone.
    """

    added: tuple[Edit, ...] = ()
    changed: tuple[Edit, ...] = ()
    removed: tuple[Edit, ...] = ()

    def __bool__(self) -> bool:
        """Return whether anything differs."""
        return bool(self.added or self.changed or self.removed)

    def __str__(self) -> str:
        """Return the counts: "1 added, 0 changed, 2 removed"."""
        counts = (len(self.added), len(self.changed), len(self.removed))
        return "{} added, {} changed, {} removed".format(*counts)


def compare_patches(before: Iterable[Edit], after: Iterable[Edit]) -> PatchChanges:
    """Return how two sets of patches differ; a moved line is no difference."""
    old, new = {edit.id: edit for edit in before}, {edit.id: edit for edit in after}
    # without an id of its own a patch is known by its question: the id is a hash of the answer, too
    gone: dict[tuple[str, str], list[Edit]] = {}
    for edit in old.values():
        if edit.id not in new:
            gone.setdefault((edit.kind, edit.scope), []).append(edit)
    added, changed = [], []
    for edit in new.values():
        replaced = gone.get((edit.kind, edit.scope))
        if edit.id in old:
            changed += [edit] if old[edit.id] != edit else []
        elif replaced:
            replaced.pop(0)
            changed.append(edit)
        else:
            added.append(edit)
    removed = (edit for edits in gone.values() for edit in edits)
    return PatchChanges(tuple(added), tuple(changed), tuple(removed))


def signature(folder: Path) -> Signature:
    """Return what changes with the files of a folder; cheap, and without reading them."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_patch_file(Path(entry.path)):
                    stat = entry.stat()  # follows links: a mounted folder swaps them
                    found.append((entry.name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
    except OSError:
        return tuple(sorted(found))
    return tuple(sorted(found))


class PatchFolder:
    """The patches of a folder that are in force, and the errors that keep newer ones out.

    Safe under threads: of two reloads one follows the other, so that the older reading never
    replaces the newer one.

    :param path: the folder.
    :raises PatchFolderError: a patch is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: tuple[ErrataError, ...] = ()
        self._read: Signature | None = None
        self._lock = threading.RLock()
        self.edits = self._load()

    @classmethod
    def of(cls, patches: str | Path | PatchFolder | None) -> PatchFolder | None:
        """Return a folder that is read, read now where it is only named; None for None.

        :param patches: one that is read is for one model: what it reloads is in force there.
        :raises PatchFolderError: a patch is wrong.
        """
        if patches is None or isinstance(patches, PatchFolder):
            return patches
        return cls(Path(patches))

    def stale(self) -> bool:
        """Return whether files seem to have changed since they were read."""
        return signature(self.path) != self._read

    def reload(self, put_in_force: Callable[[tuple[Edit, ...]], None]) -> PatchChanges:
        """Read the folder whole and put its patches in force.

        Files that change while they are read are read again, so that a half-written folder is not
        put in force.

        :param put_in_force: replaces the patches in force by those of the files, or raises.
        :raises PatchFolderError: a patch is wrong.
        :raises errata.cache.errors.ErrataError: what ``put_in_force`` raises. After any error the
            last good set stays in force, and :attr:`errors` has the error.
        """
        with self._lock:
            try:
                edits = self._load()
                put_in_force(edits)
            except PatchFolderError as error:
                self.errors = error.problems
                raise
            except ErrataError as error:
                self.errors = (error,)
                if not isinstance(error, PatchError):
                    self._read = None  # not the files' fault: the same files are worth another try
                raise
            changes = compare_patches(self.edits, edits)
            self.edits, self.errors = edits, ()
            return changes

    def _load(self) -> tuple[Edit, ...]:
        for attempt in range(_ATTEMPTS):
            self._read = signature(self.path)
            try:
                edits = load_folder(self.path)
            except PatchFolderError:
                if signature(self.path) == self._read or attempt == _ATTEMPTS - 1:
                    raise
            else:
                if signature(self.path) == self._read:
                    return edits
            time.sleep(_ATTEMPT_SECONDS)
        return edits
