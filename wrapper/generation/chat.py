"""Text and ids: prompts of questions, questions read from ids, answers written as rows of ids."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError, ModelError
from errata.cache.text.normalize import needs_space
from errata.generation.request import GenerateRequest, Queries

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, Any]]

_ANCHOR = "?"
_FIRST, _REPLY, _LAST = "errataFIRST", "errataREPLY", "errataLAST"


def private_copy(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return a copy of a tokenizer, the tokenizer itself where it cannot be copied.

    A fast tokenizer keeps truncation and padding as state: a thread of the program that truncates
    its own texts would cut those that another thread encodes at that moment.

    :param tokenizer: the base model's.
    :raises ModelError: there is none.
    """
    if tokenizer is None:
        raise ModelError(
            "expected the base model's tokenizer, found None: questions are read from ids, and "
            "answers are written as ids; pass AutoTokenizer.from_pretrained(...)"
        )
    try:
        return copy.deepcopy(tokenizer)
    except Exception:  # tokenizers of other libraries hold what cannot be copied
        return tokenizer


def question_text(question: str | Messages) -> str:
    """Return the text of a question: of a chat, its last user turn.

    :param question: a text, or the messages of a chat.
    :raises GenerationError: there is no text in it.
    """
    text = question if isinstance(question, str) else _user_turn(question, -1)
    if not text.strip():
        raise GenerationError("expected a question, found an empty text; say what is asked")
    return text


