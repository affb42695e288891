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
    also generate.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users: Counter[int] = Counter()
        self._owner: int | None = None
        self._depth = 0
        self._others: Others = "wait"

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Use the model as it is.

        :raises BackendBusy: another thread holds it and does not let others wait.
        """
        me = threading.get_ident()
        with self._changed:
            if not self._users[me]:  # who is in already must not wait for who waits for it
                self._wait_for_owner(me)
            self._users[me] += 1
        try:
            yield
        finally:
            with self._changed:
                self._leave(me)

    @contextmanager
    def exclusive(self, others: Others | None = "wait") -> Iterator[None]:
        """Hold the model alone; waits until nobody uses it.

        :param others: what other threads get meanwhile; None leaves it as it is.
        :raises BackendBusy: this thread is generating, or another holds the model and does not let
            others wait.
        """
        me = threading.get_ident()
        with self._changed:
            if self._users[me] and self._owner != me:
                raise BackendBusy(
                    "expected a model that this thread is not generating with, found a generation "
                    "under way; change backends or edits after it"
                )
            self._wait_for_owner(me)
            before = self._others
            self._owner, self._others = me, others or before
            self._depth += 1
            try:
                # Whoever comes now waits for us; those who are in finish first.
                self._changed.wait_for(lambda: not any(u != me for u in +self._users))
            except BaseException:
                self._release(before)
                raise
        try:
            yield
        finally:
            with self._changed:
                self._release(before)

    def _wait_for_owner(self, me: int) -> None:
        while self._owner not in (None, me):
            if self._others == "raise":
                raise BackendBusy(
                    "expected a model that no other thread is changing, found one in use by "
                    "another thread's using(); try again when its block has ended"
                )
            self._changed.wait()

    def _leave(self, me: int) -> None:
        self._users[me] -= 1
        if not self._users[me]:
            del self._users[me]  # thread numbers are used again
        self._changed.notify_all()

    def _release(self, others: Others) -> None:
        self._others = others
        self._depth -= 1
        if not self._depth:
            self._owner = None
        self._changed.notify_all()
