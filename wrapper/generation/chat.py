"""Questions, as text or as the messages of a chat, and their prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, Any]]


def question_text(question: str | Messages) -> str:
    """Return the text of a question: of a chat, its last user turn.

    :param question: a text, or the messages of a chat.
    :raises GenerationError: there is no text in it.
    """
    text = question if isinstance(question, str) else _last_user_turn(question)
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
                "chat template; ask the last question alone, or set tokenizer.chat_template"
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


def _last_user_turn(messages: object) -> str:
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
