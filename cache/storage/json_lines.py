"""The reader of JSON lines, one value a line; each caller words its own errors.

Patch files, training data, comparison data and the records of a comparison are read by it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

UNREADABLE = (OSError, EOFError, UnicodeDecodeError, zlib.error)
"""Errors of a file that is missing, not UTF-8, or gzipped and damaged."""


class OnError(Protocol):
    """Called with a line that cannot be decoded; returns to skip it, or raises."""

    def __call__(self, number: int, error: ValueError | RecursionError) -> None:
        """Report an error.

        :param number: the line, from 1.
        :param error: a ``json.JSONDecodeError``, what ``decode`` raised, or a too deep nesting.
        """


def read_text(path: Path) -> str:
    """Return the text of a file in UTF-8, gzipped (``.gz``) or not, without a byte order mark.

    :raises OSError, EOFError, UnicodeDecodeError, zlib.error: see :data:`UNREADABLE`.
    """
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")


def text_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of a file that is not blank, gzipped (``.gz``) or not.

    :raises OSError, EOFError, UnicodeDecodeError, zlib.error: see :data:`UNREADABLE`.
    """
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        yield from numbered(file)


def numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield number, from 1, and text of each line that is not blank."""
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def json_lines(
    lines: Iterable[tuple[int, str]], on_error: OnError, decode: Callable[[str], Any] = json.loads
) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each line.

    :param lines: numbered lines, of :func:`numbered` or :func:`text_lines`.
    :param on_error: called where a line cannot be decoded.
    :param decode: the decoder of one line; raises ``ValueError`` or ``RecursionError``.
    """
    for number, line in lines:
        try:
            value = decode(line)
        except (ValueError, RecursionError) as error:
            on_error(number, error)
            continue
        yield number, value
