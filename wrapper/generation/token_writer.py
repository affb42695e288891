"""Answers as ids: how a stored answer becomes the row that ``generate`` would have returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.errors import GenerationError
from errata.cache.text.spacing import needs_space
from errata.generation.prompt_reader import Prompt
from errata.generation.request import GenerateRequest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

_ANCHOR = "?"


class AnswerWriter:
    """Turns answers into rows of ids.

    A row is its head (the prompt, or the decoder start), the answer, the end token, cut at the
    call's budget. A chat's answer and an encoder-decoder's begin at once; after plain text in a
    language that puts spaces between words, a space comes first.

    :param tokenizer: the base model's tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def row(
        self, call: GenerateRequest, head: torch.Tensor, prompt: Prompt, answer: str
    ) -> torch.Tensor:
        """Return one row, int64 [tokens].

        :param call: what was asked.
        :param head: what the row begins with, int64 [tokens].
        :param prompt: the prompt, for the space before the answer.
        :param answer: the answer's text.
        """
        starts = call.encoder_decoder or prompt.chat or prompt.text[-1:].isspace()
        joint = "" if starts or not needs_space(prompt.text, answer) else " "
        new = self.encode(joint + answer)
        return self.finish(call, head, new, ended=True)

    def finish(
        self, call: GenerateRequest, head: torch.Tensor, new: Sequence[int], *, ended: bool
    ) -> torch.Tensor:
        """Return head and new ids as a row, with the end token, within what the caller allowed."""
        import torch

        ids = [*new, *call.end_ids[:1]] if ended else list(new)
        row = torch.cat(
            [head, torch.tensor(ids[: call.budget], dtype=head.dtype, device=head.device)]
        )
        return self._stopped(call, row, len(head))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text that continues another (no start token, no added space)."""
        # SentencePiece tokenizers put a space before whatever they are given: encode behind an
        # anchor and take the anchor away again.
        anchor = self._ids(_ANCHOR)
        whole = self._ids(_ANCHOR + text)
        if whole[: len(anchor)] == anchor:
            return whole[len(anchor) :]
        return self._ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of new ids, special tokens left out."""
        anchored = self._text([*self._ids(_ANCHOR), *ids])
        # Behind the anchor for the same reason: alone, the first token loses its space.
        return anchored[len(_ANCHOR) :] if anchored.startswith(_ANCHOR) else self._text(ids)

    def _text(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text if isinstance(text, str) else "".join(text)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _stopped(self, call: GenerateRequest, row: torch.Tensor, start: int) -> torch.Tensor:
        criteria = call.stopping_criteria(self.tokenizer)
        if not criteria:
            return row
        for end in range(start + 1, len(row)):
            try:
                stop = any(bool(c(row[None, :end], None).all()) for c in criteria)
            except Exception as error:
                raise GenerationError(
                    "a stopping criterion failed on a corrected row, which has no scores "
                    f"({type(error).__name__}: {error}); let it accept scores=None"
                ) from error
            if stop:
                return row[:end]
        return row


def stacked(rows: Sequence[torch.Tensor], pad: int, width: int = 0) -> torch.Tensor:
    """Return rows as one tensor [rows, tokens], padded at the end.

    :param rows: int64 tensors.
    :param pad: the padding id.
    :param width: least width in tokens.
    """
    import torch

    width = max([width, *(len(row) for row in rows)])
    out = torch.full((len(rows), width), pad, dtype=rows[0].dtype, device=rows[0].device)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out
