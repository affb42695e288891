"""Finding the question inside what a caller passed to ``generate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

_FIRST, _REPLY, _LAST = "errataFIRST", "errataREPLY", "errataLAST"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as text, and the question in it.

    :param text: the whole prompt, special tokens written out, padding left out.
    :param query: the question: the last user turn of a chat, else the whole prompt.
    :param chat: whether the question was found as a turn of a chat.
    :param start: where the question stands in the text; None where it does not, word for word.
    """

    text: str
    query: str
    chat: bool = False
    start: int | None = None

    def asking(self, query: str) -> Prompt:
        """Return the same prompt with the question named by the caller."""
        found = self.text.rfind(query)
        return replace(self, query=query, start=found if found >= 0 else None)

    def rewritten(self, query: str) -> str:
        """Return the text with another question in the place of its own.

        Where the prompt does not hold its question word for word, the text stays as it is.
        """
        if self.start is None:
            return self.text
        return self.text[: self.start] + query + self.text[self.start + len(self.query) :]


@dataclass(frozen=True, slots=True)
class _Markers:
    start: str
    end: str


class PromptReader:
    """Reads prompts and questions out of ids.

    The last user turn of a chat is found by rendering the tokenizer's template around sentinels:
    what stands before every user turn, and after it, are its markers.

    :param tokenizer: the base model's tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._special = sorted(tokenizer.all_special_tokens, key=len, reverse=True)
        self._markers = self._find_markers()

    def read(self, ids: torch.Tensor, mask: torch.Tensor | None) -> list[Prompt]:
        """Return the prompts of a batch.

        :param ids: int64 [rows, tokens].
        :param mask: attention mask of the same shape, or None.
        """
        rows = ids.tolist()
        kept = mask.tolist() if mask is not None and mask.shape == ids.shape else None
        out = []
        for i, row in enumerate(rows):
            if kept is not None:
                row = [token for token, keep in zip(row, kept[i], strict=True) if keep]
            else:
                row = self._unpadded(row)
            out.append(self._prompt(row))
        return out

    def _unpadded(self, row: list[int]) -> list[int]:
        pad, start, end = self.tokenizer.pad_token_id, 0, len(row)
        while start < end and row[start] == pad:
            start += 1
        while end > start and row[end - 1] == pad:
            end -= 1
        return row[start:end]

    def _prompt(self, row: Sequence[int]) -> Prompt:
        text = self._decode(row)
        turn = self._last_turn(text)
        if turn is not None:
            return turn
        plain = text
        for token in self._special:
            # Blanks of the same length, so that what is left stands where it stood.
            plain = plain.replace(token, " " * len(token))
        query = plain.strip()
        start = plain.find(query)
        return Prompt(text, query, start=start if text[start:].startswith(query) else None)

    def _decode(self, row: Sequence[int]) -> str:
        text = self.tokenizer.decode(
            list(row), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text if isinstance(text, str) else "".join(text)

    def _last_turn(self, text: str) -> Prompt | None:
        if self._markers is None:
            return None
        found = text.rfind(self._markers.start)
        if found < 0:
            return None
        begin = found + len(self._markers.start)
        end = text.find(self._markers.end, begin)
        turn = text[begin : end if end >= 0 else len(text)]
        query = turn.strip()
        return Prompt(text, query, chat=True, start=begin + turn.find(query))

    def _find_markers(self) -> _Markers | None:
        if not getattr(self.tokenizer, "chat_template", None):
            return None
        try:
            single = self._render([("user", _FIRST)])
            double = self._render([("user", _FIRST), ("assistant", _REPLY), ("user", _LAST)])
            unanswered = self._render([("user", _FIRST)], prompted=False)
        except Exception:
            # Templates are programs of their own, and some refuse such a conversation (a system
            # turn demanded, roles of other names); their prompts are then read as plain text.
            return None
        if (
            _FIRST not in single
            or _FIRST not in unanswered
            or _REPLY not in double
            or _LAST not in double
        ):
            return None
        between = double.split(_REPLY, 1)[1].split(_LAST, 1)[0]
        start = _common_suffix(single.split(_FIRST, 1)[0], between).lstrip()
        # A turn ends in the same way whether a reply follows, is asked for, or neither.
        replied = double.split(_FIRST, 1)[1].split(_REPLY, 1)[0]
        asked = _common_prefix(single.split(_FIRST, 1)[1], replied)
        end = _common_prefix(asked, unanswered.split(_FIRST, 1)[1])
        if not start.strip() or not end.strip():
            return None
        return _Markers(start.strip(), end.strip())

    def _render(self, turns: Sequence[tuple[str, str]], *, prompted: bool = True) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=prompted
        )
        return str(text)


def _common_prefix(a: str, b: str) -> str:
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:n]


def _common_suffix(a: str, b: str) -> str:
    return _common_prefix(a[::-1], b[::-1])[::-1]
