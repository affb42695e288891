"""Keeping up with a folder of patches: ``reload``, ``watch=True`` and ``patch_errors``."""

from __future__ import annotations

import functools
import logging
import weakref

from errata.cache.errors import ErrataError
from errata.cache.patches.folder import PatchChanges, PatchFolder
from errata.cache.patches.watch import FolderWatcher, WatchConfig
from errata.cache.store import EditCache
from errata.editing.backends import Backends

log = logging.getLogger("errata")


class PatchReloading:
    """The part of :class:`~errata.model.EditableModel` that keeps up with its patch files."""

    backends: Backends
    cache: EditCache
    _files: PatchFolder | None
    _watcher: FolderWatcher | None = None
    _last_errors: tuple[str, ...] = ()

    @property
    def patch_errors(self) -> tuple[ErrataError, ...]:
        """The problems that keep the patch files as they are now out of force; empty: none do.

        Meanwhile the last good set stays in force.
        """
        return () if self._files is None else self._files.errors

    def reload(self) -> PatchChanges:
        """Read the patches folder again; after an error the last good set stays in force.

        :return: the patches added, changed and removed.
        :raises errata.cache.errors.PatchFolderError: a patch is wrong.
        """
        if self._files is None:
            return PatchChanges()
        with self.backends.changing():
            return self._files.reload(self.cache.set_files)

    def _start_watching(self, watch: bool | WatchConfig) -> None:
        """Follow the folder until the model is closed or collected."""
        if not watch:
            return
        if self._files is None:
            raise ErrataError(
                "expected patches= beside watch=True, found no folder to follow; name one"
            )
        config = WatchConfig() if watch is True else watch
        # weak, so that an unused model goes, and takes the thread with it
        on_change = functools.partial(_on_change, weakref.ref(self))
        self._watcher = FolderWatcher(self._files.path, on_change, config)
        weakref.finalize(self, self._watcher.stop)

    def _stop_watching(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.join()

    def _follow_files(self, certain: bool) -> None:
        """Reload after a change; an error is logged, once, and kept in :attr:`patch_errors`.

        :param certain: whether a file has changed for certain.
        """
        if self._files is None or not (certain or self._files.stale()):
            return
        try:
            changes = self.reload()
        except ErrataError as error:
            messages = tuple(map(str, self.patch_errors or (error,)))
            if messages != self._last_errors:
                self._last_errors = messages
                log.warning("patches: the last good set stays in force: %s", "\n".join(messages))
            return
        if changes or self._last_errors:
            log.info("patches: %s", changes)
        self._last_errors = ()


def _on_change(model: weakref.ref[PatchReloading], certain: bool) -> None:
    """Reload the patches of a model, if it is still there; the watcher's thread never fails."""
    owner = model()
    if owner is not None:
        try:
            owner._follow_files(certain)
        except Exception:
            log.exception("patches: the change was not read")
