"""Rows of JSON-lines files, plain or compressed with gzip."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from errata.cache.errors import ErrataError


def read_rows(path: Path, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of JSON lines.

    :param path: the file; compressed if its name ends in ``.gz``.
    :param keys: of every row.
    :raises ErrataError: the file is missing, damaged, or a row is no mapping with these keys.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as lines
        ):
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _row(line, keys, f"{path}:{number}")
    except FileNotFoundError as error:
        raise ErrataError(f"expected a file at {path}, found none; name another") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ErrataError(f"{path}: expected JSON lines, found: {error}; restore it") from error


def _row(line: str, keys: Sequence[str], where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ErrataError(f"{where}: expected a JSON mapping, found: {error}") from error
    if not isinstance(row, dict):
        raise ErrataError(f"{where}: expected a JSON mapping, found {line.strip()[:60]!r}")
    missing = [key for key in keys if key not in row]
    if missing:
        raise ErrataError(
            f"{where}: expected the keys {', '.join(keys)}, found no {', '.join(missing)}; "
            "name a file of this form"
        )
    return row
