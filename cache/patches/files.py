"""Reading and writing patch files; one problem in a folder refuses all of it."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from errata.cache.errors import PatchError, PatchFolderError
from errata.cache.patches.jsonl import Entry, read_json_lines
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

JSON_LIMIT = 128 * 2**20
"""Bytes."""


def load_folder(path: PathLike) -> tuple[Edit, ...]:
    """Return the edits of every patch file in a folder, in order of file name and line.

    Files that begin with ``_`` or ``.``, files of other types (``README.md``) and subfolders are
    skipped.

    :param path: the folder.
    :raises PatchFolderError: holding every problem found.
    """
    folder = Path(path)
    try:
        files = sorted(item for item in folder.iterdir() if is_patch_file(item))
    except OSError as error:
        found = "a file" if folder.is_file() else (error.strerror or "nothing").lower()
        message = (
            f"{folder}: expected a folder of patch files, found {found}: create it, or name "
            "the right one"
        )
        raise PatchFolderError([PatchError(message)]) from None
    edits: list[Edit] = []
    problems: list[PatchError] = []
    for file in files:
        found_edits, found_problems = _read(file)
        edits += found_edits
        problems += found_problems
    problems += _duplicates(edits)
    # A superseded entry may be one that could not be read.
    problems += [] if problems else _superseded(edits)
    _raise_sorted(problems)
    return tuple(edits)


def load_file(path: PathLike) -> tuple[Edit, ...]:
    """Return the edits of one patch file, in the order of its lines.

    :param path: a file ending in ``.yaml``, ``.yml`` (a list) or ``.jsonl`` (an object a line).
    :raises PatchFolderError: holding every problem found.
    """
    edits, problems = _read(Path(path))
    _raise_sorted(problems + _duplicates(edits))
    return tuple(edits)


def dump_file(edits: Iterable[Edit], path: PathLike) -> None:
    """Write edits as a patch file, atomically; :func:`load_file` returns equal ones.

    :param edits: the edits to write.
    :param path: a file ending in ``.yaml``, ``.yml`` or ``.jsonl``; replaced if it is there.
    :raises PatchError: if the suffix is another, or the edits cannot be read back.
    :raises OSError: if the disk refuses.
    """
    file = Path(path)
    bodies = [dump_edit(edit) for edit in edits]
    if file.suffix.lower() in JSON_SUFFIXES:
        text = "".join(json.dumps(body, ensure_ascii=False) + "\n" for body in bodies)
    elif file.suffix.lower() in YAML_SUFFIXES:
        text = _yaml_text(bodies)
    else:
        raise PatchError(f"{file}: a patch file ends in .yaml, .yml or .jsonl: rename it")
    write_atomically(file, text.encode())


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
    yaml.width = 100
    out = io.StringIO()
    # Equal lists would otherwise be written as an anchor and an alias.
    yaml.representer.ignore_aliases = lambda data: True
    yaml.representer.add_representer(str, _represent_text)
    yaml.dump(bodies, out)
    return out.getvalue()


def _represent_text(representer: Any, text: str) -> Any:
    # YAML folds its other line breaks into spaces unless they are written as escapes.
    quoted = any(mark in text for mark in "\x85\u2028\u2029")
    return representer.represent_scalar("tag:yaml.org,2002:str", text, '"' if quoted else None)


def is_patch_file(file: Path) -> bool:
    """Return whether a file is read as one of patches, or has a misspelt suffix of theirs."""
    suffix = file.suffix.lower()
    known = suffix in YAML_SUFFIXES | JSON_SUFFIXES | MISTAKEN_SUFFIXES
    return known and not file.name.startswith(("_", ".")) and not file.is_dir()


def _read(file: Path) -> tuple[list[Edit], list[PatchError]]:
    path = str(file)
    suffix = file.suffix.lower()
    start = SourceLocation(path, 1)
    if suffix not in YAML_SUFFIXES | JSON_SUFFIXES:
        message = f"a patch file ends in .yaml, .yml or .jsonl, found {suffix!r}: rename it"
        return [], [PatchError(message, start)]
    limit = JSON_LIMIT if suffix in JSON_SUFFIXES else YAML_LIMIT
    try:
        # One byte more than allowed: a device or a growing file must not fill the memory.
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        return [], [PatchError(f"cannot be read ({error.strerror}): check name and rights", start)]
    if len(data) > limit:
        message = f"larger than {limit // 2**20} MiB: split it, or write bulk facts as JSON lines"
        return [], [PatchError(message, start)]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from after the mark, if there is one.
        offset = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        line = data.count(b"\n", 0, offset) + 1
        message = f"not UTF-8: byte 0x{data[offset]:02x} at offset {offset}: save the file as UTF-8"
        return [], [PatchError(message, SourceLocation(path, line))]
    read = read_json_lines if suffix in JSON_SUFFIXES else _read_yaml
    entries, problems = read(text.replace("\r\n", "\n"), path)
    edits = []
    for entry in entries:
        try:
            edits.append(
                _with_lines(parse_edit(entry.body, SourceLocation(path, entry.line)), entry)
            )
        except PatchError as error:
            problems += _located(error, entry, path)
    return edits, problems


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
    places = [("tests", name, at) for name, texts in lists for at in range(len(texts))]
    if not places:
        return edit
    lines = tuple(entry.line_of(place) for place in places)
    return replace(edit, tests=replace(tests, lines=lines))


def _with_place(error: PatchError, entry: Entry, path: str) -> str:
    """Return an error's message with the place of what the problem contradicts."""
    if not error.against:
        return error.message
    return f"{error.message} ({SourceLocation(path, entry.line_of(error.against))})"


def _duplicates(edits: Sequence[Edit]) -> list[PatchError]:
    first: dict[str, Edit] = {}
    problems = []
    for edit in edits:
        other = first.setdefault(edit.id, edit)
        if other is edit:
            continue
        if other.content() == edit.content():
            message = f"the same patch is at {other.location}: delete one of the two"
        else:
            message = f"the id {edit.id!r} is taken by the patch at {other.location}: rename one"
        problems.append(PatchError(message, edit.location, ("id",)))
    return problems


def _superseded(edits: Sequence[Edit]) -> list[PatchError]:
    by_id = {edit.id: edit for edit in edits}
    problems = []
    for edit in edits:
        for name in edit.supersedes:
            other = by_id.get(name)
            if other is None:
                hint = did_you_mean(name, by_id) or ": correct the id, or delete the key"
                message = f"supersedes names {name!r}, which no patch of the folder has as id{hint}"
                problems.append(PatchError(message, edit.location, ("supersedes",)))
            elif edit.id in other.supersedes:
                message = (
                    f"supersedes {name!r} ({other.location}), which supersedes this one: keep one"
                )
                problems.append(PatchError(message, edit.location, ("supersedes",)))
    return problems


def _raise_sorted(problems: Sequence[PatchError]) -> None:
    if problems:
        raise PatchFolderError(sorted(problems, key=_sort_key))


def _sort_key(problem: PatchError) -> tuple[str, int]:
    return (problem.where.path, problem.where.line) if problem.where else ("", 0)
