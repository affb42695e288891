"""A change of one patch file: planned, shown as a diff, and written; all else stays as typed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from errata.cache.errors import PatchError
from errata.cache.patches.files import (
    JSON_SUFFIXES,
    open_regular,
    patch_files,
    read_edits,
    superseded_problems,
    written,
)
from errata.cache.records import Edit
from errata.cache.storage.atomic import write_atomically


@dataclass(frozen=True, slots=True)
class FileChange:
    """A patch file as it is and as it will be.

    :param path: the file.
    :param before: its content; None: there is no such file yet.
    :param after: the new content.
    """

    path: Path
    before: bytes | None
    after: bytes

    def diff(self) -> str:
        """Return the change as a unified diff, as `git apply` and `patch -p1` read it."""
        name = str(self.path).lstrip("/")
        old = (self.before or b"").decode(errors="replace").splitlines(keepends=True)
        new = self.after.decode(errors="replace").splitlines(keepends=True)
        origin = "/dev/null" if self.before is None else f"a/{name}"
        lines = difflib.unified_diff(old, new, origin, f"b/{name}")
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )

    def write(self) -> None:
        """Write the new content, atomically.

        :raises PatchError: the file has changed since the change was planned.
        :raises OSError: it cannot be written; the old file stays.
        """
        if _content(self.path) != self.before:
            raise PatchError(f"{self.path}: the file has changed meanwhile: look at it again")
        write_atomically(self.path.resolve(), self.after)  # a link stays a link


def added(edits: Sequence[Edit], path: Path) -> FileChange:
    """Return the change that adds patches at the end of a file, which may be new.

    :param edits: the patches.
    :param path: a file ending in ``.yaml``, ``.yml`` or ``.jsonl``.
    :raises PatchError: its suffix is another, or its folder is wrong with them or without.
    """
    before = _content(path)
    text = _text(before)
    if text.strip():
        text = text if text.endswith("\n") else f"{text}\n"
        text += "" if path.suffix.lower() in JSON_SUFFIXES else "\n"
    change = FileChange(path, before, (text + written(edits, path)).encode())
    _check(change, [*_edits(change.path, before), *edits])
    return change


def removed(edit: Edit) -> FileChange:
    """Return the change that takes a patch out of its file, with the lines that it stands on.

    :param edit: as it was read from its file.
    :raises PatchError: the file has changed, or its folder would be wrong without the patch.
    """
    return _replaced(edit, None)


def replaced(edit: Edit, new: Edit) -> FileChange:
    """Return the change that puts another patch in a patch's place; its comments go.

    :param edit: as it was read from its file.
    :param new: what stands there then.
    :raises PatchError: the file has changed, or its folder would be wrong with the patch.
    """
    return _replaced(edit, new)


def _replaced(edit: Edit, new: Edit | None) -> FileChange:
    if edit.location is None:
        raise PatchError(f"edit {edit.id} is in no file: change it where it was made")
    path = Path(edit.location.path)
    before = _content(path)
    edits = _edits(path, before)
    at = next((n for n, one in enumerate(edits) if one.id == edit.id), None)
    if at is None or edits[at].location is None:
        raise PatchError("the patch is not in its file any more: read it again", edit.location)
    starts = [one.location.line - 1 for one in edits if one.location is not None]
    lines = _text(before).splitlines(keepends=True)
    start = starts[at]
    end = starts[at + 1] if at + 1 < len(starts) else len(lines)
    shared = starts.count(start) > 1 or not _begins_entry(lines[start], path)
    if shared:
        raise PatchError(
            "the patch does not begin on a line of its own: change it by hand", edit.location
        )
    # what stands above the next patch belongs to that one
    while end > start + 1 and _between(lines[end - 1], path):
        end -= 1
    text = [] if new is None else written([new], path).splitlines(keepends=True)
    if new is None and end < len(lines):  # an empty line less, too
        end += lines[end].strip() == ""
    kept = "".join([*lines[:start], *text, *lines[end:]])
    mark = b"\xef\xbb\xbf" if (before or b"").startswith(b"\xef\xbb\xbf") else b""
    ending = "\r\n" if b"\r\n" in (before or b"") else "\n"
    change = FileChange(path, before, mark + kept.replace("\n", ending).encode())
    wanted = [*edits[:at], *([] if new is None else [new]), *edits[at + 1 :]]
    _check(change, wanted)
    return change


def _begins_entry(line: str, path: Path) -> bool:
    return path.suffix.lower() in JSON_SUFFIXES or line.lstrip().startswith("- ")


def _between(line: str, path: Path) -> bool:
    """Return whether a line says nothing, or is a comment at the margin."""
    comment = path.suffix.lower() not in JSON_SUFFIXES and line.startswith("#")
    return not line.strip() or comment


def _check(change: FileChange, wanted: Sequence[Edit]) -> None:
    """Raise unless a file's new content is these patches, and its folder is right with them.

    :raises PatchError: in that case; nothing was written.
    """
    found = read_edits(change.path, change.after) if change.after.strip() else ()
    if list(found) != list(wanted):
        raise PatchError(f"{change.path}: cannot be changed line by line: change it by hand")
    folder = change.path.parent
    files = patch_files(folder) if folder.is_dir() else []
    others = [edit for file in files if file != change.path for edit in read_edits(file)]
    known = {edit.id: edit for edit in others}
    for edit in found:
        if edit.id in known:
            raise PatchError(f"the same patch is at {known[edit.id].location}: change it there")
    for problem in superseded_problems([*others, *found]):
        raise problem


def _edits(path: Path, content: bytes | None) -> list[Edit]:
    return list(read_edits(path, content)) if content and content.strip() else []


def _content(path: Path) -> bytes | None:
    if not path.exists():
        return None
    with open_regular(path) as stream:
        return stream.read()


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8-sig").replace("\r\n", "\n")
