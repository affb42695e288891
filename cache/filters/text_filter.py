"""The filter of queries and outputs: regex patches, and secrets withheld."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from errata.cache.filters.regex import replacements
from errata.cache.filters.secrets import SecretHash, parse_secret_hash
from errata.cache.records import Edit, Fact, RegexPatch, SourceLocation
from errata.cache.text.normalize import fold_secret

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


class SecretGuard:
    """Finds the secrets of some facts in any text.

    :param facts: edits; those without a secret are skipped.
    """

    def __init__(self, facts: Iterable[Edit]) -> None:
        plain: dict[str, None] = {}
        hashed: dict[SecretHash, None] = {}
        for fact in facts:
            if not isinstance(fact, Fact):
                continue
            if fact.secret is not None and (folded := fold_secret(fact.secret)[0]):
                plain[folded] = None
            if fact.secret_hash is not None:
                hashed[parse_secret_hash(fact.secret_hash)] = None
        self._plain = tuple(plain)
        self._hashed = tuple(hashed)

    def __len__(self) -> int:
        """Return the number of secrets guarded."""
        return len(self._plain) + len(self._hashed)

    @property
    def longest(self) -> int:
        """Characters of a text that a secret may cover, with white space between its letters."""
        lengths = [len(secret) for secret in self._plain]
        lengths += [secret.length for secret in self._hashed]
        return 2 * max(lengths, default=0)

    def find(self, text: str) -> list[tuple[int, int]]:
        """Return the spans (start, end) of secrets in characters, merged and in order.

        :param text: any text.
        """
        if not (self._plain or self._hashed):
            return []
        folded, origin = fold_secret(text)
        spans = [
            (origin[start], origin[start + length - 1] + 1)
            for start, length in self._matches(folded)
        ]
        merged: list[tuple[int, int]] = []
        for start, end in sorted(spans):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _matches(self, folded: str) -> Iterable[tuple[int, int]]:
        """Yield start and length of each secret in a folded text."""
        for secret in self._plain:
            start = folded.find(secret)
            while start >= 0:
                yield start, len(secret)
                start = folded.find(secret, start + 1)
        for hashed in self._hashed:
            for start in range(len(folded) - hashed.length + 1):
                if hashed.matches(folded[start : start + hashed.length]):
                    yield start, hashed.length


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
        self.patterns, self.forgotten = tuple(patterns), tuple(forgotten)
        self._guards = [(fact, SecretGuard([fact])) for fact in forgotten]
        self._where = {edit.id: edit.location for edit in (*patterns, *forgotten)}

    def __bool__(self) -> bool:
        """Return whether there is anything to filter."""
        return bool(self.patterns or self._guards)

    @property
    def reach(self) -> int:
        """Characters that a stream holds back: the longest match plus one."""
        lengths = [patch.max_length for patch in self.patterns]
        lengths += [guard.longest for _, guard in self._guards]
        return max(lengths, default=-1) + 1

    def spans(self, text: str) -> list[Span]:
        """Return the spans to replace, in order, none overlapping another."""
        found: list[Span] = []
        for fact, guard in self._guards:
            for start, end in guard.find(text):
                _keep(found, Span(start, end, WITHHELD, fact.id))
        for patch in self.patterns:
            for start, end, new in replacements(patch, text):
                _keep(found, Span(start, end, new, patch.id))
        return sorted(found, key=lambda span: span.start)

    def apply(self, text: str) -> tuple[str, tuple[Replacement, ...]]:
        """Return the filtered text and the replacements made."""
        spans = self.spans(text)
        return (replace_spans(text, spans), self._counted(spans)) if spans else (text, ())

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
