"""Filter a text that arrives in pieces, in time linear in it.

What is sent cannot change any more: a match that may still grow, or a secret that may be
beginning, is held back. The result is that of :meth:`Filter.apply` on the whole text, as long as
no match is longer than its patch's ``max_length``; one that is may be replaced in parts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from errata.cache.filters.regex import compile_pattern, expand, readable
from errata.cache.filters.text_filter import Filter, Span, replace_spans, without_overlaps
from errata.cache.records import RegexPatch

_CONTEXT = 64
"""Characters kept of what was sent: a word's boundary, or a line's beginning, is seen in them."""
_SEEN = 8
"""The same for secrets, whose spelling needs less: whether a word begins there."""

_GROWTH = 32
"""Text that is held back is read again when it is longer by this part, so that a long row of marks
or a long word takes linear time, too."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the filtered text.

    :param source: number of characters of the unfiltered text that it stands for.
    :param text: what is sent.
    :param edit_ids: the patches that replaced something in it; none: it is as it was.
    """

    source: int
    text: str
    edit_ids: tuple[str, ...] = ()


class FilterStream:
    """One text on its way through a filter.

    :param output_filter: the patterns and secrets.
    :param before: what comes before the text, in which a secret may begin.
    """

    def __init__(self, output_filter: Filter, before: Sequence[str] = ()) -> None:
        self._patterns = _PatternStream(output_filter.patterns)
        self._guard = _GuardStream(output_filter, before) if len(output_filter.guard) else None

    def feed(self, text: str) -> list[Segment]:
        """Return what can be sent after some more text.

        :param text: the next piece.
        """
        segments = self._patterns.feed(text)
        return segments if self._guard is None else self._guard.feed(segments)

    def finish(self, *, cut: bool = False) -> list[Segment]:
        """Return all that was held back.

        :param cut: the text was cut off: the beginning of a secret at its end is withheld, too.
        """
        segments = self._patterns.feed("", last=True)
        if self._guard is None:
            return segments
        return self._guard.feed(segments, last=True, cut=cut)


class _Cursor:
    """The matches of one pattern in a text that arrives in pieces.

    :param patch: the pattern.
    """

    def __init__(self, patch: RegexPatch) -> None:
        self.patch, self.pattern = patch, compile_pattern(patch)
        self.at = 0
        """Matches that begin before this character are known."""
        self.spans: list[Span] = []

    def advance(self, text: str, base: int, *, last: bool) -> None:
        """Find the matches that more text cannot change.

        :param text: the part of the text that is kept.
        :param base: where it begins.
        :param last: it ends here.
        """
        end = base + len(text)
        decided = end + 1 if last else end - self.patch.max_length
        if self.at >= min(decided, end):
            return
        for match in self.pattern.finditer(text, self.at - base):
            start, stop = (base + place for place in match.span())
            if start >= decided:
                break
            if start < stop:
                new = expand(self.patch, match, text)
                self.spans.append(Span(start, stop, new, self.patch.id))
                self.at = stop
        self.at = max(self.at, min(decided, end))


class _PatternStream:
    """Replaces the matches of patterns.

    :param patterns: best first.
    """

    def __init__(self, patterns: Sequence[RegexPatch]) -> None:
        self._cursors = [_Cursor(patch) for patch in patterns]
        self._text, self._base, self._sent = "", 0, 0

    def feed(self, text: str, *, last: bool = False) -> list[Segment]:
        """Return what can be sent after some more text; all of it, if it is the last."""
        self._text += text
        end = self._base + len(self._text)
        kept = readable(self._text)
        for cursor in self._cursors:
            cursor.advance(kept, self._base, last=last)
        known = end if last else min((cursor.at for cursor in self._cursors), default=end)
        spans = without_overlaps(cursor.spans for cursor in self._cursors)
        segments = list(self._segments([span for span in spans if span.end <= known]))
        crossing = [span.start for span in spans if span.end > known]
        upto = min([known, *crossing])
        if upto > self._sent:
            segments.append(Segment(upto - self._sent, self._piece(self._sent, upto)))
            self._sent = upto
        for cursor in self._cursors:
            cursor.spans = [span for span in cursor.spans if span.end > self._sent]
        dropped = max(0, self._sent - _CONTEXT - self._base)
        self._text, self._base = self._text[dropped:], self._base + dropped
        return segments

    def _segments(self, spans: Sequence[Span]) -> Iterator[Segment]:
        for span in spans:
            if span.start > self._sent:
                yield Segment(span.start - self._sent, self._piece(self._sent, span.start))
            yield Segment(span.end - span.start, span.text, (span.edit_id,))
            self._sent = span.end

    def _piece(self, start: int, end: int) -> str:
        return self._text[start - self._base : end - self._base]


class _GuardStream:
    """Withholds secrets from what the patterns leave.

    :param output_filter: has the guard.
    :param before: what comes before the text.
    """

    def __init__(self, output_filter: Filter, before: Sequence[str]) -> None:
        self._filter = output_filter
        reach = output_filter.guard.reach
        self._before = sorted({text[-reach:] for text in before}) or [""]
        self._waiting: deque[Segment] = deque()
        self._unread = self._enough = 0

    def feed(
        self, segments: Sequence[Segment], *, last: bool = False, cut: bool = False
    ) -> list[Segment]:
        """Return what can be sent after some more segments; all of it, if they are the last."""
        self._waiting += segments
        self._unread += sum(len(segment.text) for segment in segments)
        if self._unread < self._enough and not last:
            return []
        self._unread = self._enough = 0
        text = "".join(segment.text for segment in self._waiting)
        upto = len(text) if last else self._known(text)
        if not (upto or last):
            self._enough = len(text) // _GROWTH
            return []
        secrets = self._filter.secrets(text, before=self._before, cut=cut)
        sent, place = [], 0
        for start, end in self._fixed(secrets):
            if end > upto:
                upto = min(upto, start)
                break
            sent += self._taken(start - place, text[place:start])
            inside = [
                Span(span.start - start, span.end - start, span.text, span.edit_id)
                for span in secrets
                if start <= span.start and span.end <= end
            ]
            new = replace_spans(text[start:end], inside)
            sent += self._taken(end - start, new, [span.edit_id for span in inside], whole=True)
            place = end
        sent += self._taken(upto - place, text[place:upto])
        if upto:
            self._before = [(self._before[0] + text[:upto])[-_SEEN:]]
        return sent

    def _known(self, text: str) -> int:
        """Return up to where a text has no secret that may go on."""
        hold = self._filter.guard.hold
        return min(max(0, hold(before + text) - len(before)) for before in self._before)

    def _fixed(self, secrets: Sequence[Span]) -> list[tuple[int, int]]:
        """Return the ranges of the text that are sent as a whole: replacements and secrets."""
        ranges = [(span.start, span.end) for span in secrets]
        place = 0
        for segment in self._waiting:
            end = place + len(segment.text)
            if segment.edit_ids:
                ranges.append((place, end))
            place = end
        merged: list[tuple[int, int]] = []
        for start, end in sorted(ranges):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _taken(
        self, length: int, text: str, edit_ids: Sequence[str] = (), *, whole: bool = False
    ) -> list[Segment]:
        """Take characters from those waiting; return them as one segment, none if there are none.

        :param length: how many; a replacement is never divided.
        :param text: what is sent for them.
        :param edit_ids: the secrets withheld in them.
        :param whole: take a replacement by nothing, too.
        """
        source, ids = 0, list(edit_ids)
        while self._waiting and (length or (whole and not self._waiting[0].text)):
            segment = self._waiting.popleft()
            size = len(segment.text)
            if size > length:
                rest = segment.text[length:]
                self._waiting.appendleft(Segment(len(rest), rest))
                source, length = source + length, 0
            else:
                source, length = source + segment.source, length - size
                ids += segment.edit_ids
        return [Segment(source, text, tuple(dict.fromkeys(ids)))] if source else []
