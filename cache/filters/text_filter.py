"""The filter of queries and outputs: regex patches, and secrets withheld."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.cache.filters.regex import replacements
from errata.cache.filters.secrets import SecretGuard
from errata.cache.records import Fact, RegexPatch, SourceLocation

WITHHELD = "[withheld]"
"""Replaces a forgotten secret in an answer."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Replacements made by one regex patch or secret.

    :param edit_id: the patch.
    :param target: the filtered text, query or output.
    :param count: matches replaced.
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
    :param text: the new text.
    :param edit_id: the patch.
    """

    start: int
    end: int
    text: str
    edit_id: str


class Filter:
    """Replaces the matches of patterns and secrets in one pass.

    Matches are found in the original text, never in a replacement; of two that overlap, a secret
    wins, then the earlier pattern.

    :param target: the text that is filtered, query or output.
    :param patterns: regex patches for it, best first.
    :param forgotten: facts whose secrets are withheld.
    """

    def __init__(
        self, target: str, patterns: Sequence[RegexPatch], forgotten: Sequence[Fact] = ()
    ) -> None:
        self.target = target
        self._patterns = tuple(patterns)
        self._guards = [(fact, SecretGuard([fact])) for fact in forgotten]
        self._where = {edit.id: edit.location for edit in (*patterns, *forgotten)}

    def __bool__(self) -> bool:
        """Return whether there is anything to filter."""
        return bool(self._patterns or self._guards)

    @property
    def reach(self) -> int:
        """Characters that a stream holds back: the longest match plus one."""
        lengths = [patch.max_length for patch in self._patterns]
        lengths += [guard.longest for _, guard in self._guards]
        return max(lengths, default=-1) + 1

    def spans(self, text: str) -> list[Span]:
        """Return the spans to replace, in order, none overlapping another."""
        found: list[Span] = []
        for fact, guard in self._guards:
            for start, end in guard.find(text):
                _keep(found, Span(start, end, WITHHELD, fact.id))
        for patch in self._patterns:
            for start, end, new in replacements(patch, text):
                _keep(found, Span(start, end, new, patch.id))
        return sorted(found, key=lambda span: span.start)

    def apply(self, text: str) -> tuple[str, tuple[Replacement, ...]]:
        """Return the filtered text and the replacements made."""
        spans = self.spans(text)
        return replace_spans(text, spans), self._counted(spans)

    def _counted(self, spans: Sequence[Span]) -> tuple[Replacement, ...]:
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
