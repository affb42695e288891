"""Questions given as text or as the messages of a chat, made into what ``generate`` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, Any]]


def question_of(asked: str | Messages) -> str:
    """Return the question itself: the text, or that of the last user turn.

    :param asked: a text, or the messages of a chat.
    :raises GenerationError: there is no question in it.
    """
    text = asked if isinstance(asked, str) else _last_turn(asked)
    if not text.strip():
        raise GenerationError("expected a question, found an empty text; say what is asked")
    return text


def prompt_of(asked: str | Messages, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the prompt: as the chat template renders it, or without one the question itself.

    :param asked: a text, or the messages of a chat.
    :param tokenizer: the base model's.
    :raises GenerationError: there is no question, or the model has no chat template for messages.
    """
    question = question_of(asked)
    if not getattr(tokenizer, "chat_template", None):
        if not isinstance(asked, str) and len(asked) > 1:
            raise GenerationError(
                f"expected a text, found {len(asked)} messages: this model's tokenizer has no "
                "chat template; ask the last question alone, or set tokenizer.chat_template"
            )
        return question
    turns = [{"role": "user", "content": asked}] if isinstance(asked, str) else list(asked)
    text = tokenizer.apply_chat_template(
        [dict(turn) for turn in turns], tokenize=False, add_generation_prompt=True
    )
    return str(text)


def encoded(
    prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, pad: int, *, left: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask, int64 [prompts, tokens]; needs no padding token of its own.

    :param prompts: rendered prompts.
    :param tokenizer: the base model's.
    :param pad: the id to pad with; masked, so any will do.
    :param left: pad before the text (causal models) or behind it (encoders).
    """
    import torch

    templated = bool(getattr(tokenizer, "chat_template", None))
    rows = [tokenizer(text, add_special_tokens=not templated)["input_ids"] for text in prompts]
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place] = torch.tensor(row, dtype=torch.long)
        mask[i, place] = 1
    return ids, mask


def _last_turn(messages: object) -> str:
    if not isinstance(messages, Sequence) or not all(isinstance(m, Mapping) for m in messages):
        raise GenerationError(
            f"expected a text or a list of messages, found {type(messages).__name__}"
        )
    turns = [message for message in messages if message.get("role") == "user"]
    content = turns[-1].get("content", "") if turns else ""
    if isinstance(content, str):
        return content
    parts = [part.get("text", "") for part in content if isinstance(part, Mapping)]
    return " ".join(part for part in parts if part)
