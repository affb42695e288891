"""Questions, as text or as the messages of a chat, their prompts, and questions read from ids."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError, ModelError
from errata.cache.text.normalize import has_surrogate
from errata.generation.template import ChatTemplate, Turn, content_text, find_question

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.request import GenerateRequest, Queries

Messages = Sequence[Mapping[str, Any]]

log = logging.getLogger("errata")


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


def read_question(question: str | Messages) -> Prompt:
    """Return a question as a prompt that is not rendered yet.

    :param question: a text, or the messages of a chat: the last user turn asks, those before it
        are its history.
    :raises GenerationError: there is no text in it, or half of a character.
    """
    messages = _messages(question)
    if not isinstance(messages, Sequence) or not all(isinstance(m, Mapping) for m in messages):
        raise GenerationError(
            f"expected a text or a list of messages, found {type(messages).__name__}"
        )
    turns = [(str(m.get("role")), content_text(m.get("content"))) for m in messages]
    if any(has_surrogate(text) for _, text in turns):
        raise GenerationError(
            "expected texts of whole characters, found half of one (a lone surrogate); decode the "
            "text with errors='replace'"
        )
    last = max((at for at, (role, _) in enumerate(turns) if role == "user"), default=-1)
    text = turns[last][1] if last >= 0 else ""
    if not text.strip():
        raise GenerationError("expected a question, found an empty text; say what is asked")
    query, start = find_question(text)
    return Prompt(text, query, start=start, history=tuple(turns[:last]))


def _messages(question: str | Messages) -> Messages:
    return [{"role": "user", "content": question}] if isinstance(question, str) else question


def render_prompt(question: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the prompt of a question: through the chat template, if there is one.

    :param question: a text.
    :param tokenizer: the base model's.
    """
    if not getattr(tokenizer, "chat_template", None):
        return question
    messages = [dict(message) for message in _messages(question)]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
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
    rows: Sequence[Sequence[int]], pad: int, *, left: bool, shared: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask, int64 [rows, tokens].

    :param rows: ids of each prompt.
    :param pad: the id to pad with.
    :param left: pad on the left.
    :param shared: tokens that all rows begin with: padding on the left comes behind them.
    """
    import torch

    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        gap = width - len(row) if left else 0
        for place, part in ((0, row[:shared]), (shared + gap, row[shared:])):
            ids[i, place : place + len(part)] = torch.tensor(list(part), dtype=torch.long)
            mask[i, place : place + len(part)] = 1
    return ids, mask


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as text, and the question in it.

    :param text: the whole prompt with its special tokens, without padding.
    :param query: the question: the last user turn of a chat, else the whole prompt.
    :param chat: whether the question was found as a turn of a chat.
    :param start: where the question begins in the text; None if the text does not contain it.
    :param history: the turns before the question, role and text.
    :param first_turn: the first user turn, where it is not in the history.
    """

    text: str
    query: str
    chat: bool = False
    start: int | None = None
    history: tuple[Turn, ...] = ()
    first_turn: str = ""

    @property
    def conversation(self) -> str:
        """The first user turn, by which a conversation is known again."""
        first = next((text for role, text in self.history if role == "user"), self.query)
        return self.first_turn or first

    def with_query(self, query: str) -> Prompt:
        """Return the same prompt with the question that the caller named, which is complete."""
        found = self.text.rfind(query)
        start, first = found if found >= 0 else None, self.conversation
        return replace(self, query=query, start=start, history=(), first_turn=first)

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


class PromptReader:
    """Makes prompts of questions, and reads prompts and their questions from ids.

    :param tokenizer: the base model's tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._special = sorted(tokenizer.all_special_tokens, key=len, reverse=True)
        chat = bool(getattr(tokenizer, "chat_template", None))
        self._template = ChatTemplate(tokenizer) if chat else None

    def render(self, question: str | Messages) -> Prompt:
        """Return the prompt of a question: through the chat template, if there is one.

        :param question: a text, or the messages of a chat.
        :raises GenerationError: there is no question, or no chat template for several messages.
        """
        asked = read_question(question)
        if self._template is None:
            if not isinstance(question, str) and len(question) > 1:
                raise GenerationError(
                    f"expected a text, found {len(question)} messages: this model's tokenizer has "
                    "no chat template; ask the last question alone, or set "
                    "tokenizer.chat_template before the model is wrapped"
                )
            return asked
        text = self._template.render(_messages(question))
        turn = asked.text.strip()
        found = text.rfind(turn)
        start = found + turn.find(asked.query) if found >= 0 else None
        return replace(asked, text=text, chat=True, start=start)

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
        text = decode_ids(self.tokenizer, row)
        if self._template is not None:
            if not self._template.readable:
                log.warning(
                    "the turns of this tokenizer's chat template cannot be told apart, so that "
                    "nothing was decided about a prompt; name its question by query=, or use ask()"
                )
                return Prompt(text, "", chat=True)
            turn = self._template.read(text)
            if turn is not None:
                query, start = find_question(text[turn.start : turn.end])
                return Prompt(text, query, True, turn.start + start, turn.history)
        plain = text
        for token in self._special:
            # Blanks of the same length keep the positions.
            plain = plain.replace(token, " " * len(token))
        query, start = find_question(plain)
        return Prompt(text, query, start=start if text[start:].startswith(query) else None)


def decode_ids(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], skip: bool = False) -> str:
    """Return the text of ids, special tokens left out or not."""
    text = tokenizer.decode(list(ids), skip_special_tokens=skip, clean_up_tokenization_spaces=False)
    return text if isinstance(text, str) else "".join(text)
