"""Decisions on questions that were asked before, for as long as no edit has changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from errata.cache.view import View
from errata.pipelines.base import RoutedBatch


class DecisionMemo:
    """The latest decisions, of one view: a gate is pure, so that the same edits decide the same.

    Safe under threads.

    :param size: decisions kept.
    """

    def __init__(self, size: int = 4096) -> None:
        self._size, self._lock = size, threading.Lock()
        self._view: View | None = None
        self._rows: OrderedDict[Hashable, RoutedBatch] = OrderedDict()

    def get(self, view: View, key: Hashable) -> RoutedBatch | None:
        """Return a decision that was made with these edits, as a batch of one.

        :param view: the edits of this moment.
        :param key: all else that decides.
        """
        with self._lock:
            if self._view is not view or key not in self._rows:
                return None
            self._rows.move_to_end(key)
            return self._rows[key]

    def keep(self, key: Hashable, row: RoutedBatch) -> None:
        """Keep a decision; those of another view are forgotten.

        :param key: all that decides but the edits.
        :param row: the decision, as a batch of one.
        """
        if row.view.rolling_out:  # the conversation decides, too
            return
        with self._lock:
            if self._view is not row.view:
                self._view = row.view
                self._rows.clear()
            self._rows[key] = row
            if len(self._rows) > self._size:
                self._rows.popitem(last=False)
