"""The filter: regex patches on query and output, and the guard of forgotten secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.cache.filters.regex import replacements
from errata.cache.filters.secrets import SecretGuard
from errata.cache.records import Fact, RegexPatch, SourceLocation

WITHHELD = "[withheld]"
"""What stands in an answer where a forgotten secret stood."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a regex patch, or the guard of secrets, changed.

    :param edit_id: the patch.
    :param target: which text it worked on, query or output.
    :param count: how many matches were replaced.
    :param location: ``file:line`` of the patch, if it came from a file.
    """

    edit_id: str
    target: str
    count: int
    location: SourceLocation | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text to be replaced.

    :param start: first character.
    :param end: one past the last.
    :param text: what is put there.
    :param edit_id: the patch that says so.
    """

    start: int
    end: int
    text: str
    edit_id: str


class Filter:
    """Replaces, in one pass, what patterns match and secrets tell.

    Matches are found on the text as it is, never on another pattern's replacement; of two that
    overlap, a secret wins, then the pattern that stands first.

    :param target: which text is filtered, query or output.
    :param patterns: regex patches for it, best first.
    :param forgotten: facts whose secrets must not be told.
    """

    def __init__(
        self, target: str, patterns: Sequence[RegexPatch], forgotten: Sequence[Fact] = ()
    ) -> None:
        self.target = target
        self._patterns = tuple(patterns)
        self._guards = [(fact, SecretGuard([fact])) for fact in forgotten]
        self._where = {edit.id: edit.location for edit in (*patterns, *forgotten)}

    def __bool__(self) -> bool:
        """Whether there is anything to filter."""
        return bool(self._patterns or self._guards)

    @property
    def reach(self) -> int:
        """Characters that a stream has to hold back: the longest match plus one."""
        lengths = [patch.max_length for patch in self._patterns]
        lengths += [guard.longest for _, guard in self._guards]
        return max(lengths, default=-1) + 1

    def spans(self, text: str) -> list[Span]:
        """Return what is to be replaced, in order, none overlapping another."""
        found: list[Span] = []
        for fact, guard in self._guards:
            for start, end in guard.find(text):
                _keep(found, Span(start, end, WITHHELD, fact.id))
        for patch in self._patterns:
            for start, end, new in replacements(patch, text):
                _keep(found, Span(start, end, new, patch.id))
        return sorted(found, key=lambda span: span.start)

    def apply(self, text: str) -> tuple[str, tuple[Replacement, ...]]:
        """Return the filtered text and what was replaced; the very text where nothing matched."""
        spans = self.spans(text)
        return replace_spans(text, spans), self._told(spans)

    def _told(self, spans: Sequence[Span]) -> tuple[Replacement, ...]:
        counts: dict[str, int] = {}
        for span in spans:
            counts[span.edit_id] = counts.get(span.edit_id, 0) + 1
        return tuple(
            Replacement(edit_id, self.target, count, self._where[edit_id])
            for edit_id, count in counts.items()
        )


def replace_spans(text: str, spans: Sequence[Span]) -> str:
    """Return the text with its spans replaced.

    :param text: any text.
    :param spans: in order, none overlapping another.
    """
    out, at = [], 0
    for span in spans:
        out += [text[at : span.start], span.text]
        at = span.end
    return "".join([*out, text[at:]])


def _keep(found: list[Span], span: Span) -> None:
    if all(span.end <= other.start or other.end <= span.start for other in found):
        found.append(span)
