"""Records of a data file with their locations, for error messages."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.cache.errors import ErrataError
from errata.cache.storage.json_lines import UNREADABLE, json_lines, numbered, read_text
from errata.cache.text.normalize import has_surrogate

_REMEDY = "correct the record, or take it out of the file"


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping of a data file.

    :param where: file and line (JSON lines), or file and index from 0 (a JSON list), and the path
        of keys to it.
    :param index: its position in the file, from 0.
    :param body: its keys.
    :param line: its line, from 1, where the file has one record a line; else 0.
    """

    where: str
    index: int
    body: Mapping[str, Any]
    line: int = 0

    def wrong(self, expected: str, found: object, remedy: str = _REMEDY) -> ErrataError:
        """Return an error about this record.

        :param expected: the expected value.
        :param found: the value found.
        :param remedy: what to do.
        """
        return ErrataError(f"{self.where}: expected {expected}, found {_shown(found)}; {remedy}")

    def text(self, *keys: str) -> str:
        """Return the text under the first key present, without outer spaces.

        :raises ErrataError: there is none, or it is empty or not a text.
        """
        key = self._present(keys)
        value = self.body.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(f"a text under {' or '.join(map(repr, keys))}", self._seen(key))
        return value.strip()

    def texts(self, *keys: str) -> tuple[str, ...]:
        """Return the texts under the first key present: one, a list, or lists.

        Blank texts, which public files have, are left out.

        :raises ErrataError: a value is neither text nor number.
        """
        key = self._present(keys)
        return tuple(dict.fromkeys(self._flat(self.body.get(key, ()), key)))

    def some_texts(self, *keys: str) -> tuple[str, ...]:
        """Return the texts under the first key present, at least one.

        :raises ErrataError: there is none, or a value is neither text nor number.
        """
        found = self.texts(*keys)
        if not found:
            key = self._present(keys)
            raise self.wrong(f"one text or more under {' or '.join(map(repr, keys))}",
                             self._seen(key))  # fmt: skip
        return found

    def inside(self, key: str) -> Record:
        """Return the mapping under a key.

        :raises ErrataError: there is none.
        """
        value = self.body.get(key)
        if not isinstance(value, Mapping):
            raise self.wrong(f"a mapping under {key!r}", self._seen(key))
        return Record(f"{self.where}, {key}", self.index, value, self.line)

    def each(self, key: str) -> list[Record]:
        """Return the mappings of the list under a key; none where the key is missing.

        :raises ErrataError: it is not a list of mappings.
        """
        value = self.body.get(key, [])
        if not isinstance(value, list):
            raise self.wrong(f"a list under {key!r}", value)
        for item in value:
            if not isinstance(item, Mapping):
                raise self.wrong(f"mappings in the list under {key!r}", item)
        return [
            Record(f"{self.where}, {key}[{at}]", self.index, item, self.line)
            for at, item in enumerate(value)
        ]

    def has(self, *keys: str) -> bool:
        """Return whether all keys are present."""
        return all(key in self.body for key in keys)

    def _present(self, keys: tuple[str, ...]) -> str:
        return next((key for key in keys if self.body.get(key) not in (None, "")), keys[0])

    def _seen(self, key: str) -> object:
        return self.body[key] if key in self.body else f"the keys {', '.join(self.body) or 'none'}"

    def _flat(self, value: object, key: str) -> list[str]:
        if value is None:
            return []
        if isinstance(value, str):
            return [value.strip()] if value.strip() else []
        if isinstance(value, int | float) and not isinstance(value, bool):
            return [str(value)]
        if isinstance(value, list | tuple):
            return [text for item in value for text in self._flat(item, key)]
        raise self.wrong(f"texts under {key!r}", value)


@dataclass(frozen=True, slots=True)
class Source:
    """A file or folder of data.

    :param path: where it is.
    :param records: its records, in order; none of a folder or a YAML file.
    """

    path: Path
    records: tuple[Record, ...] = ()

    @property
    def first(self) -> Record | None:
        """The first record, by which the format is detected."""
        return self.records[0] if self.records else None


def read_source(path: str | Path) -> Source:
    """Read a JSON list or JSON lines, gzipped or not; keep only the path of a folder or YAML file.

    :param path: a file or folder.
    :raises ErrataError: it cannot be read, or is not a list of JSON objects; names file and line or
        index.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() in (".yaml", ".yml"):
        return Source(path)
    try:
        text = read_text(path)
    except UNREADABLE as error:
        raise ErrataError(
            f"{path}: expected a file of records in UTF-8, found: {error}; name a JSON file, JSON "
            "lines, or a folder of patches"
        ) from error
    records = _of_list(text, path) if text.lstrip()[:1] == "[" else _of_lines(text, path)
    if not records:
        raise ErrataError(f"{path}: expected one record or more, found none; name another file")
    return Source(path, tuple(records))


def _of_list(text: str, path: Path) -> list[Record]:
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ErrataError(
            f"{path}{line}: expected a JSON list, found: {error}; download or write it again"
        ) from error
    return [_record(value, f"{path}[{at}]", at, 0) for at, value in enumerate(values)]


def _of_lines(text: str, path: Path) -> list[Record]:
    def on_error(number: int, error: ValueError | RecursionError) -> None:
        raise ErrataError(
            f"{path}:{number}: expected one JSON object a line (or a JSON list of them), found: "
            f"{error}; correct the line"
        ) from error

    lines = enumerate(json_lines(numbered(text.split("\n")), on_error))
    return [_record(value, f"{path}:{line}", at, line) for at, (line, value) in lines]


def _record(value: object, where: str, index: int, line: int) -> Record:
    if not isinstance(value, dict):
        raise ErrataError(f"{where}: expected a JSON object, found {_shown(value)}; {_REMEDY}")
    if has_surrogate(json.dumps(value, ensure_ascii=False)):
        raise ErrataError(
            f"{where}: expected texts of whole characters, found half of one (a lone surrogate); "
            f"{_REMEDY}"
        )
    return Record(where, index, value, line)


def _shown(value: object) -> str:
    if isinstance(value, str) and value.startswith("the keys "):
        return value
    return "nothing" if value is None else reprlib.repr(value)
