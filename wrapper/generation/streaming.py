"""Stream through the output filter: text that may become part of a match is held back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers.generation.streamers import BaseStreamer

from errata.cache.filters.stream import FilterStream, Segment
from errata.cache.filters.text_filter import Filter
from errata.generation.request import AnswerWriter

if TYPE_CHECKING:
    import torch

_LONGEST_CHARACTER = 8
"""Ids after which an unfinished character counts as broken; UTF-8 has four bytes at most."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some ids, and their text, which has whole characters."""

    ids: tuple[int, ...]
    text: str


class FilteredStreamer(BaseStreamer):
    """Filters a stream of ids, in time linear in their number.

    Ids without a replacement are sent unchanged.

    :param streamer: the caller's streamer.
    :param writer: encodes and decodes ids.
    :param output_filter: the output patterns and secrets.
    :param max_new_tokens: most ids to send; a replacement may be longer than its match.
    :param before: what comes before the answer, in which a secret may begin.
    :param end_ids: ids that end an answer; one without is cut off.
    """

    def __init__(
        self,
        streamer: BaseStreamer,
        writer: AnswerWriter,
        output_filter: Filter,
        max_new_tokens: int,
        before: Sequence[str] = (),
        end_ids: Sequence[int] = (),
    ) -> None:
        self._streamer, self._writer = streamer, writer
        self._filter = FilterStream(output_filter, before)
        self._decoder = _Decoder(writer)
        self._remaining = max_new_tokens
        self._end_ids = frozenset(end_ids)
        self._prompt_seen = self._ended = False
        self._pieces: deque[_Piece] = deque()
        self._segments: deque[Segment] = deque()

    def put(self, value: torch.Tensor) -> None:
        """Accept the prompt, then new tokens."""
        if not self._prompt_seen:
            self._prompt_seen = True
            self._streamer.put(value)
            return
        for token in value.reshape(-1).tolist():
            self._ended = self._ended or token in self._end_ids
            self._accept(self._decoder.add(token))
        self._flush()

    def end(self) -> None:
        """Send what was held back."""
        self._accept(self._decoder.finish())
        self._segments += self._filter.finish(cut=not self._ended)
        self._flush()
        self._streamer.end()

    def _accept(self, pieces: Iterable[_Piece]) -> None:
        for piece in pieces:
            self._pieces.append(piece)
            self._segments += self._filter.feed(piece.text)

    def _flush(self) -> None:
        """Send the ids whose text is filtered, as far as no replacement is inside their text."""
        known = sum(segment.source for segment in self._segments)
        inner = self._inner()
        taken, length = 0, 0
        fitting, at = 0, 0
        for piece in self._pieces:
            at += len(piece.text)
            if at > known:
                break
            taken += 1
            if at not in inner:
                fitting, length = taken, at
        if fitting:
            self._send([self._pieces.popleft() for _ in range(fitting)], self._take(length))

    def _inner(self) -> set[int]:
        """Return the places inside segments that replace text, before which no id may end."""
        inside: set[int] = set()
        place = 0
        for segment in self._segments:
            if segment.edit_ids:
                inside.update(range(place + 1, place + segment.source))
            place += segment.source
        return inside

    def _take(self, length: int) -> list[Segment]:
        """Take the segments of so many characters."""
        taken = []
        while length and self._segments:
            segment = self._segments.popleft()
            if segment.source > length:  # only one without a replacement is divided
                rest = segment.text[length:]
                self._segments.appendleft(Segment(len(rest), rest))
                segment = Segment(length, segment.text[:length])
            taken.append(segment)
            length -= segment.source
        return taken

    def _send(self, pieces: Sequence[_Piece], segments: Sequence[Segment]) -> None:
        import torch

        ids = [token for piece in pieces for token in piece.ids]
        if any(segment.edit_ids for segment in segments):
            special = [token for piece in pieces if not piece.text for token in piece.ids]
            ids = self._writer.encode("".join(segment.text for segment in segments)) + special
        for token in ids[: self._remaining]:
            self._streamer.put(torch.tensor([token]))
        self._remaining -= min(len(ids), self._remaining)


class _Decoder:
    """Decodes ids one by one, each with a few before it, so that time is linear in their number.

    :param writer: decodes ids.
    """

    def __init__(self, writer: AnswerWriter) -> None:
        self._writer = writer
        self._before: list[int] = []
        self._ids: list[int] = []

    def add(self, token: int) -> list[_Piece]:
        """Return the ids whose characters are whole after another one, with their text."""
        self._ids.append(token)
        text = self._text()
        if text.endswith("\ufffd") and len(self._ids) < _LONGEST_CHARACTER:
            return []
        return self._whole(text)

    def finish(self) -> list[_Piece]:
        """Return the ids that are left, with their text."""
        return self._whole(self._text()) if self._ids else []

    def _whole(self, text: str) -> list[_Piece]:
        piece = _Piece(tuple(self._ids), text)
        self._before, self._ids = self._ids, []
        return [piece]

    def _text(self) -> str:
        if not self._before:
            return self._writer.decode(self._ids)
        # An id may be written otherwise at the beginning of a text (without its space).
        before = self._writer.decode(self._before)
        return self._writer.decode([*self._before, *self._ids])[len(before) :]