def render_prompt(question: str | Messages, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the prompt of a question: through the chat template, if there is one.

    :param question: a text, or the messages of a chat.
    :param tokenizer: the base model's.
    :raises GenerationError: there is no question, or the model has no chat template for messages.
    """
    text = question_text(question)
    if not getattr(tokenizer, "chat_template", None):
        if not isinstance(question, str) and len(question) > 1:
            raise GenerationError(
                f"expected a text, found {len(question)} messages: this model's tokenizer has no "
                "chat template; ask the last question alone, or set tokenizer.chat_template before "
                "the model is wrapped"
            )
        return text
    messages = [{"role": "user", "content": text}] if isinstance(question, str) else question
    prompt = tokenizer.apply_chat_template(
        [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
    )
    return str(prompt)


def tokenize_prompts(
    prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, pad: int, *, left: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask, int64 [prompts, tokens].

    :param prompts: rendered prompts.
    :param tokenizer: the base model's; it may have no padding token.
    :param pad: the id to pad with; it is masked, so that any will do.
    :param left: pad on the left (causal models) or on the right (encoders).
    """
    templated = bool(getattr(tokenizer, "chat_template", None))
    rows = [tokenizer(text, add_special_tokens=not templated)["input_ids"] for text in prompts]
    return pad_ids(rows, pad, left=left)


def pad_ids(
    rows: Sequence[Sequence[int]], pad: int, *, left: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask, int64 [rows, tokens].

    :param rows: ids of each prompt.
    :param pad: the id to pad with.
    :param left: pad on the left.
    """
    import torch

    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place] = torch.tensor(list(row), dtype=torch.long)
        mask[i, place] = 1
    return ids, mask


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as text, and the question in it.

    :param text: the whole prompt with its special tokens, without padding.
    :param query: the question: the last user turn of a chat, else the whole prompt.
    :param chat: whether the question was found as a turn of a chat.
    :param start: where the question begins in the text; None if the text does not contain it.
    :param first_turn: the first user turn of a chat; empty where there is no chat.
    """

    text: str
    query: str
    chat: bool = False
    start: int | None = None
    first_turn: str = ""

    @classmethod
    def of(cls, question: str | Messages) -> Prompt:
        """Return a question as a prompt of its own, for a decision about it."""
        text = question_text(question)
        first = question if isinstance(question, str) else _user_turn(question, 0)
        return cls(text, text, first_turn=first)

    def with_query(self, query: str) -> Prompt:
        """Return the same prompt with the question that the caller named."""
        found = self.text.rfind(query)
        return replace(self, query=query, start=found if found >= 0 else None)

    def asking(self, query: str) -> Prompt:
        """Return the same prompt with another question in the place of its own."""
        return (
            self
            if query == self.query
            else replace(self, text=self.replace_query(query), query=query)
        )

    def replace_query(self, query: str) -> str:
        """Return the text with its question replaced, unchanged where it does not contain it."""
        if self.start is None:
            return self.text
        return self.text[: self.start] + query + self.text[self.start + len(self.query) :]


@dataclass(frozen=True, slots=True)
class _Markers:
    start: str
    end: str


class PromptReader:
    """Reads prompts and questions from ids.

    The last user turn of a chat is found by its markers, the texts before and after every user
    turn; they are read from a rendering of the tokenizer's template with sentinels.

    :param tokenizer: the base model's tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._special = sorted(tokenizer.all_special_tokens, key=len, reverse=True)
        self._markers = self._find_markers()

    def prompts(self, request: GenerateRequest, query: Queries = None) -> list[Prompt]:
        """Return the prompt of each row of a call, with its query or the caller's own.

        :param request: the call.
        :param query: the caller's ``query=``, one a row; None: it is read from the ids.
        :raises GenerationError: there are neither ids nor queries, or not one query a row.
        """
        ids, rows = request.ids, request.rows
        queries = [query] if isinstance(query, str) else query
        if queries is None:
            if ids is not None:
                return self.read(ids, request.mask)
            raise GenerationError(
                "expected input_ids or query=, found only embeddings or an encoder's output, in "
                "which no question can be read: name it by query=, or pass edits=False"
            )
        if not all(isinstance(text, str) for text in queries):
            raise GenerationError(f"expected texts in query=, found {query!r}")
        if len(queries) != rows:
            raise GenerationError(f"expected one query a row, {rows} in all, found {len(queries)}")
        if ids is None:
            return [Prompt(text, text, start=0) for text in queries]
        pairs = zip(self.read(ids, request.mask), queries, strict=True)
        return [prompt.with_query(text) for prompt, text in pairs]

    def read(self, ids: torch.Tensor, mask: torch.Tensor | None) -> list[Prompt]:
        """Return the prompts of a batch.

        :param ids: int64 [rows, tokens].
        :param mask: attention mask of the same shape, or None.
        """
        rows = ids.tolist()
        masks = mask.tolist() if mask is not None and mask.shape == ids.shape else None
        out = []
        for i, row in enumerate(rows):
            if masks is not None:
                row = [token for token, keep in zip(row, masks[i], strict=True) if keep]
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
        text = _decoded(self.tokenizer, row)
        turn = self._last_turn(text)
        if turn is not None:
            return turn
        plain = text
        for token in self._special:
            # Blanks of the same length keep the positions.
            plain = plain.replace(token, " " * len(token))
        query = plain.strip()
        start = plain.find(query)
        return Prompt(text, query, start=start if text[start:].startswith(query) else None)

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
        first = text.split(self._markers.start, 1)[1].split(self._markers.end, 1)[0].strip()
        return Prompt(text, query, chat=True, start=begin + turn.find(query), first_turn=first)

    def _find_markers(self) -> _Markers | None:
        if not getattr(self.tokenizer, "chat_template", None):
            return None
        try:
            single = self._render([("user", _FIRST)])
            double = self._render([("user", _FIRST), ("assistant", _REPLY), ("user", _LAST)])
            unanswered = self._render([("user", _FIRST)], prompted=False)
        except Exception:
            # Some templates refuse this conversation (they need a system turn, or other roles);
            # their prompts are read as plain text.
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
        # The end marker is what follows a turn in all three renderings.
        replied = double.split(_FIRST, 1)[1].split(_REPLY, 1)[0]
        prompted = _common_prefix(single.split(_FIRST, 1)[1], replied)
        end = _common_prefix(prompted, unanswered.split(_FIRST, 1)[1])
        if not start.strip() or not end.strip():
            return None
        return _Markers(start.strip(), end.strip())

    def _render(self, turns: Sequence[tuple[str, str]], *, prompted: bool = True) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=prompted
        )
        return str(text)


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
        anchored = _decoded(self.tokenizer, [*self._ids(_ANCHOR), *ids], skip=True)
        # After the anchor, too: the first token of a text loses its space.
        if anchored.startswith(_ANCHOR):
            return anchored[len(_ANCHOR) :]
        return _decoded(self.tokenizer, ids, skip=True)

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


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], skip: bool = False) -> str:
    """Return the text of ids, special tokens left out or not."""
    text = tokenizer.decode(list(ids), skip_special_tokens=skip, clean_up_tokenization_spaces=False)
    return text if isinstance(text, str) else "".join(text)


def _user_turn(messages: object, which: int) -> str:
    if not isinstance(messages, Sequence) or not all(isinstance(m, Mapping) for m in messages):
        raise GenerationError(
            f"expected a text or a list of messages, found {type(messages).__name__}"
        )
    turns = [message for message in messages if message.get("role") == "user"]
    content = turns[which].get("content", "") if turns else ""
    if isinstance(content, str):
        return content
    parts = [part.get("text", "") for part in content if isinstance(part, Mapping)]
    return " ".join(part for part in parts if part)


def _common_prefix(a: str, b: str) -> str:
    n = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:n]


def _common_suffix(a: str, b: str) -> str:
    return _common_prefix(a[::-1], b[::-1])[::-1]
