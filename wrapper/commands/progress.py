"""Progress of commands on stderr: bars on a terminal, plain lines elsewhere, none in JSON runs."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from errata.commands.output import console, print_line

SECONDS = 5.0
"""After which a plain line says what a command is doing."""

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


class Advance(Protocol):
    """Counts what is done."""

    def __call__(self, count: int = 1, what: str | None = None) -> None:
        """Add to the count.

        :param count: how many more are done.
        :param what: a new description; None keeps the last one.
        """


@contextmanager
def quiet(on: bool) -> Iterator[None]:
    """Show no progress while a command prints JSON, and no bars of other packages either.

    :param on: whether it does.
    """
    if on:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when it is imported
        if "transformers" in sys.modules:
            from transformers.utils import logging

            logging.disable_progress_bar()
    token = _quiet.set(on)
    try:
        yield
    finally:
        _quiet.reset(token)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that a step without a count is under way.

    :param what: the step, such as "loading the model".
    """
    screen = console(stderr=True)
    if _quiet.get():
        yield
    elif screen.is_terminal:
        with screen.status(what):
            yield
    else:
        timer = threading.Timer(SECONDS, print_line, (f"{what} …",), {"stderr": True})
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show how much of a step is done.

    :param what: the step.
    :param total: of what is counted.
    """
    screen = console(stderr=True)
    if _quiet.get():
        yield lambda count=1, what=None: None
    elif screen.is_terminal:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=screen, transient=True) as bars:
            task = bars.add_task(what, total=total)
            yield lambda count=1, what=None: bars.update(task, advance=count, description=what)
    else:
        yield _Lines(what, total)


class _Lines:
    """A plain line from time to time."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._last = time.monotonic()

    def __call__(self, count: int = 1, what: str | None = None) -> None:
        self._done += count
        self._what = what or self._what
        if time.monotonic() - self._last >= SECONDS:
            self._last = time.monotonic()
            print_line(f"{self._what}: {self._done:,} of {self._total:,}", stderr=True)
