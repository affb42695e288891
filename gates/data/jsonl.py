"""JSON lines with errors that name the file, the line and the correction."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from errata.cache.errors import ModelError
from errata.cache.storage import json_lines as reader
from errata.cache.text.normalize import has_surrogate


def text_lines(path: str | Path) -> Iterator[tuple[str, str]]:
    """Yield ``file:line`` and each line that is not blank.

    :param path: text, gzipped or not.
    :raises ModelError: the file cannot be read.
    """
    try:
        for number, line in reader.text_lines(path):
            yield f"{path}:{number}", line
    except reader.UNREADABLE as error:
        raise ModelError(
            f"{path}: cannot be read as lines of UTF-8: {error}; write it again, or name another"
        ) from error


def json_object(where: str, line: str) -> dict[str, Any]:
    """Return the object of a line.

    :raises ModelError: it is no JSON object.
    """

    def on_error(number: int, error: ValueError | RecursionError) -> None:
        raise ModelError(
            f"{where}: expected one JSON object a line, found: {error}; mend the line"
        ) from error

    [(_, row)] = reader.json_lines([(1, line)], on_error)
    if not isinstance(row, dict):
        raise ModelError(f"{where}: expected a JSON object, found {line[:60]!r}; mend the line")
    return row


def json_lines(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ``file:line`` and the object of each line that is not blank.

    :param path: JSON lines, gzipped or not.
    :raises ModelError: the file cannot be read, or a line is no JSON object.
    """
    return ((where, json_object(where, line)) for where, line in text_lines(path))


def text_at(where: str, row: dict[str, Any], key: str) -> str:
    """Return the text under a key, without white space around it.

    :raises ModelError: it is missing, empty, no text, or has half a character.
    """
    text = row.get(key)
    if not isinstance(text, str) or not text.strip():
        found = f"found {text!r}" if key in row else f"found the keys {sorted(row)}"
        raise ModelError(
            f"{where}: expected a text under {key!r}, {found}; write one, or delete the line"
        )
    if has_surrogate(text):
        raise ModelError(
            f"{where}: expected a text of whole characters under {key!r}, found half of one (a "
            f"lone surrogate) in {text[:60]!r}; write it whole, or delete the line"
        )
    return text.strip()


def only_keys(where: str, row: dict[str, Any], keys: Collection[str]) -> None:
    """Raise an error where keys are missing or unknown.

    :raises ModelError: names the first wrong key and the nearest known one.
    """
    unknown = [key for key in row if key not in keys]
    missing = [key for key in keys if key not in row]
    if not unknown and not missing:
        return
    close = difflib.get_close_matches(unknown[0], missing or keys, n=1) if unknown else []
    if close:
        mend = f"rename {unknown[0]!r} to {close[0]!r}"
    elif missing:
        mend = f"add {missing[0]!r}, or delete the line"
    else:
        mend = f"delete the key {unknown[0]!r}"
    raise ModelError(
        f"{where}: expected the keys {', '.join(keys)}, found {', '.join(sorted(row))}; {mend}"
    )
