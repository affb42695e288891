"""Output patterns and secrets in an upstream's answer; what they do not match stays byte for byte.

In a stream the longest possible match plus one character is held back, as in
:mod:`errata.generation.streaming`.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from errata.cache.filters.text_filter import Filter, Span

_END = re.compile(rb"\r?\n\r?\n|\r\r")
_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
"""Fields of a message that hold text of the model."""

Place = tuple[int, str]
"""A choice, and the field of it that holds text."""


def filter_body(raw: bytes, output_filter: Filter) -> bytes:
    """Return an answer's body, filtered; the very same bytes where nothing matches.

    :param raw: JSON; anything else is returned as it is.
    :param output_filter: patterns and secrets.
    """
    try:
        body = json.loads(raw)
    except ValueError:
        return raw
    changed = False
    for _, holder, name in _texts(body, "message"):
        spans = output_filter.spans(holder[name])
        if spans:
            changed = True
            holder[name] = _rendered(holder[name], spans, 0, len(holder[name]))
    return json.dumps(body, ensure_ascii=False).encode() if changed else raw


@dataclass(slots=True, eq=False)
class _Event:
    raw: bytes
    body: Any = None
    ranges: dict[Place, tuple[int, int]] = field(default_factory=dict)


class EventFilter:
    """Filters a stream of server-sent events.

    :param output_filter: patterns and secrets.
    """

    def __init__(self, output_filter: Filter) -> None:
        self._filter = output_filter
        self._buffer = b""
        self._texts: dict[Place, str] = {}
        self._held: list[_Event] = []

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
        yield from self._final(done=True)

    def _take(self, raw: bytes) -> None:
        event = _Event(raw)
        lines = [line for line in raw.splitlines() if line.startswith(b"data:")]
        try:
            event.body = json.loads(b"\n".join(line[5:] for line in lines)) if lines else None
        except ValueError:
            event.body = None
        for place, holder, name in _texts(event.body, "delta"):
            start = len(self._texts.get(place, ""))
            self._texts[place] = self._texts.get(place, "") + holder[name]
            event.ranges[place] = (start, len(self._texts[place]))
        self._held.append(event)

    def _final(self, *, done: bool) -> Iterator[bytes]:
        """Yield the events from the first on whose texts are final."""
        reach, spans = self._filter.reach, dict[Place, list[Span]]()
        while self._held:
            event = self._held[0]
            open_ends = (
                end + reach > len(self._texts[place]) for place, (_, end) in event.ranges.items()
            )
            if not done and any(open_ends):
                return
            for place in event.ranges:
                if place not in spans:
                    spans[place] = self._filter.spans(self._texts[place])
            yield self._written(self._held.pop(0), spans)

    def _written(self, event: _Event, spans: dict[Place, list[Span]]) -> bytes:
        """Return an event with its own part of the replacements."""
        changed = False
        for place, holder, name in _texts(event.body, "delta"):
            start, end = event.ranges[place]
            if any(span.start < end and start < span.end for span in spans[place]):
                changed = True
                holder[name] = _rendered(self._texts[place], spans[place], start, end)
        if not changed:
            return event.raw
        return b"data: " + json.dumps(event.body, ensure_ascii=False).encode() + b"\n\n"


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
