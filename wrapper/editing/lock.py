"""One thread changes a model, or any number use it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from errata.cache.errors import BackendBusy

Others = Literal["wait", "raise"]
"""What other threads get while one holds the model: they wait, or :class:`BackendBusy`."""


class ModelLock:
    """Shared by those who generate, exclusive for the one who changes weights.

    Both may be entered again by the thread that holds them, and whoever holds the model alone may
    also generate. An interrupt (Ctrl-C) on any line leaves nothing held.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users: Counter[int] = Counter()
        self._owner: int | None = None
        self._others: Others = "wait"

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Use the model as it is.

        :raises BackendBusy: another thread holds it and does not let others wait.
        """
        me, before = threading.get_ident(), None
        try:
            try:
                with self._changed:
                    if not self._users[me]:  # who is in already must not wait for who waits for it
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
        """Hold the model alone; waits until nobody uses it.

        :param others: what other threads get meanwhile; None leaves it as it is.
        :raises BackendBusy: this thread is generating, or another holds the model and does not let
            others wait.
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
                    # Whoever comes now waits for us; those who are in finish first.
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
        """Have as many uses by this thread as before it entered; harmless when called again."""
        if before is None:
            return
        with self._changed:
            self._users[me] = before
            if not before:
                del self._users[me]  # thread numbers are used again
            self._changed.notify_all()

    def _release(self, me: int, before: tuple[int | None, Others] | None) -> None:
        """Have the owner that was before, None or this thread; harmless when called again."""
        with self._changed:
            if before is not None and self._owner == me:
                self._owner, self._others = before
            self._changed.notify_all()
