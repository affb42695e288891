"""What an EditableModel can have made in its weights: ``using`` and ``use``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from errata.cache.errors import EditError
from errata.cache.records import Edit
from errata.editing.backends import ActiveBackend, Backends, Unsupported
from errata.editing.base import Editor
from errata.editing.lock import Others
from errata.pipelines.base import Pipeline
from errata.pipelines.cache import CACHE
from errata.registry import names


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
        **options: Any,
    ) -> AbstractContextManager[ActiveBackend]:
        """Have edits made by a backend inside a ``with``; then every weight is what it was.

        What an editor puts into the weights is answered by the base model's own ``generate``; a
        pipeline answers with a gate and a reasoner of its own. Other edits in force stay with the
        cache. Whatever happens inside, on leaving every parameter and buffer is bit for bit what
        it was.

        :param backend: name of an editor (``ft``, ``ft-l``, ``lora``, ``rome``) or of a pipeline
            (``serac``, ``ike``), an :class:`~errata.editing.base.Editor`, a
            :class:`~errata.pipelines.base.Pipeline`, or ``cache``.
        :param edits: what it is to make, in force or not; by default all edits in force.
        :param unsupported: edits that it cannot make stay with the ``cache``, or ``raise``
            before anything is touched.
        :param others: meanwhile other threads that generate or edit ``wait``, or ``raise``
            :class:`~errata.cache.errors.BackendBusy`.
        :param options: for the backend, such as ``epochs=20``.
        :return: yields which edits it makes and which not.
        :raises errata.cache.errors.UnsupportedEdit: with ``unsupported="raise"``.
        :raises errata.cache.errors.BackendBusy: the model is another thread's, or generating.
        """
        self._check_in_the_open(backend)
        return self.backends.using(backend, edits, unsupported, others, **options)

    def use(
        self,
        backend: str | Editor | Pipeline,
        *,
        unsupported: Unsupported = "cache",
        **options: Any,
    ) -> ActiveBackend:
        """Have the edits in force made by a backend from now on; ``use("cache")`` undoes it.

        Edits made, retracted or reloaded later follow. ``generate(edits=False)`` passes over the
        cache, not over the weights.

        :param backend: as in :meth:`using`, like the other parameters.
        :return: which edits it makes and which not.
        """
        self._check_in_the_open(backend)
        return self.backends.use(backend, unsupported, **options)

    @property
    def in_use(self) -> ActiveBackend:
        """The backend in use, what edits it makes, and what it left to the cache."""
        return self.backends.in_use

    def _check_in_the_open(self, backend: object) -> None:
        named = isinstance(backend, str) and backend in (CACHE, *names("errata.pipelines"))
        if self.shadow and not named and not isinstance(backend, Pipeline):
            raise EditError(
                "expected the base model's own answers in shadow mode, found a backend that "
                "changes its weights; set shadow = False first"
            )


Method = TypeVar("Method", bound=Callable[..., Any])


def sharing_weights(method: Method) -> Method:
    """Decorate a method that must not run while another thread changes the weights."""

    @functools.wraps(method)
    def shared(self: WeightEditing, *arguments: Any, **options: Any) -> Any:
        with self.backends.lock.shared():
            return method(self, *arguments, **options)

    return cast(Method, shared)
