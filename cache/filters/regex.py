r"""Applying regex patches by RE2, which takes time linear in the text for any pattern.

RE2 knows neither look-around nor back-references; its ``\b``, ``\w`` and ``\d`` know only ASCII.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, Protocol, cast

from errata.cache.records import RegexPatch

_PROBES = ("", "a", "ab", "a b", "界", " ", "\n", ".", "a\nb", "1")
"""Texts on one of which a pattern that can match the empty text does so."""

_PIECE = re.compile(r"\\(?:([0-9])|g<(\w+)>|(\\))|(\\)", re.ASCII)
_TOKEN = re.compile(
    r"\\p\{\^?\w+\}|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]"
    r"|\(\?(?:P?<\w+>|[a-zA-Z-]*:)|\{\d+(?:,\d*)?\}|.",
    re.DOTALL,
)
_WIDE = {
    r"\w": r"[\pL\pN_]",
    r"\W": r"[^\pL\pN_]",
    r"\d": r"\p{Nd}",
    r"\D": r"\P{Nd}",
}
_WIDE_IN_CLASS = {r"\w": r"\pL\pN_", r"\d": r"\p{Nd}", r"\D": r"\P{Nd}"}


class Match(Protocol):
    """The part of an RE2 match used here."""

    def span(self, group: int = 0) -> tuple[int, int]:
        """Return start and end in characters, (-1, -1) if the group took no part."""


class Pattern(Protocol):
    """The part of a compiled RE2 pattern used here."""

    @property
    def groups(self) -> int:
        """Number of groups."""

    @property
    def groupindex(self) -> dict[str, int]:
        """Named groups."""

    def search(self, text: str) -> Match | None:
        """Return the first match."""

    def finditer(self, text: str, pos: int = 0) -> Iterator[Match]:
        """Return all matches from a position on, left to right, none overlapping."""


def compile_pattern(patch: RegexPatch) -> Pattern:
    """Return the patch's compiled pattern (cached).

    :param patch: a patch that :class:`errata.cache.patches.regex.RegexKind` accepts.
    :raises ValueError: if RE2 refuses the pattern.
    """
    return _compile(patch.pattern)


def replacements(patch: RegexPatch, text: str) -> list[tuple[int, int, str]]:
    """Return the replacements of a patch in a text: start, end (in characters) and the new text.

    Matches are left to right, none overlapping.

    :param patch: the patch.
    :param text: any text.
    """
    found = []
    for match in _compile(patch.pattern).finditer(readable(text)):
        start, stop = match.span()
        if start < stop:
            found.append((start, stop, expand(patch, match, text)))
    return found


def expand(patch: RegexPatch, match: Match, text: str) -> str:
    """Return what a match is replaced by.

    :param patch: the patch.
    :param match: of its pattern in the text.
    :param text: the text.
    """
    pieces = []
    for part in _template(patch.pattern, patch.replacement):
        if isinstance(part, str):
            pieces.append(part)
        else:
            first, last = match.span(part)
            pieces.append(text[max(first, 0) : max(last, 0)])
    return "".join(pieces)


def substitute(patch: RegexPatch, text: str) -> tuple[str, int]:
    """Return the text with every match replaced, and the number of replacements.

    A text without a match is returned as it is.

    :param patch: the patch.
    :param text: any text.
    """
    found = replacements(patch, text)
    if not found:
        return text, 0
    pieces, end = [], 0
    for start, stop, new in found:
        pieces += [text[end:start], new]
        end = stop
    return "".join([*pieces, text[end:]]), len(found)


def readable(text: str) -> str:
    """Return the text with lone surrogates, which RE2 cannot read, as U+FFFD; positions stay."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return re.sub("[\ud800-\udfff]", "\ufffd", text)
    return text


def pattern_problem(pattern: str) -> str | None:
    """Return what is wrong with a pattern and how to fix it, or None."""
    if any(token == r"\C" for token in _TOKEN.findall(pattern)):
        return r"uses \C, a single byte, which cuts characters in two: use . instead"
    try:
        compiled = _compile(pattern)
    except ValueError as error:
        return f"'{pattern}' is refused by RE2 ({error}){_advice(str(error))}"
    for probe in _PROBES:
        if any(first == last for first, last in (m.span() for m in compiled.finditer(probe))):
            return (
                f"'{pattern}' matches the empty text, which is everywhere: make it match at "
                "least one character (+ instead of *)"
            )
    return None


def replacement_problem(pattern: str, replacement: str) -> str | None:
    """Return what is wrong with a replacement and how to fix it, or None.

    :param pattern: a pattern that :func:`pattern_problem` accepts.
    :param replacement: the rewrite string.
    """
    try:
        _template(pattern, replacement)
    except ValueError as error:
        return str(error)
    return None


