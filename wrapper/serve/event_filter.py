"""Output patterns and secrets in an upstream's answer; what they do not match stays byte for byte.

In a stream what may still become a match, or may be the beginning of a secret, is held back
(:class:`errata.cache.filters.stream.FilterStream`).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from errata.cache.filters.stream import FilterStream, Segment
from errata.cache.filters.text_filter import Filter, Span

_END = re.compile(rb"\r?\n\r?\n|\r\r")
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
"""Fields of a message that hold text of the model."""

Place = tuple[int, str]
"""A choice, and the field of it that holds text."""


def filter_body(raw: bytes, output_filter: Filter, before: Sequence[str] = ()) -> bytes:
    """Return an answer's body, filtered; the very same bytes where nothing matches.

    :param raw: JSON; anything else is returned as it is.
    :param output_filter: patterns and secrets.
    :param before: what the answer goes on from, in which a secret may begin.
    """
    try:
        body = json.loads(raw)
    except ValueError:
        return raw
    changed = False
    cut = _cut_off(body)
    for (choice, _), holder, name in _texts(body, "message"):
        new, _ = output_filter.apply(holder[name], before=before, cut=choice in cut)
        changed |= new != holder[name]
        holder[name] = new
    return json.dumps(body, ensure_ascii=False).encode() if changed else raw


@dataclass(slots=True, eq=False)
class _Event:
    raw: bytes
    body: Any = None
    ranges: dict[Place, tuple[int, int]] = field(default_factory=dict)


class _Text:
    """One text of a stream: what came, and what of it is final.

    :param stream: filters it.
    """

    def __init__(self, stream: FilterStream) -> None:
        self.stream, self.text = stream, ""
        self.final = 0
        """Characters that no later text can change."""
        self.spans: list[Span] = []

    def take(self, segments: Sequence[Segment]) -> None:
        """Accept what has become final."""
        for one in segments:
            end = self.final + one.source
            if one.edit_ids:
                self.spans.append(Span(self.final, end, one.text, one.edit_ids[0]))
            self.final = end


class EventFilter:
    """Filters a stream of server-sent events.

    :param output_filter: patterns and secrets.
    :param before: what the answer goes on from, in which a secret may begin.
    """

    def __init__(self, output_filter: Filter, before: Sequence[str] = ()) -> None:
        self._filter, self._before = output_filter, before
        self._buffer = b""
        self._texts: dict[Place, _Text] = {}
        self._held: list[_Event] = []
        self._cut: set[int] = set()

    async def filtered(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the stream's bytes, filtered."""
        async for part in parts:
            for event in self.put(part):
                yield event
        for event in self.end():
            yield event

    def put(self, part: bytes) -> Iterator[bytes]:
        """Accept bytes; yield the events that no later text can change."""
        self._buffer += part
        while match := _END.search(self._buffer):
            raw, self._buffer = self._buffer[: match.end()], self._buffer[match.end() :]
            self._take(raw)
        yield from self._final(done=False)

    def end(self) -> Iterator[bytes]:
        """Yield what was held back."""
        if self._buffer:
            self._take(self._buffer)
            self._buffer = b""
        for (choice, _), one in self._texts.items():
            one.take(one.stream.finish(cut=choice in self._cut))
        yield from self._final(done=True)

    def _take(self, raw: bytes) -> None:
        event = _Event(raw)
        lines = [line for line in raw.splitlines() if line.startswith(b"data:")]
        try:
            event.body = json.loads(b"\n".join(line[5:] for line in lines)) if lines else None
        except ValueError:
            event.body = None
        self._cut |= _cut_off(event.body)
        for place, holder, name in _texts(event.body, "delta"):
            if place not in self._texts:
                self._texts[place] = _Text(FilterStream(self._filter, self._before))
            one, new = self._texts[place], holder[name]
            event.ranges[place] = (len(one.text), len(one.text) + len(new))
            one.text += new
            one.take(one.stream.feed(new))
        self._held.append(event)

    def _final(self, *, done: bool) -> Iterator[bytes]:
        """Yield the events from the first on whose texts are final."""
        while self._held:
            ranges = self._held[0].ranges.items()
            if not done and any(end > self._texts[place].final for place, (_, end) in ranges):
                return
            yield self._written(self._held.pop(0))

    def _written(self, event: _Event) -> bytes:
        """Return an event with its own part of the replacements."""
        changed = False
        for place, holder, name in _texts(event.body, "delta"):
            (start, end), one = event.ranges[place], self._texts[place]
            if any(span.start < end and start < span.end for span in one.spans):
                changed = True
                holder[name] = _rendered(one.text, one.spans, start, end)
        if not changed:
            return event.raw
        return b"data: " + json.dumps(event.body, ensure_ascii=False).encode() + b"\n\n"


def _cut_off(body: Any) -> set[int]:
    """Return the choices that ended at a limit of length."""
    choices = body.get("choices") if isinstance(body, dict) else None
    return {
        choice.get("index", at)
        for at, choice in enumerate(choices if isinstance(choices, list) else ())
        if isinstance(choice, dict) and choice.get("finish_reason") == "length"
    }


def _texts(body: Any, message: str) -> Iterator[tuple[Place, dict[str, Any], str]]:
    """Yield the texts of an answer: where each is, the mapping that holds it, and its key."""
    choices = body.get("choices") if isinstance(body, dict) else None
    for at, choice in enumerate(choices if isinstance(choices, list) else ()):
        if not isinstance(choice, dict):
            continue
        index = choice.get("index")
        number = index if isinstance(index, int) else at
        if isinstance(choice.get("text"), str):
            yield (number, "text"), choice, "text"
        holder = choice.get(message)
        if not isinstance(holder, dict):
            continue
        for name in _TEXTS:
            if isinstance(holder.get(name), str):
                yield (number, name), holder, name
        calls = holder.get("tool_calls")
        for order, one in enumerate(calls if isinstance(calls, list) else ()):
            function = one.get("function") if isinstance(one, dict) else None
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                yield (number, f"tool {one.get('index', order)}"), function, "arguments"


def _rendered(text: str, spans: list[Span], start: int, end: int) -> str:
    """Return a part of a text with replacements; each stands where its match begins."""
    out, at = [], start
    for span in spans:
        if span.end <= start or span.start >= end:
            continue
        out.append(text[at : max(at, span.start)])
        if span.start >= start:
            out.append(span.text)
        at = min(span.end, end)
    return "".join([*out, text[at:end]])
