"""Readers-writer lock of a model: many threads generate, or one changes it."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeVar, cast

from errata.cache.errors import BackendBusy

Others = Literal["wait", "raise"]
"""Behaviour of other threads while one holds the model: wait, or raise :class:`BackendBusy`."""

Method = TypeVar("Method", bound=Callable[..., Any])


class ModelLock:
    """Shared while generating, exclusive while changing weights.

    Both are re-entrant, and a thread with exclusive access may also generate. An interrupt (Ctrl-C)
    on any line leaves the lock free.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users: Counter[int] = Counter()
        self._owner: int | None = None
        self._others: Others = "wait"

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Use the model as it is.

        :raises BackendBusy: another thread holds it with ``others="raise"``.
        """
        me, before = threading.get_ident(), None
        try:
            try:
                with self._changed:
                    if not self._users[me]:  # re-entry must not wait: deadlock
                        self._wait_for_owner(me)
                    before = self._users[me]
                    self._users[me] = before + 1
                yield
            finally:
                self._leave(me, before)
        finally:  # an interrupt may have fallen on the line above
            self._leave(me, before)

    @contextmanager
    def exclusive(self, others: Others | None = "wait") -> Iterator[None]:
        """Hold the model alone; waits until no thread uses it.

        :param others: see :data:`Others`; None keeps the present value.
        :raises BackendBusy: this thread is generating, or another holds it with ``others="raise"``.
        """
        me, before = threading.get_ident(), None
        try:
            try:
                with self._changed:
                    if self._users[me] and self._owner != me:
                        raise BackendBusy(
                            "expected a model that this thread is not generating with, found a "
                            "generation under way; change backends or edits after it"
                        )
                    self._wait_for_owner(me)
                    before = (self._owner, self._others)
                    self._owner, self._others = me, others or self._others
                    # New users now wait; present ones finish first.
                    self._changed.wait_for(lambda: not any(u != me for u in +self._users))
                yield
            finally:
                self._release(me, before)
        finally:  # an interrupt may have fallen on the line above
            self._release(me, before)

    def _wait_for_owner(self, me: int) -> None:
        while self._owner not in (None, me):
            if self._others == "raise":
                raise BackendBusy(
                    "expected a model that no other thread is changing, found one in use by "
                    "another thread's using(); try again when its block has ended"
                )
            self._changed.wait()

    def _leave(self, me: int, before: int | None) -> None:
        """Restore the number of uses by this thread; harmless when called again."""
        if before is None:
            return
        with self._changed:
            self._users[me] = before
            if not before:
                del self._users[me]  # thread ids are reused
            self._changed.notify_all()

    def _release(self, me: int, before: tuple[int | None, Others] | None) -> None:
        """Restore the previous owner, None or this thread; harmless when called again."""
        with self._changed:
            if before is not None and self._owner == me:
                self._owner, self._others = before
            self._changed.notify_all()


class _HasLock(Protocol):
    @property
    def lock(self) -> ModelLock: ...


class _HasBackends(Protocol):
    @property
    def backends(self) -> _HasLock: ...


def sharing_weights(method: Method) -> Method:
    """Decorate a method that must not run while another thread changes the weights."""

    @functools.wraps(method)
    def shared(self: _HasBackends, *arguments: Any, **options: Any) -> Any:
        with self.backends.lock.shared():
            return method(self, *arguments, **options)

    return cast(Method, shared)
