"""Patch files as people keep them: laid out evenly, and added to; comments and order stay."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from errata.cache.errors import PatchError
from errata.cache.patches.file_change import added
from errata.cache.patches.files import JSON_SUFFIXES, open_regular, read_edits
from errata.cache.patches.jsonl import decode
from errata.cache.records import Edit, SourceLocation


def formatted(path: Path) -> tuple[str, str]:
    """Return a patch file's text as it is, and laid out evenly.

    Comments, order, quotes and texts stay; lists are indented by two, and one empty line stands
    between patches.

    :param path: the file.
    :raises PatchFolderError: a patch is wrong.
    :raises PatchError: it cannot be laid out without a change of content.
    """
    edits = read_edits(path)
    before = _content(path)
    if path.suffix.lower() in JSON_SUFFIXES:
        bodies = (decode(line) for line in before.splitlines() if line.strip())
        after = "".join(json.dumps(body, ensure_ascii=False) + "\n" for body in bodies)
    else:
        after = _laid_out(before)
    if read_edits(path, after.encode()) != edits:
        raise PatchError(
            "cannot be laid out without changing what it says: left as it is",
            SourceLocation(str(path), 1),
        )
    return before, after


def append(edits: Sequence[Edit], path: Path) -> tuple[Edit, ...]:
    """Add patches at the end of a file, which may be new; return them with their lines.

    The rest of the file stays byte for byte.

    :param edits: the patches.
    :param path: a file ending in ``.yaml``, ``.yml`` or ``.jsonl``, in an existing folder.
    :raises PatchFolderError: the file is wrong, with or without the patches; it is left alone.
    :raises PatchError: its suffix is another, or another file of the folder has the patch.
    :raises OSError: it cannot be written.
    """
    added(edits, path).write()
    return read_edits(path)[-len(edits) :]


def _content(path: Path) -> str:
    with open_regular(path) as stream:
        return stream.read().decode("utf-8-sig").replace("\r\n", "\n")


def _laid_out(text: str) -> str:
    """Return a YAML list laid out evenly."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.Resolver = _text_only()
    yaml.preserve_quotes = True
    yaml.allow_unicode = True
    yaml.width = sys.maxsize
    yaml.indent(mapping=2, sequence=4, offset=2)
    # shifted by two, as they are written, so that comments keep their place
    shifted = (
        line if not line.strip() or line.startswith(("---", "%")) else f"  {line}"
        for line in text.split("\n")
    )
    patches = yaml.load("\n".join(shifted))
    if patches is None:
        return text
    out = io.StringIO()
    yaml.dump(patches, out)
    # the indentation of lists holds for the outermost, too
    lines = [line.removeprefix("  ") for line in out.getvalue().split("\n")]
    return _spaced(lines)


def _spaced(lines: Sequence[str]) -> str:
    """Return lines with one empty line before each patch and the comments that belong to it."""
    spaced: list[str] = []
    for number, line in enumerate(lines):
        begins = line.startswith("- ") or (
            line.startswith("#") and number > 0 and not lines[number - 1].startswith("#")
        )
        behind = spaced[-1] if spaced else ""
        if begins and behind.strip() and not behind.startswith("#"):
            spaced.append("")
        if line.strip() or behind.strip():
            spaced.append(line.rstrip() if line.startswith(("#", "- ")) else line)
    return re.sub(r"\n+\Z", "\n", "\n".join(spaced))


def _text_only() -> Any:
    """Return a resolver to which every plain scalar is text, so that 1.10 and no stay as typed."""
    from ruamel.yaml.resolver import VersionedResolver

    class TextResolver(VersionedResolver):
        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
            from ruamel.yaml.nodes import ScalarNode
            from ruamel.yaml.tag import Tag

            if kind is ScalarNode:
                return Tag(suffix="tag:yaml.org,2002:str")
            return super().resolve(kind, value, implicit)

    return TextResolver
