"""The reader of JSON lines: places, blank lines, errors, gzip."""

from __future__ import annotations

import gzip

import pytest

from errata.cache.storage.json_lines import (
    UNREADABLE,
    json_lines,
    numbered,
    read_text,
    text_lines,
)
from errata.cache.text.normalize import has_surrogate

LINES = '{"a": 1}\n\n  \n[2]\n'


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_values_come_with_their_lines(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(LINES.encode()) if name.endswith("gz") else LINES.encode())
    assert read_text(path) == LINES
    assert list(json_lines(text_lines(path), on_error=None)) == [(1, {"a": 1}), (4, [2])]
    path.write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(UNREADABLE):
        read_text(path)
    with pytest.raises(UNREADABLE):
        list(text_lines(path))


def test_an_error_is_skipped_or_raised_by_the_caller():
    found = []
    deep = "[" * 100_000
    bad = numbered([LINES, "{", deep, "1" * 5000, "3"])
    assert list(json_lines(bad, lambda number, error: found.append((number, type(error))))) == [
        (5, 3)
    ]
    assert [number for number, _ in found] == [1, 2, 3, 4]

    def refuse(number, error):
        raise KeyError(number) from error

    with pytest.raises(KeyError, match="2"):
        list(json_lines(numbered(["1", "{"]), refuse))


def test_a_lone_surrogate_is_seen():
    assert has_surrogate("a\ud800") and not has_surrogate("😀")
