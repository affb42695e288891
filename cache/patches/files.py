"""Reading and writing patch files; one problem in a folder refuses all of it."""

from __future__ import annotations

import codecs
import errno
import graphlib
import io
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from errata.cache.errors import PatchError, PatchFolderError
from errata.cache.patches.jsonl import At, Entry, read_json_lines
from errata.cache.patches.kinds import dump_edit, parse_edit
from errata.cache.patches.schema import did_you_mean
from errata.cache.records import Edit, SourceLocation
from errata.cache.storage.atomic import write_atomically

PathLike = str | os.PathLike[str]

YAML_SUFFIXES = frozenset({".yaml", ".yml"})
JSON_SUFFIXES = frozenset({".jsonl"})
MISTAKEN_SUFFIXES = frozenset({".json", ".ndjson", ".jsonlines", ".yaml~", ".ymal", ".yamll"})

YAML_LIMIT = 2 * 2**20
"""Bytes: the YAML reader takes seconds for them."""

PROBLEMS_LISTED = 100
"""Problems that an error names, of one file and of a folder; the others are counted."""

PROBLEMS_COUNTED = 10_000
"""Problems of a file at which reading it stops."""

HINTS_SOUGHT = 10
"""Unknown ids for which a similar one is sought: each is compared with every id."""

JSON_LIMIT = 128 * 2**20
"""Bytes."""


def load_folder(path: PathLike) -> tuple[Edit, ...]:
    """Return the edits of every patch file in a folder, in order of file name and line.

    Files that begin with ``_`` or ``.``, files of other types (``README.md``) and subfolders are
    skipped.

    :param path: the folder.
    :raises PatchFolderError: holding the problems found.
    """
    edits, problems = _read_files(patch_files(path))
    # A superseded entry may be one that could not be read.
    if not problems:
        problems.add_all(superseded_problems(edits))
    problems.raise_any()
    return tuple(edits)


def patch_files(path: PathLike) -> list[Path]:
    """Return the patch files of a folder, by name.

    :param path: the folder.
    :raises PatchFolderError: it is none.
    """
    folder = Path(path)
    try:
        return sorted(item for item in folder.iterdir() if is_patch_file(item))
    except OSError as error:
        found = "a file" if folder.is_file() else (error.strerror or "nothing").lower()
        message = (
            f"{folder}: expected a folder of patch files, found {found}: create it, or name "
            "the right one"
        )
        raise PatchFolderError([PatchError(message)]) from None


def load_file(path: PathLike) -> tuple[Edit, ...]:
    """Return the edits of one patch file, in the order of its lines.

    :param path: a file ending in ``.yaml``, ``.yml`` (a list) or ``.jsonl`` (an object a line).
    :raises PatchFolderError: holding the problems found.
    """
    return read_edits(path)


def read_edits(path: PathLike, data: bytes | None = None) -> tuple[Edit, ...]:
    """Return the edits of one patch file, as of now or with other content.

    :param path: the file.
    :param data: its content; what is on disk unless given.
    :raises PatchFolderError: holding the problems found.
    """
    edits, problems = _read_files([Path(path)], data)
    problems.raise_any()
    return tuple(edits)


def dump_file(edits: Iterable[Edit], path: PathLike) -> None:
    """Write edits as a patch file, atomically; :func:`load_file` returns equal ones.

    :param edits: the edits to write.
    :param path: a file ending in ``.yaml``, ``.yml`` or ``.jsonl``; replaced if it is there.
    :raises PatchError: if the suffix is another, or the edits cannot be read back.
    :raises OSError: if the disk refuses.
    """
    file = Path(path)
    write_atomically(file, written(edits, file).encode())


def written(edits: Iterable[Edit], path: Path) -> str:
    """Return edits as the text of a patch file.

    :param edits: the edits.
    :param path: the file; its suffix decides the format.
    :raises PatchError: if the suffix is another.
    """
    bodies = [dump_edit(edit) for edit in edits]
    if path.suffix.lower() in JSON_SUFFIXES:
        return "".join(json.dumps(body, ensure_ascii=False) + "\n" for body in bodies)
    if path.suffix.lower() in YAML_SUFFIXES:
        return _yaml_text(bodies)
    raise PatchError(f"{path}: a patch file ends in .yaml, .yml or .jsonl: rename it")


