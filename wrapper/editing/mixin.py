"""Choice of the backend of an EditableModel: ``using`` and ``use``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from errata.cache.errors import EditError
from errata.cache.records import Edit
from errata.deprecation import forward
from errata.editing.active import ActiveBackend
from errata.editing.backends import Backends, Unsupported
from errata.editing.base import Editor
from errata.editing.lock import Others
from errata.pipelines.base import Pipeline
from errata.pipelines.cache import CACHE
from errata.registry import names

__getattr__ = forward(__name__)


class WeightEditing:
    """The part of :class:`~errata.model.EditableModel` that chooses backends."""

    backends: Backends
    shadow: bool

    def using(
        self,
        backend: str | Editor | Pipeline,
        edits: Sequence[Edit] | None = None,
        *,
        unsupported: Unsupported = "cache",
        others: Others = "wait",
        verify: bool = True,
        **options: Any,
    ) -> AbstractContextManager[ActiveBackend]:
        """Make edits with a backend inside a ``with`` block, and undo them at its end.

        Edits in the weights are answered by the base model's ``generate``; a pipeline answers with
        its gate and reasoner. Other edits in force stay with the cache. On leaving, also by an
        exception, every parameter and buffer is restored bit for bit.

        :param backend: name of an editor (``rome``, ``ft``, …) or of a pipeline
            (``serac``, ``ike``), an :class:`~errata.editing.base.Editor`, a
            :class:`~errata.pipelines.base.Pipeline`, or ``cache``.
        :param edits: the edits to make, in force or not; by default all edits in force.
        :param unsupported: edits that it cannot make stay with the ``cache``, or ``raise``
            before anything is touched.
        :param others: other threads that generate or edit meanwhile ``wait``, or ``raise``
            :class:`~errata.cache.errors.BackendBusy`.
        :param verify: of an editor: ask the edited model every edit's question, and say in
            ``held`` and ``not_taken`` of the result which edits hold.
        :param options: for the backend, such as ``epochs=20``.
        :return: yields the backend, with the edits it makes and those it cannot make.
        :raises errata.cache.errors.UnsupportedEdit: with ``unsupported="raise"``.
        :raises errata.cache.errors.BackendBusy: the model is another thread's, or generating.
        """
        self._check_shadow(backend)
        return self.backends.using(backend, edits, unsupported, others, verify, **options)

    def use(
        self,
        backend: str | Editor | Pipeline,
        *,
        unsupported: Unsupported = "cache",
        verify: bool = True,
        **options: Any,
    ) -> ActiveBackend:
        """Make the edits in force with a backend from now on; ``use("cache")`` undoes it.

        Edits added, retracted or reloaded later follow. ``generate(edits=False)`` skips the cache,
        but edits in the weights remain.

        :param backend: as in :meth:`using`, like the other parameters.
        :return: the backend, with the edits it makes and those it cannot make.
        """
        self._check_shadow(backend)
        return self.backends.use(backend, unsupported, verify, **options)

    def save_edits(self, path: str | Path) -> None:
        """Write the edits that an editor has made in the weights to a file of their own.

        :class:`errata.editing.saved.SavedEdits` applies it to another copy of the base model.

        :param path: the file to write.
        :raises errata.cache.errors.EditError: no editor is in use.
        """
        self.backends.save(path)

    @property
    def in_use(self) -> ActiveBackend:
        """The backend in use, the edits it makes, and those left to the cache."""
        return self.backends.in_use

    def _check_shadow(self, backend: object) -> None:
        by_name = isinstance(backend, str) and backend in (CACHE, *names("errata.pipelines"))
        if self.shadow and not by_name and not isinstance(backend, Pipeline):
            raise EditError(
                "expected the base model's answers in shadow mode, found a backend that "
                "changes its weights; set shadow = False first"
            )
