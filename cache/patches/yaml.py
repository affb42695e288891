"""Reading YAML patch files as entries with line numbers: composed, never constructed.

The parser is libyaml's (PyYAML), or ruamel.yaml's where that is missing; ruamel.yaml also reads a
file that is wrong, for the words of its error. Scalars are text whatever they look like, so that
YAML 1.1 and 1.2 read the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from errata.cache.errors import PatchError
from errata.cache.patches.jsonl import DEEPEST, At, Entry, Plain
from errata.cache.records import SourceLocation

EXPLAINED = 100_000
"""Characters of a file up to which ruamel.yaml reads it, which is slow."""

_OLD_BREAKS = re.compile("[\x85\u2028\u2029]")
"""Line breaks of YAML 1.1, and so of libyaml; to YAML 1.2, and ruamel.yaml, they are text."""

_QUOTE = "put the text in quotes"
_NO_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_yaml(text: str, path: str) -> tuple[list[Entry], list[PatchError]]:
    """Return the entries of a YAML list, and the problems of other entries.

    :param text: the file's text.
    :param path: the file, for messages.
    """
    if problem := _bad_character(text, path):
        return [], [problem]
    real_line = _real_lines(text)
    try:
        root = _composed(_events(text), real_line)
    except _LimitExceeded as error:
        return [], [PatchError(str(error), SourceLocation(path, error.line))]
    except Exception as error:
        if not _is_yaml_error(error):
            raise
        return [], [_syntax(error, path, real_line)]
    if root is None:
        return [], []
    if root.kind != "list":
        where = SourceLocation(path, root.line)
        return [], [PatchError("a patch file is a list: begin each patch with '- '", where)]
    entries = []
    reader = _NodeReader(path, budget=10_000 + 2 * len(text))
    for node in root.value:
        lines: dict[At, int] = {}
        before = len(reader.problems)
        try:
            body = reader.plain(node, (), lines)
        except _LimitExceeded as error:
            reader.problems.append(PatchError(str(error), reader.place(node)))
            break
        if len(reader.problems) == before:
            entries.append(Entry(body, node.line, lines))
    return entries, reader.problems


@dataclass(slots=True, eq=False)
class _Node:
    """A node of a YAML file.

    :param kind: of node.
    :param tag: its explicit tag; None without any.
    :param line: where it begins, from 1.
    :param value: a text, nodes, or nodes by turns key and value.
    """

    kind: Literal["text", "list", "mapping"]
    tag: str | None
    line: int
    value: Any


class _LimitExceeded(Exception):
    """Aliases expand to too much, lists nest too deep, or there are two documents.

    :param line: where; 0 if the caller knows.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