def _yaml_text(bodies: Sequence[dict[str, object]]) -> str:
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    if not bodies:
        return ""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = type("Representer", (SafeRepresenter,), {})  # not to change the shared class
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    # Never folded: a fold loses one of two spaces.
    yaml.width = sys.maxsize
    yaml.map_indent, yaml.sequence_indent, yaml.sequence_dash_offset = 2, 4, 2
    out = io.StringIO()
    # Equal lists would otherwise be written as an anchor and an alias.
    yaml.representer.ignore_aliases = lambda data: True
    yaml.representer.add_representer(str, _represent_text)
    yaml.dump(bodies, out)
    # the indentation of lists holds for the outermost, too
    return "".join(line.removeprefix("  ") for line in out.getvalue().splitlines(keepends=True))


def _represent_text(representer: Any, text: str) -> Any:
    # YAML folds its other line breaks into spaces unless they are written as escapes.
    quoted = any(mark in text for mark in "\x85\u2028\u2029")
    return representer.represent_scalar("tag:yaml.org,2002:str", text, '"' if quoted else None)


def is_patch_file(file: Path) -> bool:
    """Return whether a file is read as one of patches, or has a misspelt suffix of theirs."""
    suffix = file.suffix.lower()
    known = suffix in YAML_SUFFIXES | JSON_SUFFIXES | MISTAKEN_SUFFIXES
    return known and not file.name.startswith(("_", ".")) and not file.is_dir()


class Problems:
    """The problems of files: the first of each are kept, the others counted."""

    def __init__(self) -> None:
        self._kept: list[PatchError] = []
        self._of_file: Counter[str] = Counter()
        self._unread: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._kept)

    def add(self, problem: PatchError) -> None:
        """Keep or count a problem."""
        path = problem.where.path if problem.where else ""
        self._of_file[path] += 1
        if self._of_file[path] <= PROBLEMS_LISTED:
            self._kept.append(problem)

    def add_all(self, problems: Iterable[PatchError]) -> None:
        """Keep or count several."""
        for problem in problems:
            self.add(problem)

    def too_many(self, path: str) -> bool:
        """Return whether a file has so many that it is not read on, which is then reported."""
        if self._of_file[path] < PROBLEMS_COUNTED:
            return False
        self._unread.append(path)
        return True

    def raise_any(self) -> None:
        """Raise the problems, if there are any, in order of file and line."""
        if not self._kept:
            return
        found: list[PatchError] = []
        for path in self._unread:
            message = f"{self._of_file[path]:,} problems: the rest of the file was not read"
            found.append(PatchError(message, SourceLocation(path, 1)))
        listed = sorted(found + self._kept, key=_sort_key)[:PROBLEMS_LISTED]
        raise PatchFolderError(listed, max(0, self._of_file.total() - len(listed)))


def _read_files(files: Sequence[Path], data: bytes | None = None) -> tuple[list[Edit], Problems]:
    edits: list[Edit] = []
    problems = Problems()
    for file in files:
        for entry in _entries(file, data):
            if isinstance(entry, PatchError):
                problems.add(entry)
            else:
                try:
                    edits.append(_edit(entry, str(file)))
                except PatchError as error:
                    problems.add_all(_located(error, entry, str(file)))
            if problems.too_many(str(file)):
                break
    problems.add_all(_duplicates(edits))
    return edits, problems


def _edit(entry: Entry, path: str) -> Edit:
    return _with_lines(parse_edit(entry.body, SourceLocation(path, entry.line)), entry)


def _entries(file: Path, data: bytes | None) -> Iterator[Entry | PatchError]:
    """Yield the entries of a file and the problems of others."""
    path, suffix = str(file), file.suffix.lower()
    start = SourceLocation(path, 1)
    if suffix not in YAML_SUFFIXES | JSON_SUFFIXES:
        message = f"a patch file ends in .yaml, .yml or .jsonl, found {suffix!r}: rename it"
        yield PatchError(message, start)
        return
    limit = JSON_LIMIT if suffix in JSON_SUFFIXES else YAML_LIMIT
    try:
        with open_regular(file) if data is None else io.BytesIO(data) as stream:
            if suffix in JSON_SUFFIXES:
                yield from read_json_lines(_lines(stream, path, limit), path)
            else:
                # One byte more than allowed: a growing file must not fill the memory.
                content = stream.read(limit + 1)
                text = "".join(_lines(io.BytesIO(content), path, limit))
                entries, problems = _read_yaml(text.replace("\r\n", "\n"), path)
                yield from problems
                yield from entries
    except OSError as error:
        found = error.strerror or str(error)
        yield PatchError(f"cannot be read ({found}): check name and rights", start)
    except PatchError as error:
        yield error


