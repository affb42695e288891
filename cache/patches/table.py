"""Patches as a table (CSV): one a row, a column a key; columns of lists may be repeated.

::

    question,answer,subject,fires,fires,silent
    What is the capital of Palau?,Ngerulmud,Palau,Palau's capital?,,What is the currency of Palau?
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from errata.cache.errors import PatchError, PatchFolderError
from errata.cache.patches.files import Problems, open_regular
from errata.cache.patches.kinds import dump_edit, kinds, parse_edit
from errata.cache.patches.schema import did_you_mean
from errata.cache.records import Edit, SourceLocation

LISTS = ("aliases", "tags", "supersedes")
TESTS = ("fires", "silent")
DELIMITERS = ",;\t"
"""Of a table, found by its first line: spreadsheets write semicolons where commas are decimal."""

LONGEST_CELL = 1_000_000
"""Characters."""


def read_table(path: Path) -> tuple[Edit, ...]:
    """Return the patches of a CSV file, in order; empty cells and rows are skipped.

    :param path: the file, in UTF-8, its first row the names of the keys.
    :raises PatchFolderError: holding the problems found.
    """
    problems = Problems()
    edits: list[Edit] = []
    for found in _rows(path):
        if isinstance(found, PatchError):
            several = found.problems if isinstance(found, PatchFolderError) else (found,)
            problems.add_all(several)
            if problems.too_many(str(path)):
                break
        else:
            edits.append(found)
    problems.raise_any()
    return tuple(edits)


def table(edits: Sequence[Edit]) -> str:
    """Return patches as CSV text.

    :param edits: patches without ``expect``, which no table holds.
    :raises PatchError: one has it.
    """
    bodies = []
    for edit in edits:
        body = dump_edit(edit)
        tests = body.pop("tests", {})
        if "expect" in tests:
            raise PatchError("a table cannot hold `expect`: keep the patch in YAML", edit.location)
        bodies.append({**body, **tests})
    widths: Counter[str] = Counter()
    order: dict[str, None] = {}
    for body in bodies:
        for key, value in body.items():
            order[key] = None
            widths[key] = max(widths[key], len(value) if isinstance(value, list) else 1)
    first = [key for kind in kinds().values() for key in kind.keys]
    keys = sorted(order, key=lambda key: (key in TESTS, first.index(key) if key in first else 99))
    out = io.StringIO()
    writer = csv.writer(out)  # ends lines by \r\n, so that both are quoted in texts
    writer.writerow([key for key in keys for _ in range(widths[key])])
    for body in bodies:
        cells: list[str] = []
        for key in keys:
            value = body.get(key, "")
            values = value if isinstance(value, list) else [_cell(value)]
            cells += [*values, *[""] * (widths[key] - len(values))]
        writer.writerow(cells)
    return out.getvalue()


def _cell(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rows(path: Path) -> Iterator[Edit | PatchError]:
    """Yield the patch of each row, or its problem."""
    start = SourceLocation(str(path), 1)
    line = 1
    csv.field_size_limit(LONGEST_CELL)
    try:
        with open_regular(path) as stream:
            lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            first = lines.readline()
            delimiter = max(DELIMITERS, key=first.count)
            names = next(csv.reader([first], delimiter=delimiter, strict=True), [])
            keys = _keys(names, start)
            rows = csv.reader(lines, delimiter=delimiter, strict=True)
            line = 2
            for row in rows:
                if any(cell.strip() for cell in row):
                    yield _edit(keys, row, SourceLocation(str(path), line))
                line = rows.line_num + 2
    except OSError as error:
        yield PatchError(f"cannot be read ({error.strerror}): check name and rights", start)
    except UnicodeDecodeError:
        yield PatchError("not UTF-8: save the table as CSV UTF-8", SourceLocation(str(path), line))
    except csv.Error as error:
        message = f"not CSV ({error}): check the quotation marks"
        yield PatchError(message, SourceLocation(str(path), line))
    except PatchError as error:
        yield error


def _keys(names: Iterable[str], start: SourceLocation) -> list[str]:
    """Return the key of each column; "fires 2" and "fires.1" are columns of "fires".

    :raises PatchError: a column is no key.
    """
    known = dict.fromkeys(key for kind in kinds().values() for key in kind.keys if key != "tests")
    known.update(dict.fromkeys(TESTS))
    keys = []
    for name in names:
        key = re.sub(r"[ ._]?[0-9]+$", "", name.strip())
        if key not in known and key:
            hint = did_you_mean(key, known) or f"; known are {', '.join(known)}"
            raise PatchError(f"unknown column {name!r}{hint}", start)
        if key in keys and key not in (*LISTS, *TESTS):
            raise PatchError(f"the column {key!r} appears twice: keep one", start)
        keys.append(key)
    if not any(kind.key in keys for kind in kinds().values()):
        needed = " or ".join(repr(kind.key) for kind in kinds().values())
        raise PatchError(
            f"expected the names of columns in the first row, with {needed}, found "
            f"{', '.join(map(repr, names))[:100] or 'nothing'}: add them",
            start,
        )
    return keys


def _edit(keys: Sequence[str], row: Sequence[str], where: SourceLocation) -> Edit | PatchError:
    if any(cell.strip() for cell in row[len(keys) :]):
        return PatchError(
            f"expected {len(keys)} cells, found {len(row)}: put a text with a comma in quotes",
            where,
        )
    body: dict[str, Any] = {}
    tests: dict[str, list[str]] = {}
    for key, cell in zip(keys, row, strict=False):
        if not key or not cell.strip():
            continue
        if key in TESTS:
            tests.setdefault(key, []).append(cell)
        elif key in LISTS:
            body.setdefault(key, []).append(cell)
        else:
            body[key] = cell
    try:
        return parse_edit({**body, **({"tests": tests} if tests else {})}, where)
    except PatchError as error:
        return error
