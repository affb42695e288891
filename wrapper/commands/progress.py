"""Progress of commands on stderr: bars on a terminal, plain lines elsewhere, none in JSON runs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Protocol

from errata.commands.output import console, print_line
from errata.training.progress import Update
from errata.training.progress import progress as training_progress

SECONDS = 5.0
"""After which a plain line says what a command is doing."""

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


class Advance(Protocol):
    """Counts what is done."""

    def __call__(self, count: int = 1, note: str = "") -> None:
        """Add to the count.

        :param count: how many more are done.
        :param note: what else to show; an empty one keeps the last.
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

    if _quiet.get():
        yield
        return
    screen = console(stderr=True)
    with ExitStack() as stack:
        if screen.is_terminal:
            stop = stack.enter_context(screen.status(what)).stop
        else:
            timer = threading.Timer(SECONDS, print_line, (f"{what} …",), {"stderr": True})
            timer.daemon, stop = True, timer.cancel
            timer.start()
            stack.callback(stop)
        token = encoding_progress.set(_encoding_bar(stack, stop))
        stack.callback(encoding_progress.reset, token)
        yield


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
    with training_progress(what, total, shown=not _quiet.get(), transient=True) as update:
        yield _Counter(update)


class _Counter:
    """Counts what is done, and shows it."""

    def __init__(self, update: Update) -> None:
        self._update, self.done, self._note = update, 0, ""

    def __call__(self, count: int = 1, note: str = "") -> None:
        self.done, self._note = self.done + count, note or self._note
        self._update(self.done, self._note)
