"""Reading patch files of JSON lines as entries with line numbers.

Scalars stay text: ``1.10``, ``007``, ``no``, ``null`` and ``2027-01-01``; each kind validates its
keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from errata.cache.errors import PatchError
from errata.cache.records import SourceLocation
from errata.cache.storage.json_lines import json_lines, numbered

At = tuple[str | int, ...]
Plain = str | list[Any] | dict[str, Any]

DEEPEST = 20
"""Levels of lists in lists allowed."""


@dataclass(frozen=True)
class Entry:
    """One entry of a file, not yet validated by its kind.

    :param body: text, list or mapping.
    :param line: line of its first key, from 1.
    :param lines: the line of every key and list item inside, by its path.
    """

    body: object
    line: int
    lines: dict[At, int] = field(default_factory=dict)

    def line_of(self, at: At) -> int:
        """Return the line of a path, or of its nearest known parent."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, self.line)


def read_json_lines(text: str, path: str) -> tuple[list[Entry], list[PatchError]]:
    """Return the entries of a file with one JSON object a line, and the problems of other lines.

    :param text: the file's text.
    :param path: the file, for messages.
    """
    problems: list[PatchError] = []

    def on_error(number: int, error: ValueError | RecursionError) -> None:
        if isinstance(error, json.JSONDecodeError):
            message = (
                f"not JSON at character {error.pos + 1} ({error.msg}): write one object a line, "
                'such as {"question": "…", "answer": "…"}'
            )
        else:
            message = str(error) if isinstance(error, ValueError) else "nested too deep"
        problems.append(PatchError(message, SourceLocation(path, number)))

    lines = json_lines(numbered(text.split("\n")), on_error, _decode)
    return [Entry(body, number) for number, body in lines], problems


def _decode(line: str) -> object:
    value = json.loads(
        line, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_pairs
    )
    return _as_text(value, 0)


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} appears twice in one patch: keep one")
    return body


def _as_text(value: object, depth: int) -> object:
    if depth > DEEPEST:
        raise ValueError(f"lists nested deeper than {DEEPEST}")
    if isinstance(value, dict):
        return {key: _as_text(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_text(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return value
