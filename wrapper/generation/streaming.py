"""Streaming through the filter: what might still become a match is held back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.generation.streamers import BaseStreamer

from errata.cache.filters.text_filter import Filter, replace_spans
from errata.generation.token_writer import AnswerWriter

if TYPE_CHECKING:
    import torch


class FilteredStreamer(BaseStreamer):
    """Passes a stream on, filtered.

    The longest possible match plus one character is held back, so that what is passed on can no
    longer change. Tokens in which nothing was replaced are passed on as they came.

    :param streamer: where the stream goes.
    :param writer: reads and writes ids.
    :param output: the output filter.
    :param budget: most new tokens to pass on; a replacement may be longer than what it replaces.
    """

    def __init__(
        self, streamer: BaseStreamer, writer: AnswerWriter, output: Filter, budget: int
    ) -> None:
        self._streamer, self._writer, self._filter = streamer, writer, output
        self._left = budget
        self._prompt_seen = False
        self._ids: list[int] = []
        self._ends: list[int] = []
        self._done = 0

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt first, then new tokens."""
        if not self._prompt_seen:
            self._prompt_seen = True
            self._streamer.put(value)
            return
        for token in value.reshape(-1).tolist():
            self._ids.append(token)
            self._ends.append(len(self._writer.decode(self._ids)))
        self._pass_on(self._ends[-1] - self._filter.reach if self._ends else 0)

    def end(self) -> None:
        """Pass on what was held back."""
        self._pass_on(self._ends[-1] if self._ends else 0, last=True)
        self._streamer.end()

    def _pass_on(self, limit: int, *, last: bool = False) -> None:
        text = self._writer.decode(self._ids)
        spans = self._filter.spans(text)
        upto = self._done
        while upto < len(self._ids) and (last or self._final(upto, limit, text, spans)):
            upto += 1
        # A token in the middle of a match waits for the rest of it.
        while not last and upto > self._done and self._inside(self._ends[upto - 1], spans):
            upto -= 1
        if upto == self._done:
            return
        start = self._ends[self._done - 1] if self._done else 0
        end = self._ends[upto - 1]
        inside = [s for s in spans if start <= s.start and s.end <= end]
        if not inside:
            self._send(self._ids[self._done : upto])
        else:
            moved = [type(s)(s.start - start, s.end - start, s.text, s.edit_id) for s in inside]
            new = self._writer.encode(replace_spans(text[start:end], moved))
            special = [t for t in self._ids[self._done : upto] if self._writer.decode([t]) == ""]
            self._send([*new, *special])
        self._done = upto

    def _final(self, index: int, limit: int, text: str, spans: list[Any]) -> bool:
        # A token that ends inside a character shows as a replacement mark until the rest comes.
        end = self._ends[index]
        return end <= limit and text[:end].endswith("\ufffd") is False

    @staticmethod
    def _inside(end: int, spans: list[Any]) -> bool:
        return any(span.start < end < span.end for span in spans)

    def _send(self, ids: list[int]) -> None:
        import torch

        for token in ids[: self._left]:
            self._streamer.put(torch.tensor([token]))
        self._left -= min(len(ids), self._left)
