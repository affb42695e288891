"""Following a folder of patch files with `watchfiles`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.cache.errors import MissingExtra
from errata.cache.patches.files import is_patch_file

log = logging.getLogger("errata")


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """When a change of the folder is acted upon.

    :param quiet_seconds: a change is read once the folder has been left alone for that long: a
        checkout writes its files within milliseconds of each other.
    :param max_wait_seconds: but at the latest after that long, should it never be left alone.
    :param poll_seconds: the files' times are looked at that often, too, since network folders
        report no changes and a folder that was replaced reports none any more.
    """

    quiet_seconds: float = 0.1
    max_wait_seconds: float = 1.6
    poll_seconds: float = 2.0


class FolderWatcher:
    """A thread that reports changes of a folder.

    It ends with :meth:`stop`. It holds nothing but its arguments, so an owner that ``on_change``
    refers to weakly can be collected.

    :param folder: the folder; it may be missing for a time, or be replaced by another.
    :param on_change: called with True after a patch file has changed, and with False from time to
        time, when one may have.
    :param config: when.
    :raises MissingExtra: `watchfiles` is not installed.
    """

    def __init__(
        self, folder: Path, on_change: Callable[[bool], None], config: WatchConfig
    ) -> None:
        watch = _watchfiles()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_follow,
            args=(watch, folder, on_change, config, self._stop),
            name="errata-watch",
            daemon=True,
        )
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread soon; :meth:`join` waits for it."""
        self._stop.set()

    def join(self, seconds: float = 5.0) -> None:
        """Wait for the thread to end, unless it is the caller's own."""
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)


def _watchfiles() -> Callable[..., Iterator[Any]]:
    try:
        from watchfiles import watch
    except ImportError:
        raise MissingExtra(
            "expected the package watchfiles to follow a folder of patches, found none: "
            "pip install 'errata[watch]', or call reload() after a change"
        ) from None
    return watch


def _follow(
    watch: Callable[..., Iterator[Any]],
    folder: Path,
    on_change: Callable[[bool], None],
    config: WatchConfig,
    stop: threading.Event,
) -> None:
    while not stop.is_set():
        try:
            followed = _identity(folder)
            for changes in watch(
                folder,
                watch_filter=None,
                debounce=int(config.max_wait_seconds * 1000),
                step=int(config.quiet_seconds * 1000),
                rust_timeout=int(config.poll_seconds * 1000),
                yield_on_timeout=True,
                stop_event=stop,
                recursive=False,
                raise_interrupt=False,
            ):
                on_change(any(is_patch_file(Path(path)) for _, path in changes))
                if _identity(folder) != followed:  # the system follows the old one
                    break
        except Exception as error:  # the folder is gone, or the system allows no more watches
            log.debug("%s cannot be followed (%s); looking again", folder, error)
            on_change(False)
            stop.wait(config.poll_seconds)


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino
