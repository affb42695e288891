"""Adding an example to a patch in its file: one line more, everything else as it was typed."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from errata.cache.errors import PatchError, PatchFolderError
from errata.cache.patches.file_change import FileChange
from errata.cache.patches.files import JSON_SUFFIXES, load_file
from errata.cache.records import Edit, Listed, SourceLocation


def add_example(edit: Edit, which: Listed, text: str) -> SourceLocation:
    """Write a query into the list of a patch in its file; comments, order and quotes stay.

    The new file is read before it replaces the old one, atomically: of all its patches, this one
    has changed, by this example.

    :param edit: a patch as it was read from its file.
    :param which: the list.
    :param text: the query.
    :return: where the patch is now.
    :raises PatchError: the file has changed, or the patch is written in a way that cannot be
        extended line by line; nothing was written.
    :raises OSError: writing fails; the old file stays.
    """
    change = example_added(edit, which, text)
    change.write()
    moved = next(one for one in load_file(change.path) if one.id == edit.id)
    return moved.location or SourceLocation(str(change.path), 1)


def example_added(edit: Edit, which: Listed, text: str) -> FileChange:
    """Return the change that :func:`add_example` makes; raises as it does, and writes nothing."""
    if edit.location is None:
        raise PatchError(f"edit {edit.id} is in no file: add the example where it was made")
    file = Path(edit.location.path)
    before = load_file(file)
    at = next((n for n, one in enumerate(before) if one.id == edit.id), None)
    if at is None:
        raise PatchError("the patch is not in its file any more: read it again", edit.location)
    where = before[at].location or edit.location
    data = file.read_bytes()
    mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    content = data.decode("utf-8-sig")
    ending = "\r\n" if "\r\n" in content else "\n"
    content = content.replace("\r\n", "\n")
    extend = _in_json if file.suffix.lower() in JSON_SUFFIXES else _in_yaml
    try:
        changed = extend(content, where.line, which, text)
    except _Unusual as error:
        raise PatchError(f"{error}: add {json.dumps(text)} under {which} by hand", where) from None
    new = mark + changed.replace("\n", ending).encode()
    _check(file, new, before, at, which, text)
    return FileChange(file, data, new)


def _check(
    file: Path, new: bytes, before: Sequence[Edit], at: int, which: Listed, text: str
) -> None:
    """Raise unless a file's new content is its patches with the example, and no other change."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        copy.write_bytes(new)
        try:
            after = load_file(copy)
        except PatchFolderError as error:
            problem = error.problems[0]
            where = before[at].location
            raise PatchError(
                f"{text!r} cannot be added under {which}: {problem.message}", where
            ) from None
    tests = before[at].tests
    longer = replace(tests, lines=(), **{which: (*getattr(tests, which), text)})
    wanted = [*before]
    wanted[at] = replace(before[at], tests=longer)
    if list(after) != wanted:
        raise PatchError(
            f"the patch cannot be extended line by line: add {json.dumps(text)} under {which} "
            "by hand",
            before[at].location,
        )


class _Unusual(Exception):
    """An entry is written in a way that cannot be extended line by line."""


# -- JSON lines ------------------------------------------------------------------------------


def _in_json(content: str, line: int, which: Listed, text: str) -> str:
    lines = content.split("\n")
    # numbers stay as typed: 1.10 is a text to patches
    body = json.loads(lines[line - 1], parse_float=str, parse_int=str, parse_constant=str)
    tests = body.setdefault("tests", {})
    listed = tests.get(which, [])
    tests[which] = [*([listed] if isinstance(listed, str) else listed), text]
    tight = '":"' in lines[line - 1] and '": "' not in lines[line - 1]
    separators = (",", ":") if tight else (", ", ": ")
    lines[line - 1] = json.dumps(
        body, ensure_ascii=lines[line - 1].isascii() and "\\u" in lines[line - 1],
        separators=separators,
    )  # fmt: skip
    return "\n".join(lines)


# -- YAML ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Insertion:
    """A text to insert.

    :param at: index in the content.
    :param until: the index up to which it replaces what is there.
    :param text: the text.
    """

    at: int
    until: int
    text: str


def _in_yaml(content: str, line: int, which: Listed, text: str) -> str:
    from ruamel.yaml import YAML

    root = YAML(typ="safe", pure=True).compose(content)
    entry = next((node for node in root.value if node.start_mark.line + 1 == line), None)
    if entry is None:
        raise _Unusual("the patch does not begin on a line of its own")
    made = _insertion(content, entry, which, text)
    return content[: made.at] + made.text + content[made.until :]


def _insertion(content: str, entry: Any, which: Listed, text: str) -> _Insertion:
    """Return the insertion that extends an entry, which is composed but not constructed."""
    tests = _value(entry, "tests")
    if tests is None:
        flow = f"{{{which}: {_flow(text)}}}"
        return _new_key(content, entry, "tests", _nested(which, text), flow)
    listed = _value(tests, which)
    if listed is None:
        return _new_key(content, tests, which, [f"- {_scalar(text)}"], _flow(text))
    if hasattr(listed, "flow_style") and isinstance(listed.value, list):
        if listed.flow_style:
            inside = listed.value[-1].end_mark.index if listed.value else _opened(listed)
            comma = ", " if listed.value else ""
            return _Insertion(inside, inside, comma + _scalar(text, flow=True))
        dash = listed.start_mark.column
        return _line_after(content, listed, [f"{' ' * dash}- {_scalar(text)}"])
    begin, end = listed.start_mark.index, listed.end_mark.index
    if listed.style in ("|", ">") or listed.start_mark.line != listed.end_mark.line:
        raise _Unusual(f"{which} is one text over several lines")
    return _Insertion(begin, end, _flow(str(listed.value), text))


def _new_key(content: str, mapping: Any, key: str, lines: Sequence[str], flow: str) -> _Insertion:
    """Return the insertion of a key at the end of a mapping.

    :param lines: its value in block style, without indentation.
    :param flow: its value in flow style.
    """
    if not hasattr(mapping, "flow_style") or not all(len(p) == 2 for p in mapping.value):
        raise _Unusual("tests is no mapping")
    if mapping.flow_style:
        inside = mapping.value[-1][1].end_mark.index if mapping.value else _opened(mapping)
        return _Insertion(inside, inside, f"{', ' if mapping.value else ''}{key}: {flow}")
    indent = " " * mapping.value[0][0].start_mark.column
    block = [f"{indent}{key}:", *(f"{indent}  {line}" for line in lines)]
    return _line_after(content, mapping, block)


def _line_after(content: str, node: Any, lines: Sequence[str]) -> _Insertion:
    """Return the insertion of lines after the last line of a node in block style."""
    last = _last_scalar(node)
    end: int = last.end_mark.index
    if last.style in ("|", ">"):  # its end is the beginning of the next line, or of the file's end
        at = end
        while at > 0 and content[at - 1] != "\n":
            at -= 1
        text = "".join(f"{line}\n" for line in lines)
        return _Insertion(at, at, text if at == end else f"\n{text}")
    at = content.find("\n", end)
    if at < 0:
        at = len(content)
    return _Insertion(at, at, "".join(f"\n{line}" for line in lines))


def _last_scalar(node: Any) -> Any:
    """Return the node whose text comes last in a node."""
    nodes = [node]
    if isinstance(node.value, list):
        if node.flow_style or not node.value:
            return _Ended(node)
        nodes = [*node.value[-1]] if isinstance(node.value[-1], tuple) else node.value
    last = nodes[-1]
    return last if last is node else _last_scalar(last)


@dataclass(frozen=True, slots=True)
class _Ended:
    """A list or mapping in brackets, as the end of a text."""

    node: Any
    style: str = ""

    @property
    def end_mark(self) -> Any:
        return self.node.end_mark


def _value(mapping: Any, key: str) -> Any:
    """Return the node of a key's value, or None."""
    if not isinstance(mapping.value, list) or not all(isinstance(p, tuple) for p in mapping.value):
        raise _Unusual("tests is no mapping")
    for key_node, value in mapping.value:
        if key_node.value == key:
            if getattr(value, "anchor", None) is not None:
                raise _Unusual(f"{key} has an anchor, and may stand elsewhere, too")
            return value
    return None


def _opened(node: Any) -> int:
    """Return the index after the opening bracket of an empty list or mapping."""
    return int(node.start_mark.index) + 1


def _nested(which: Listed, text: str) -> list[str]:
    return [f"{which}:", f"  - {_scalar(text)}"]


def _flow(*texts: str) -> str:
    return f"[{', '.join(_scalar(text, flow=True) for text in texts)}]"


def _scalar(text: str, *, flow: bool = False) -> str:
    """Return a text as YAML that is read as the same text: plain if it can be, else quoted."""
    quoted = text.replace("'", "''")
    escaped = json.dumps(text, ensure_ascii=False)
    for mark in "\x7f\x85\u2028\u2029\ufeff":
        escaped = escaped.replace(mark, f"\\u{ord(mark):04x}")
    for written in (text, f"'{quoted}'", escaped):
        if _reads_as(f"[{written}]\n" if flow else f"- {written}\n", text):
            return written
    raise _Unusual("the query has characters that YAML cannot hold")


def _reads_as(yaml: str, text: str) -> bool:
    """Return whether YAML is a list of one text, on one line, without any comment.

    By both parsers: this module's, which knows where things stand, and the one that reads patches.
    """
    import yaml as libyaml
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.nodes import ScalarNode, SequenceNode

    if yaml.count("\n") > 1:
        return False
    try:
        root = YAML(typ="safe", pure=True).compose(io.StringIO(yaml))
        libyaml.compose(yaml, libyaml.CSafeLoader)
    except (YAMLError, libyaml.YAMLError):
        return False
    if not isinstance(root, SequenceNode) or len(root.value) != 1:
        return False
    only = root.value[0]
    return isinstance(only, ScalarNode) and only.value == text and only.anchor is None