def open_regular(file: Path) -> BinaryIO:
    """Open a file to read, without waiting for the other end of a pipe or a device.

    :raises OSError: it cannot be opened, or is none.
    """
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "a pipe, a device or a socket, no file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _lines(stream: BinaryIO, path: str, limit: int) -> Iterator[str]:
    """Yield the lines of a file, decoded one by one.

    :raises PatchError: a line is not UTF-8, or the file is too large.
    """
    offset = 0
    for number, line in enumerate(iter(lambda: stream.readline(limit + 1), b""), start=1):
        if offset + len(line) > limit:
            message = (
                f"larger than {limit // 2**20} MiB: split it, or write bulk facts as JSON lines"
            )
            raise PatchError(message, SourceLocation(path, 1))
        bare = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        try:
            yield bare.decode()
        except UnicodeDecodeError as error:
            at = error.start + len(line) - len(bare)
            message = (
                f"not UTF-8: byte 0x{line[at]:02x} at offset {offset + at}: save the file as UTF-8"
            )
            raise PatchError(message, SourceLocation(path, number)) from None
        offset += len(line)


def _read_yaml(text: str, path: str) -> tuple[list[Entry], list[PatchError]]:
    # Imported late: slow to import, and not needed where there is no YAML.
    from errata.cache.patches.yaml import read_yaml

    return read_yaml(text, path)


def _located(error: PatchError, entry: Entry, path: str) -> list[PatchError]:
    found = error.problems if isinstance(error, PatchFolderError) else (error,)
    return [
        PatchError(
            _with_place(each, entry, path), SourceLocation(path, entry.line_of(each.at)), each.at
        )
        for each in found
    ]


def _with_lines(edit: Edit, entry: Entry) -> Edit:
    """Return an edit whose examples know their lines."""
    tests = edit.tests
    lists = (("fires", tests.fires), ("silent", tests.silent))
    places: list[At] = [("tests", name, at) for name, texts in lists for at in range(len(texts))]
    places += [("tests", "expect", question) for question, _ in tests.expect]
    if not places:
        return edit
    lines = tuple(entry.line_of(place) for place in places)
    return replace(edit, tests=replace(tests, lines=lines))


def _with_place(error: PatchError, entry: Entry, path: str) -> str:
    """Return an error's message with the place of what the problem contradicts."""
    if not error.against:
        return error.message
    return f"{error.message} ({SourceLocation(path, entry.line_of(error.against))})"


def _duplicates(edits: Sequence[Edit]) -> Iterator[PatchError]:
    first: dict[str, Edit] = {}
    for edit in edits:
        other = first.setdefault(edit.id, edit)
        if other is edit:
            continue
        if other.content() == edit.content():
            message = f"the same patch is at {other.location}: delete one of the two"
        else:
            message = f"the id {edit.id!r} is taken by the patch at {other.location}: rename one"
        yield PatchError(message, edit.location, ("id",))


def superseded_problems(edits: Sequence[Edit]) -> Iterator[PatchError]:
    """Yield a problem for each id that no patch has, and for a cycle."""
    by_id = {edit.id: edit for edit in edits}
    unknown = 0
    for edit in edits:
        for name in edit.supersedes:
            if name not in by_id:
                unknown += 1
                close = did_you_mean(name, by_id) if unknown <= HINTS_SOUGHT else ""
                hint = close or ": correct the id, or delete the key"
                message = f"supersedes names {name!r}, which no patch of the folder has as id{hint}"
                yield PatchError(message, edit.location, ("supersedes",))
    sorter = graphlib.TopologicalSorter(
        {edit.id: [name for name in edit.supersedes if name in by_id] for edit in edits}
    )
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        # the sorter gives each after what it supersedes, the first once more at the end
        cycle = [by_id[key] for key in reversed(error.args[1][1:])]
        places = " supersedes ".join(f"{one.id!r} ({one.location})" for one in cycle)
        message = (
            f"supersedes goes round in a circle: {places} supersedes {cycle[0].id!r}: keep one"
        )
        yield PatchError(message, cycle[0].location, ("supersedes",))


def _sort_key(problem: PatchError) -> tuple[str, int]:
    return (problem.where.path, problem.where.line) if problem.where else ("", 0)
