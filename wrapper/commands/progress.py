"""Progress of commands on stderr: bars on a terminal, plain lines elsewhere, none in JSON runs."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
    """Show that a step without a count is under way; the encoding of many texts in it is counted.

    :param what: the step, such as "loading the model".
    """
    from errata.cache.encoder import encoding_progress

    screen = console(stderr=True)
    if _quiet.get():
        yield
    elif screen.is_terminal:
        with ExitStack() as stack:
            status = stack.enter_context(screen.status(what))
            token = encoding_progress.set(_encoding_bar(stack, status.stop))
            stack.callback(encoding_progress.reset, token)
            yield
    else:
        lines: list[_Lines] = []

        def encoded(done: int, total: int) -> None:
            if not lines:
                lines.append(_Lines("encoding", total))
            lines[0](done - lines[0].done)

        token = encoding_progress.set(encoded)
        timer = threading.Timer(SECONDS, print_line, (f"{what} …",), {"stderr": True})
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            encoding_progress.reset(token)
            timer.cancel()


def _encoding_bar(stack: ExitStack, stop: Callable[[], None]) -> Callable[[int, int], None]:
    """Return what shows a bar of encoded texts, from the second call on: few need none.

    :param stack: closes the bar.
    :param stop: ends what is shown before.
    """
    advance: list[Advance] = []
    before = 0

    def encoded(done: int, total: int) -> None:
        nonlocal before
        if done < total and not advance:
            stop()
            advance.append(stack.enter_context(progress("encoding", total)))
        for one in advance:
            one(done - before)
        before = done

    return encoded


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
        self._what, self._total, self.done = what, total, 0
        self._last = time.monotonic()

    def __call__(self, count: int = 1, what: str | None = None) -> None:
        self.done += count
        self._what = what or self._what
        if time.monotonic() - self._last >= SECONDS:
            self._last = time.monotonic()
            print_line(f"{self._what}: {self.done:,} of {self._total:,}", stderr=True)
