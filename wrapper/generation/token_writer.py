"""Encode an answer as the row that ``generate`` would have returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.errors import GenerationError
from errata.cache.text.spacing import needs_space
from errata.generation.chat import Prompt
from errata.generation.request import GenerateRequest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

_ANCHOR = "?"


class AnswerWriter:
    """Encodes answers as rows of ids.

    A row is its prefix (the prompt, or the decoder start), the answer and the end token, cut at
    ``max_new_tokens``. After plain text in a language with spaces between words, the answer begins
    with a space; in a chat and for an encoder-decoder model it does not.

    :param tokenizer: the base model's tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def answer_row(
        self, request: GenerateRequest, prefix: torch.Tensor, prompt: Prompt, answer: str
    ) -> torch.Tensor:
        """Return the row of an answer, int64 [tokens].

        :param request: the call.
        :param prefix: what the row begins with, int64 [tokens].
        :param prompt: the prompt, for the space before the answer.
        :param answer: the answer's text.
        """
        no_space = request.encoder_decoder or prompt.chat or prompt.text[-1:].isspace()
        space = "" if no_space or not needs_space(prompt.text, answer) else " "
        return self.row(request, prefix, self.encode(space + answer), ended=True)

    def row(
        self, request: GenerateRequest, prefix: torch.Tensor, new: Sequence[int], *, ended: bool
    ) -> torch.Tensor:
        """Return prefix and new ids as a row, within the caller's limits.

        :param ended: add the end token.
        """
        import torch

        ids = [*new, *request.eos_token_ids[:1]] if ended else list(new)
        kept = torch.tensor(ids[: request.max_new_tokens], dtype=prefix.dtype, device=prefix.device)
        return self._stopped(request, torch.cat([prefix, kept]), len(prefix))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text that continues another (no start token, no added space)."""
        # SentencePiece tokenizers add a space before a text: encode it after an anchor, and remove
        # the anchor's ids.
        anchor = self._ids(_ANCHOR)
        whole = self._ids(_ANCHOR + text)
        if whole[: len(anchor)] == anchor:
            return whole[len(anchor) :]
        return self._ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of new ids, special tokens left out."""
        anchored = self._text([*self._ids(_ANCHOR), *ids])
        # After the anchor, too: the first token of a text loses its space.
        return anchored[len(_ANCHOR) :] if anchored.startswith(_ANCHOR) else self._text(ids)

    def _text(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text if isinstance(text, str) else "".join(text)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _stopped(self, request: GenerateRequest, row: torch.Tensor, start: int) -> torch.Tensor:
        import torch

        criteria = request.stopping_criteria(self.tokenizer)
        if not criteria:
            return row
        for end in range(start + 1, len(row)):
            try:
                stop = any(bool(torch.as_tensor(c(row[None, :end], None)).all()) for c in criteria)
            except Exception as error:
                raise GenerationError(
                    "a stopping criterion failed on a corrected row, which has no scores "
                    f"({type(error).__name__}: {error}); let it accept scores=None"
                ) from error
            if stop:
                return row[:end]
        return row


def pad_rows(rows: Sequence[torch.Tensor], pad: int, width: int = 0) -> torch.Tensor:
    """Return rows as one tensor [rows, tokens], padded at the end.

    :param rows: int64 tensors.
    :param pad: the padding id.
    :param width: minimal width in tokens.
    """
    import torch

    width = max([width, *(len(row) for row in rows)])
    out = torch.full((len(rows), width), pad, dtype=rows[0].dtype, device=rows[0].device)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out
