"""Reading YAML patch files as entries with line numbers: composed, never constructed."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner, ScannerError

from errata.cache.errors import PatchError
from errata.cache.patches.jsonl import DEEPEST, At, Entry, Plain
from errata.cache.records import SourceLocation

_QUOTE = "put the text in quotes"


def read_yaml(text: str, path: str) -> tuple[list[Entry], list[PatchError]]:
    """Return the entries of a YAML list, and the problems of other entries.

    :param text: the file's text.
    :param path: the file, for messages.
    """
    try:
        # Composing only: no tag is ever resolved to a Python object.
        yaml = YAML(typ="safe", pure=True)
        yaml.Scanner = _BoundedScanner
        root = yaml.compose(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"U+{error.character:04X}" if isinstance(error.character, int) else "a byte"
        message = f"{what} is no text: delete it, or write it as an escape in double quotes"
        return [], [PatchError(message, SourceLocation(path, line))]
    except YAMLError as error:
        return [], [_syntax(error, path)]
    except RecursionError:
        return [], [PatchError(f"lists nested deeper than {DEEPEST}", SourceLocation(path, 1))]
    if root is None:
        return [], []
    if not isinstance(root, SequenceNode):
        where = SourceLocation(path, root.start_mark.line + 1)
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
            entries.append(Entry(body, node.start_mark.line + 1, lines))
    return entries, reader.problems


class _BoundedScanner(Scanner):
    """Refuses deep brackets early: ruamel's scanner takes quadratic time in the depth."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:
        """Begin a list or mapping in brackets, unless it lies too deep."""
        if self.flow_level > DEEPEST:
            mark = self.reader.get_mark()
            raise ScannerError(None, None, f"lists nested deeper than {DEEPEST}", mark)
        super().fetch_flow_collection_start(TokenClass, to_push)


class _LimitExceeded(Exception):
    """Aliases expand to too many nodes, or lists nest too deep."""


class _NodeReader:
    """Converts YAML nodes to text, lists and mappings, within a budget of nodes.

    :param path: the file, for messages.
    :param budget: nodes allowed, so that aliases of aliases cannot fill the memory.
    """

    def __init__(self, path: str, budget: int) -> None:
        self.path = path
        self.problems: list[PatchError] = []
        self._budget = budget

    def place(self, node: Any) -> SourceLocation:
        """Return where a node begins."""
        return SourceLocation(self.path, node.start_mark.line + 1)

    def plain(self, node: Any, at: At, lines: dict[At, int]) -> Plain:
        """Return a node's content, noting lines and problems."""
        self._budget -= 1
        if self._budget < 0:
            raise _LimitExceeded(
                "aliases unfold to far more than the file holds: write the text out"
            )
        if len(at) > DEEPEST:
            raise _LimitExceeded(
                f"lists or aliases nested deeper than {DEEPEST}: write the text out"
            )
        lines.setdefault(at, node.start_mark.line + 1)
        if not str(node.tag).startswith("tag:yaml.org,2002:") or "python" in str(node.tag):
            message = f"the tag {node.tag} is not allowed: remove it, or {_QUOTE} if it begins so"
            self.problems.append(PatchError(message, self.place(node)))
        if isinstance(node, ScalarNode):
            return str(node.value)
        if isinstance(node, MappingNode):
            return self._mapping(node, at, lines)
        return [self.plain(item, (*at, place), lines) for place, item in enumerate(node.value)]

    def _mapping(self, node: Any, at: At, lines: dict[At, int]) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                message = f"a key must be a word, found a list or mapping: {_QUOTE}"
                self.problems.append(PatchError(message, self.place(key_node)))
                continue
            key = str(key_node.value)
            if key in body:
                message = (
                    f"the key {key!r} appears twice in one patch (first in line "
                    f"{lines[(*at, key)]}): keep one, or begin the second patch with '- '"
                )
                self.problems.append(PatchError(message, self.place(key_node)))
                continue
            lines[(*at, key)] = key_node.start_mark.line + 1
            body[key] = self.plain(value_node, (*at, key), lines)
        return body


def _syntax(error: Any, path: str) -> PatchError:
    problem = str(getattr(error, "problem", None) or error)
    context = getattr(error, "context", None)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else 1
    if "found character '\\t'" in problem:
        advice = "a tab where spaces are expected: indent with spaces"
    elif "mapping values are not allowed" in problem:
        advice = f"an unquoted colon: {_QUOTE}, as in question: 'What is this: a test?'"
    elif "undefined alias" in problem or "cannot start any token" in problem:
        advice = f"{problem}: {_QUOTE} if it begins with a special character such as * @ & ` %"
    elif "another document" in problem:
        advice = "two documents: a file holds one list, so remove the line '---'"
    else:
        what = f"{problem} ({context})" if context else problem
        if (start := getattr(error, "context_mark", None)) is not None and start.line + 1 != line:
            what += f" that began in line {start.line + 1}"
        advice = f"not YAML: {what}; check quotes, brackets and indentation"
    return PatchError(advice, SourceLocation(path, line))
