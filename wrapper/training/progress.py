"""Progress of a long loop on stderr: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

SECONDS = 5.0
"""Between two lines where there is no terminal."""


class Update(Protocol):
    """Shows how far a loop is."""

    def __call__(self, done: int, note: str = "") -> None:
        """Show it.

        :param done: steps done.
        :param note: what else to show, such as the loss.
        """


@contextmanager
def progress(
    what: str, total: int, *, shown: bool = True, transient: bool = False
) -> Iterator[Update]:
    """Show how far a loop is while the context lasts.

    :param what: the loop.
    :param total: its steps.
    :param shown: False shows nothing.
    :param transient: whether the bar goes when the loop has ended.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    if not shown:
        yield lambda done, note="": None
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=console, transient=transient) as bars:
            task = bars.add_task(what, total=total, note="")
            yield lambda done, note="": bars.update(task, completed=done, note=note)
    else:
        last = time.monotonic()

        def line(done: int, note: str = "") -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS:
                last = time.monotonic()
                console.print(f"{what}: {done:,} of {total:,} {note}".rstrip(), soft_wrap=True)

        yield line
