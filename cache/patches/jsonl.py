"""Reading patch files of JSON lines as entries with line numbers.

Scalars stay text: ``1.10``, ``007``, ``no``, ``null`` and ``2027-01-01``; each kind validates its
keys.
"""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from errata.cache.errors import PatchError
from errata.cache.records import SourceLocation
from errata.cache.storage.json_lines import numbered

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


def read_json_lines(lines: Iterable[str], path: str) -> Iterator[Entry | PatchError]:
    """Yield the entry of each line of a file with one JSON object a line, or its problem.

    :param lines: the lines of the file.
    :param path: the file, for messages.
    """
    for number, line in numbered(lines):
        try:
            yield Entry(decode(line), number)
        except (ValueError, RecursionError) as error:
            yield PatchError(_message(error), SourceLocation(path, number))


def _message(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return (
            f"not JSON at character {error.pos + 1} ({error.msg}): write one object a line, "
            'such as {"question": "…", "answer": "…"}'
        )
    return str(error) if isinstance(error, ValueError) else "nested too deep"


def decode(line: str) -> object:
    """Return the value of a JSON line, numbers and the like as the text that was typed.

    :raises ValueError, RecursionError: it is not JSON, has a key twice, or nests too deep.
    """
    value = json.loads(
        line, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_pairs
    )
    return _as_text(value, 0)


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {reprlib.repr(twice)} appears twice in one patch: keep one")
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
