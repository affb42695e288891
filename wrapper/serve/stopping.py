"""Ending an answer early: at a stop string, or when its client has gone."""

from __future__ import annotations

import threading
from typing import Any


class StopTrimmer:
    """Cuts a stream of text before the first of some strings.

    :param stop: the strings.
    """

    def __init__(self, stop: str | list[str] | None) -> None:
        self._stops = [one for one in ([stop] if isinstance(stop, str) else stop or ()) if one]
        self._held = ""
        self.stopped = False

    def put(self, text: str) -> str:
        """Accept text; return what cannot be the beginning of a stop string any more."""
        if self.stopped:
            return ""
        self._held += text
        found = [at for one in self._stops if (at := self._held.find(one)) >= 0]
        if found:
            self.stopped = True
            return self._take(min(found))
        longest = max(map(len, self._stops), default=1) - 1
        keep = next(
            (
                n for n in range(min(longest, len(self._held)), 0, -1)
                if any(one.startswith(self._held[-n:]) for one in self._stops)
            ),
            0,
        )  # fmt: skip
        return self._take(len(self._held) - keep)

    def end(self) -> str:
        """Return what was held back."""
        return "" if self.stopped else self._take(len(self._held))

    def _take(self, count: int) -> str:
        taken, self._held = self._held[:count], self._held[count:]
        return taken


class ClientGone:
    """A stopping criterion: the client has gone.

    :param gone: set when it has.
    """

    def __init__(self, gone: threading.Event) -> None:
        self._gone = gone

    def __call__(self, ids: Any, scores: Any, **options: Any) -> Any:
        """Return whether to stop, for each row."""
        import torch

        return torch.full((ids.shape[0],), self._gone.is_set(), device=ids.device)
