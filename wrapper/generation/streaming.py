"""Stream through the output filter: text that may become part of a match is held back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.generation.streamers import BaseStreamer

from errata.cache.filters.text_filter import Filter, replace_spans
from errata.generation.request import AnswerWriter

if TYPE_CHECKING:
    import torch


class FilteredStreamer(BaseStreamer):
    """Filters a stream of ids.

    The longest possible match plus one character is held back, so that text once sent cannot
    change. Ids without a replacement are sent unchanged.

    :param streamer: the caller's streamer.
    :param writer: encodes and decodes ids.
    :param output_filter: the output patterns and secrets.
    :param max_new_tokens: most ids to send; a replacement may be longer than its match.
    """

    def __init__(
        self,
        streamer: BaseStreamer,
        writer: AnswerWriter,
        output_filter: Filter,
        max_new_tokens: int,
    ) -> None:
        self._streamer, self._writer, self._filter = streamer, writer, output_filter
        self._remaining = max_new_tokens
        self._prompt_seen = False
        self._ids: list[int] = []
        self._ends: list[int] = []
        self._sent = 0

    def put(self, value: torch.Tensor) -> None:
        """Accept the prompt, then new tokens."""
        if not self._prompt_seen:
            self._prompt_seen = True
            self._streamer.put(value)
            return
        for token in value.reshape(-1).tolist():
            self._ids.append(token)
            self._ends.append(len(self._writer.decode(self._ids)))
        self._flush(self._ends[-1] - self._filter.reach if self._ends else 0)

    def end(self) -> None:
        """Send what was held back."""
        self._flush(self._ends[-1] if self._ends else 0, last=True)
        self._streamer.end()

    def _flush(self, limit: int, *, last: bool = False) -> None:
        text = self._writer.decode(self._ids)
        spans = self._filter.spans(text)
        upto = self._sent
        while upto < len(self._ids) and (last or self._final(upto, limit, text, spans)):
            upto += 1
        # An id inside a match waits for the end of the match.
        while not last and upto > self._sent and self._inside(self._ends[upto - 1], spans):
            upto -= 1
        if upto == self._sent:
            return
        start = self._ends[self._sent - 1] if self._sent else 0
        end = self._ends[upto - 1]
        inside = [s for s in spans if start <= s.start and s.end <= end]
        if not inside:
            self._send(self._ids[self._sent : upto])
        else:
            moved = [type(s)(s.start - start, s.end - start, s.text, s.edit_id) for s in inside]
            new = self._writer.encode(replace_spans(text[start:end], moved))
            special = [t for t in self._ids[self._sent : upto] if self._writer.decode([t]) == ""]
            self._send([*new, *special])
        self._sent = upto

    def _final(self, index: int, limit: int, text: str, spans: list[Any]) -> bool:
        # An id that ends inside a character decodes to a replacement mark until the next one.
        end = self._ends[index]
        return end <= limit and text[:end].endswith("\ufffd") is False

    @staticmethod
    def _inside(end: int, spans: list[Any]) -> bool:
        return any(span.start < end < span.end for span in spans)

    def _send(self, ids: list[int]) -> None:
        import torch

        for token in ids[: self._remaining]:
            self._streamer.put(torch.tensor([token]))
        self._remaining -= min(len(ids), self._remaining)