def lint_pattern(patch: RegexPatch) -> tuple[str, ...]:
    r"""Return warnings about RE2's ASCII-only classes next to letters that are not ASCII.

    :param patch: a valid patch.
    :return: one message, with a form that works, or none.
    """
    tokens = _TOKEN.findall(patch.pattern)
    found: dict[str, None] = {}
    before: list[str] = []
    after: list[str] = []
    proposed = []
    for place, token in enumerate(tokens):
        left, right = _neighbour(tokens[:place][::-1]), _neighbour(tokens[place + 1 :])
        wide = _proposal(token, left, right, before, after)
        if wide is not None:
            found.update(dict.fromkeys(_ascii_classes(token)))
        proposed.append(token if wide is None else wide)
    if not found:
        return ()
    names = ", ".join(found)
    replacement = "".join(f"\\g<{name}>" for name in before) + patch.replacement
    replacement += "".join(f"\\g<{name}>" for name in after)
    advice = f"write regex: '{''.join(proposed)}'"
    if before or after:
        advice += f" and replace: '{replacement}'"
    return (
        f"{names} in '{patch.pattern}' knows ASCII letters and digits only, so next to "
        f"other letters it does not match as expected: {advice}",
    )


def _neighbour(tokens: list[str]) -> str:
    passed = ("+", "*", "?", "(", ")")
    for token in tokens:
        if token not in passed and not token.startswith(("(?", "{")):
            return token
    return ""


def _proposal(token: str, left: str, right: str, before: list[str], after: list[str]) -> str | None:
    if token == r"\b" and _foreign(right):
        before.append("before" if not before else f"before{len(before) + 1}")
        return rf"(?P<{before[-1]}>^|[^\pL\pN_])"
    if token == r"\b" and _foreign(left):
        after.append("after" if not after else f"after{len(after) + 1}")
        return rf"(?P<{after[-1]}>[^\pL\pN_]|$)"
    if token in _WIDE and (_foreign(left) or _foreign(right)):
        return _WIDE[token]
    if token.startswith("[") and _foreign(token) and _ascii_classes(token):
        for narrow, wide in _WIDE_IN_CLASS.items():
            token = token.replace(narrow, wide)
        return token
    return None


def _ascii_classes(token: str) -> list[str]:
    return [name for name in (r"\b", r"\w", r"\W", r"\d", r"\D") if name in token]


def _foreign(token: str) -> bool:
    return any(char.isalpha() and not char.isascii() for char in token)


def _advice(error: str) -> str:
    if "perl operator" in error or "named capture" in error:
        return (
            ": look-around is not supported; match the neighbouring text in a group and write it "
            r"back, as in regex: '(\d )USD' with replace: '\1EUR'"
        )
    if "escape sequence" in error:
        return (
            r": back-references (\1 in the pattern) and \Z are not supported; write the repeated "
            r"text out, use \z for the end, and \\ for a backslash"
        )
    if "too large" in error or "repetition size" in error:
        return ": use smaller repetition counts (at most 1000)"
    return ": see https://github.com/google/re2/wiki/Syntax; special characters take a backslash"


@functools.lru_cache(maxsize=4096)
def _compile(pattern: str) -> Pattern:
    # Imported late: slow to import, and a cache without regex patches does not need it.
    import re2  # type: ignore[import-untyped, unused-ignore]

    options = re2.Options()
    options.log_errors = False
    try:
        return cast("Pattern", re2.compile(pattern, options))
    except re2.error as error:
        cause: Any = error.args[0] if error.args else error
        text = cause.decode(errors="replace") if isinstance(cause, bytes) else str(cause)
        raise ValueError(text) from None


@functools.lru_cache(maxsize=4096)
def _template(pattern: str, replacement: str) -> tuple[str | int, ...]:
    compiled = _compile(pattern)
    parts: list[str | int] = []
    end = 0
    for piece in _PIECE.finditer(replacement):
        parts.append(replacement[end : piece.start()])
        end = piece.end()
        digit, name, backslash, stray = piece.groups()
        if stray is not None:
            raise ValueError(
                rf"has a lone backslash at character {piece.start() + 1}: write \\ for a "
                r"backslash, \1 or \g<name> for a group"
            )
        parts.append("\\" if backslash else _group(compiled, digit or name))
    parts.append(replacement[end:])
    return tuple(parts)


def _group(compiled: Pattern, name: str) -> int:
    number = int(name) if name.isdecimal() and len(name) < 6 else compiled.groupindex.get(name, -1)
    if 0 <= number <= compiled.groups:
        return number
    has = f"{compiled.groups} group{'' if compiled.groups == 1 else 's'}"
    raise ValueError(
        f"names group {name}, but the pattern has {has}: put parentheses around the part to keep, "
        "or correct the number"
    )
