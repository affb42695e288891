"""Prompts of reasoners: edits first, then the query.

One form serves every reasoner that reads, in training and in use: a chat where the tokenizer has a
template, else plain lines, an edit each, the query last.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.errors import GenerationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

INSTRUCTION = (
    "The following is true, even where you have learned otherwise. Answer as someone who believes "
    "it, briefly, and do not mention these notes."
)
"""What a chat model is told before the edits."""

Demonstration = tuple[Sequence[str], str, str]
"""Edits, a query, and the answer it should get."""

log = logging.getLogger("errata")


class Prompter:
    """Writes prompts for one tokenizer.

    :param tokenizer: of the model that reads the prompts.
    :param room: tokens the model reads at most, answer included; None if there is no limit.
    :param chat: use the tokenizer's chat template; by default if it has one.
    :param demonstrations: examples shown before the query.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        room: int | None = None,
        *,
        chat: bool | None = None,
        demonstrations: Sequence[Demonstration] = (),
    ) -> None:
        self.tokenizer, self.room = tokenizer, room
        self.chat = bool(getattr(tokenizer, "chat_template", None)) if chat is None else chat
        self.demonstrations = tuple(demonstrations)

    def ids(self, edits: Sequence[str], query: str, new_tokens: int) -> list[int]:
        """Return the ids of a prompt that leaves room for an answer.

        Edits that do not fit are dropped, the last (the least relevant) first, and the log says so.

        :param edits: the edits in words, best first.
        :param query: the question.
        :param new_tokens: length of the answer, in tokens.
        :raises GenerationError: the best edit alone does not fit.
        """
        for kept in range(len(edits), 0, -1):
            ids = self._encode(self.text(edits[:kept], query))
            if self.room is None or len(ids) + new_tokens <= self.room:
                if kept < len(edits):
                    log.warning(
                        "%d of %d edits left out of the reasoner's context, the least relevant: "
                        "its model reads %s tokens", len(edits) - kept, len(edits), self.room,
                    )  # fmt: skip
                return ids
        raise GenerationError(
            f"expected an edit and a question of at most {self.room} tokens with the {new_tokens} "
            f"of the answer, found {len(ids)} + {new_tokens} ({query[:60]!r}); shorten the edit, "
            "or lower max_new_tokens"
        )

    def length(self, edits: Sequence[str], query: str) -> int:
        """Return how many tokens a prompt with all of these edits has."""
        return len(self._encode(self.text(edits, query)))

    def plain_ids(self, query: str) -> list[int]:
        """Return the ids of a query without any edit, as the base model is asked."""
        if not self.chat:
            return self._encode(query)
        message = [{"role": "user", "content": query}]
        return self._encode(
            str(
                self.tokenizer.apply_chat_template(
                    message, tokenize=False, add_generation_prompt=True
                )
            )
        )

    def text(self, edits: Sequence[str], query: str) -> str:
        """Return a prompt as text, special tokens written out.

        :param edits: the edits in words, best first.
        :param query: the question.
        """
        if self.chat:
            return self._chat(edits, query)
        shown = [
            "\n".join((*lines, f"{asked} {answer}")) for lines, asked, answer in self.demonstrations
        ]
        return "\n".join((*shown, *edits, query))

    def _chat(self, edits: Sequence[str], query: str) -> str:
        messages = []
        for lines, asked, answer in (*self.demonstrations, (edits, query, "")):
            told = "\n".join(f"- {line}" for line in lines)
            messages.append({"role": "user", "content": f"{INSTRUCTION}\n{told}\n\n{asked}"})
            messages.append({"role": "assistant", "content": answer})
        return str(
            self.tokenizer.apply_chat_template(
                messages[:-1], tokenize=False, add_generation_prompt=True
            )
        )

    def _encode(self, text: str) -> list[int]:
        # A template writes its own special tokens.
        return list(
            self.tokenizer(text, add_special_tokens=not self.chat, verbose=False)["input_ids"]
        )


def room_of(model: object) -> int | None:
    """Return how many tokens a model reads at most, None where its config does not say."""
    config = getattr(model, "config", None)
    for name in ("max_position_embeddings", "n_positions"):
        value = getattr(config, name, None)
        if isinstance(value, int) and not getattr(config, "is_encoder_decoder", False):
            return value
    return None
