"""The filter of queries and outputs: regex patches, and after them the guard of secrets."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from errata.cache.filters.guard import DEFAULT_GUARD, GuardConfig, SecretGuard
from errata.cache.filters.regex import replacements
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
    """Replaces the matches of patterns in one pass, then withholds secrets.

    Patterns match the original text, never a replacement; of two matches that overlap, the
    earlier pattern's wins. Secrets are looked for in what the patterns leave.

    :param target: the text that is filtered, query or output.
    :param patterns: regex patches for it, best first.
    :param forgotten: facts whose secrets are withheld.
    :param config: what counts as a secret.
    """

    def __init__(
        self,
        target: str,
        patterns: Sequence[RegexPatch],
        forgotten: Sequence[Fact] = (),
        config: GuardConfig = DEFAULT_GUARD,
    ) -> None:
        self.target = target
        self.patterns, self.forgotten = tuple(patterns), tuple(forgotten)
        self.guard = SecretGuard(forgotten, config)
        self._where = {edit.id: edit.location for edit in (*patterns, *forgotten)}

    def __bool__(self) -> bool:
        """Return whether there is anything to filter."""
        return bool(self.patterns or self.guard.longest)

    def spans(self, text: str) -> list[Span]:
        """Return what the patterns replace, in order, none overlapping another."""
        found = (
            [Span(start, end, new, patch.id) for start, end, new in replacements(patch, text)]
            for patch in self.patterns
        )
        return without_overlaps(found)

    def secrets(self, text: str, *, before: Sequence[str] = (), cut: bool = False) -> list[Span]:
        """Return where secrets are withheld, in order, none overlapping another.

        :param text: the text without what the patterns replace.
        :param before: what may come before it: the prompt, in which a secret may begin.
        :param cut: the text does not end here: the beginning of a secret at its end counts, too.
        """
        found = self.guard.matches(text, before=before, cut=cut)
        return [Span(start, end, WITHHELD, fact) for start, end, fact in found]

    def apply(
        self, text: str, *, before: Sequence[str] = (), cut: bool = False
    ) -> tuple[str, tuple[Replacement, ...]]:
        """Return the filtered text and the replacements made.

        :param text: any text.
        :param before: as in :meth:`secrets`.
        :param cut: as in :meth:`secrets`.
        """
        spans = self.spans(text)
        replaced = replace_spans(text, spans) if spans else text
        secrets = self.secrets(replaced, before=before, cut=cut)
        if secrets:
            replaced = replace_spans(replaced, secrets)
        counts = Counter(span.edit_id for span in (*spans, *secrets))
        return replaced, tuple(
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


def without_overlaps(found: Iterable[Sequence[Span]]) -> list[Span]:
    """Return spans in order, none overlapping another; of two that overlap, the first one given.

    Time is linear in the number of spans.

    :param found: several lists, each in order and without overlaps.
    """
    kept: list[Span] = []
    for spans in found:
        if not kept:
            kept = list(spans)
            continue
        free, at = [], 0
        for span in spans:
            while at < len(kept) and kept[at].end <= span.start:
                at += 1
            if at == len(kept) or span.end <= kept[at].start:
                free.append(span)
        kept = list(heapq.merge(kept, free, key=lambda span: span.start))
    return kept
