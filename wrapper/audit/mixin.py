"""Keeping the traces of calls: the last one of each thread, and all of them in a log."""

from __future__ import annotations

import threading
import time

from errata.audit.records import AuditedCall
from errata.audit.writer import AuditWriter
from errata.output import Trace
from errata.pipelines.base import RoutedBatch


class Audited:
    """The part of :class:`~errata.model.EditableModel` that keeps traces."""

    audit: AuditWriter | None
    _last: threading.local

    @property
    def last_trace(self) -> Trace | None:
        """The trace of this thread's last call of ``generate``, None before the first."""
        trace: Trace | None = getattr(self._last, "trace", None)
        return trace

    def _keep_trace(self, batch: RoutedBatch, trace: Trace, *, shadow: bool = False) -> None:
        """Keep the trace of a call, and log it, if a log is kept.

        :param shadow: the base model answered, whatever was decided.
        """
        self._last.trace = trace
        if self.audit is not None:
            self.audit.record(AuditedCall(time.time(), trace, batch, shadow))