def _events(text: str) -> Iterator[Any]:
    """Yield the parser's events: nothing recursive, however deep the lists.

    :raises Exception: a YAMLError of either library.
    """
    try:
        from yaml import CSafeLoader, YAMLError
    except ImportError:
        yield from _slow_events(text)
        return
    if _OLD_BREAKS.search(text):
        yield from _slow_events(text)
        return
    loader = CSafeLoader(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    except YAMLError:
        if len(text) <= EXPLAINED:
            for _ in _slow_events(text):
                pass  # raises, in the words that our messages are made of
        raise
    finally:
        loader.dispose()


def _slow_events(text: str) -> Iterator[Any]:
    from ruamel.yaml import YAML

    yield from YAML(typ="safe", pure=True).parse(text)


def _is_yaml_error(error: Exception) -> bool:
    from ruamel.yaml.error import YAMLError

    return isinstance(error, YAMLError) or type(error).__module__.startswith("yaml.")


def _bad_character(text: str, path: str) -> PatchError | None:
    """Return the problem of the first character that a YAML file cannot have, if there is one."""
    if found := _NO_TEXT.search(text):
        message = "is no text: delete it, or write it as an escape in double quotes"
    elif len(text) > EXPLAINED and (found := _OLD_BREAKS.search(text)):
        message = "in a large file: write it as an escape in double quotes"
    else:
        return None
    where = SourceLocation(path, text.count("\n", 0, found.start()) + 1)
    return PatchError(f"U+{ord(found[0]):04X} {message}", where)


def _real_lines(text: str) -> Callable[[int], int]:
    """Return a function from a parser's line numbers to those of an editor, both from 1.

    YAML also ends a line at a lone carriage return.
    """
    if "\r" not in text:
        return lambda line: line
    breaks = [found[0].endswith("\n") for found in re.finditer("\r\n|\n|\r", text)]
    lines = list(accumulate(breaks, initial=1))
    return lambda line: lines[min(line, len(lines)) - 1]


def _composed(events: Iterator[Any], real_line: Callable[[int], int]) -> _Node | None:
    """Return the root of the events' only document; None where there is none.

    :param events: of the parser.
    :param real_line: see :func:`_real_lines`.
    :raises _LimitExceeded: lists nest too deep, an alias has no anchor, or a document follows.
    """
    root: _Node | None = None
    open_nodes: list[_Node] = []
    anchors: dict[str, _Node] = {}
    for event in events:
        name, line = type(event).__name__, real_line(event.start_mark.line + 1)
        if name in ("SequenceEndEvent", "MappingEndEvent"):
            open_nodes.pop()
            continue
        if name == "DocumentStartEvent" and root is not None:
            message = "two documents: a file holds one list, so remove the line '---'"
            raise _LimitExceeded(message, line)
        node = _node(event, name, line, anchors)
        if node is None:
            continue
        if open_nodes:
            open_nodes[-1].value.append(node)
        else:
            root = node
        if node.kind != "text" and name != "AliasEvent":
            if len(open_nodes) > DEEPEST:
                raise _LimitExceeded(f"lists nested deeper than {DEEPEST}", line)
            open_nodes.append(node)
    empty = root is not None and root.kind == "text" and not root.value and root.tag is None
    return None if empty else root


def _node(event: Any, name: str, line: int, anchors: dict[str, _Node]) -> _Node | None:
    """Return the node that an event begins or names, None for one that does neither.

    :param anchors: the nodes with an anchor so far; this one is added.
    """
    if name == "AliasEvent":
        if event.anchor not in anchors:
            raise _LimitExceeded(f"found undefined alias {event.anchor!r}: {_SPECIAL}", line)
        return anchors[event.anchor]
    kinds: dict[str, tuple[Literal["text", "list", "mapping"], Any]] = {
        "ScalarEvent": ("text", getattr(event, "value", "")),
        "SequenceStartEvent": ("list", []),
        "MappingStartEvent": ("mapping", []),
    }
    if name not in kinds:
        return None
    kind, value = kinds[name]
    node = _Node(kind, event.tag, line, value)
    if event.anchor:
        anchors[event.anchor] = node
    return node


_SPECIAL = f"{_QUOTE} if it begins with a special character such as * @ & ` %"


class _NodeReader:
    """Converts YAML nodes to text, lists and mappings, within a budget.

    :param path: the file, for messages.
    :param budget: characters and nodes allowed, so that aliases can fill neither memory nor time.
    """

    def __init__(self, path: str, budget: int) -> None:
        self.path = path
        self.problems: list[PatchError] = []
        self._budget = budget

    def place(self, node: _Node) -> SourceLocation:
        """Return where a node begins."""
        return SourceLocation(self.path, node.line)

    def plain(self, node: _Node, at: At, lines: dict[At, int]) -> Plain:
        """Return a node's content, noting lines and problems."""
        self._budget -= 1 + (len(node.value) if node.kind == "text" else 0)
        if self._budget < 0:
            raise _LimitExceeded(
                "aliases unfold to far more than the file holds: write the text out"
            )
        if len(at) > DEEPEST:
            raise _LimitExceeded(
                f"lists or aliases nested deeper than {DEEPEST}: write the text out"
            )
        lines.setdefault(at, node.line)
        if node.tag and node.tag != "!" and not _is_standard(node.tag):
            message = f"the tag {node.tag} is not allowed: remove it, or {_QUOTE} if it begins so"
            self.problems.append(PatchError(message, self.place(node)))
        if node.kind == "text":
            return str(node.value)
        if node.kind == "mapping":
            return self._mapping(node, at, lines)
        return [self.plain(item, (*at, place), lines) for place, item in enumerate(node.value)]

    def _mapping(self, node: _Node, at: At, lines: dict[At, int]) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for key_node, value_node in zip(node.value[::2], node.value[1::2], strict=True):
            if key_node.kind != "text":
                message = f"a key must be a word, found a list or mapping: {_QUOTE}"
                self.problems.append(PatchError(message, self.place(key_node)))
                continue
            key = str(key_node.value)
            self._budget -= 1 + len(key)
            if key in body:
                message = (
                    f"the key {key!r} appears twice in one patch (first in line "
                    f"{lines[(*at, key)]}): keep one, or begin the second patch with '- '"
                )
                self.problems.append(PatchError(message, self.place(key_node)))
                continue
            lines[(*at, key)] = key_node.line
            body[key] = self.plain(value_node, (*at, key), lines)
        return body


def _is_standard(tag: str) -> bool:
    """Return whether a tag names a type of YAML's own, such as ``!!str``."""
    return tag.startswith("tag:yaml.org,2002:") and "python" not in tag


def _syntax(error: Any, path: str, real_line: Callable[[int], int]) -> PatchError:
    problem = str(getattr(error, "problem", None) or error)
    context = getattr(error, "context", None)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = real_line(mark.line + 1) if mark is not None else 1
    if "found character '\\t'" in problem:
        advice = "a tab where spaces are expected: indent with spaces"
    elif "mapping values are not allowed" in problem:
        advice = f"an unquoted colon: {_QUOTE}, as in question: 'What is this: a test?'"
    elif "undefined alias" in problem or "cannot start any token" in problem:
        advice = f"{problem}: {_SPECIAL}"
    else:
        what = f"{problem} ({context})" if context else problem
        start = getattr(error, "context_mark", None)
        if start is not None and real_line(start.line + 1) != line:
            what += f" that began in line {real_line(start.line + 1)}"
        advice = f"not YAML: {what}; check quotes, brackets and indentation"
    return PatchError(advice, SourceLocation(path, line))
