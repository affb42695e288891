"""Prompts of reasoners: edits first, then the query.

One form serves every reasoner that reads, in training and in use: a chat where the tokenizer has a
template, else plain lines, an edit each, the query last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError
from errata.cache.text.spacing import needs_space

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

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
    :param room: tokens the model reads at most; None if there is no limit.
    :param answer_inside: whether the answer takes its part of that room, as a causal model's does.
    :param chat: use the tokenizer's chat template; by default if it has one.
    :param demonstrations: examples shown before the query.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        room: int | None = None,
        *,
        answer_inside: bool = True,
        chat: bool | None = None,
        demonstrations: Sequence[Demonstration] = (),
    ) -> None:
        self.tokenizer, self.room, self.answer_inside = tokenizer, room, answer_inside
        self.chat = follows_instructions(tokenizer) if chat is None else chat
        self.demonstrations = tuple(demonstrations)

    @classmethod
    def of(
        cls,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        chat: bool | None = None,
        demonstrations: Sequence[Demonstration] = (),
    ) -> Prompter:
        """Return the prompter of a model and its tokenizer, with the room the model has."""
        return cls(
            tokenizer, room_of(model), answer_inside=not model.config.is_encoder_decoder,
            chat=chat, demonstrations=demonstrations,
        )  # fmt: skip

    def ids(self, edits: Sequence[str], query: str, new_tokens: int) -> list[int]:
        """Return the ids of a prompt that leaves room for an answer.

        Where all of it does not fit, examples are left out first, then edits, the last (the least
        relevant) first; of edits left out the log says so.

        :param edits: the edits in words, best first.
        :param query: the question.
        :param new_tokens: length of the answer, in tokens.
        :raises GenerationError: the best edit alone does not fit.
        """
        taken = new_tokens if self.answer_inside else 0
        found = 0
        for shown, kept in self._shorter(len(edits)):
            ids = self._encode(self.text(edits[:kept], query, shown))
            if self.room is None or len(ids) + taken <= self.room:
                if kept < len(edits):
                    log.warning(
                        "%d of %d edits left out of the reasoner's context, the least relevant: "
                        "its model reads %s tokens", len(edits) - kept, len(edits), self.room,
                    )  # fmt: skip
                return ids
            found = len(ids)
        raise GenerationError(
            f"expected an edit and a question of at most {self.room} tokens, {taken} of them for "
            f"the answer, found {found} + {taken} ({query[:60]!r}); shorten the edit, or lower "
            "max_new_tokens"
        )

    def _shorter(self, edits: int) -> Iterator[tuple[int, int]]:
        """Yield how many examples and how many edits a prompt may hold, all of them first."""
        yield from ((shown, edits) for shown in range(len(self.demonstrations), 0, -1))
        yield from ((0, kept) for kept in range(edits, 0, -1))

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

    def continued(self, query: str, answer: str) -> str:
        """Return an answer as the text that continues a prompt ending with its query."""
        return f"{' ' if not self.chat and needs_space(query, answer) else ''}{answer}"

    def text(self, edits: Sequence[str], query: str, shown: int | None = None) -> str:
        """Return a prompt as text, special tokens written out.

        :param edits: the edits in words, best first.
        :param query: the question.
        :param shown: how many examples to show; all of them unless told.
        """
        examples = self.demonstrations[:shown]
        if self.chat:
            return self._chat(examples, edits, query)
        told = ["\n".join((*lines, f"{asked} {answer}")) for lines, asked, answer in examples]
        return "\n".join((*told, *edits, query))

    def _chat(self, examples: Sequence[Demonstration], edits: Sequence[str], query: str) -> str:
        messages = []
        for lines, asked, answer in (*examples, (edits, query, "")):
            told = "\n".join(f"- {line}" for line in lines)
            messages.append({"role": "user", "content": f"{INSTRUCTION}\n{told}\n\n{asked}"})
            messages.append({"role": "assistant", "content": answer})
        return str(
            self.tokenizer.apply_chat_template(
                messages[:-1], tokenize=False, add_generation_prompt=True,
                enable_thinking=False,  # an answer, not a way to it; other templates ignore this
            )
        )  # fmt: skip

    def _encode(self, text: str) -> list[int]:
        # A template writes its own special tokens.
        return list(
            self.tokenizer(text, add_special_tokens=not self.chat, verbose=False)["input_ids"]
        )


def follows_instructions(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether a tokenizer is that of a chat model: it has a template."""
    return bool(getattr(tokenizer, "chat_template", None))


def room_of(model: object) -> int | None:
    """Return how many tokens a model reads at most, None where its config sets no limit.

    Of an encoder-decoder model, what its encoder reads; T5 and its kin have relative positions,
    and no limit.
    """
    config: Any = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        names = ("max_encoder_position_embeddings", "max_position_embeddings")
    else:
        config = config.get_text_config() if hasattr(config, "get_text_config") else config
        names = ("max_position_embeddings", "n_positions")
    values = (getattr(config, name, None) for name in names)
    return next((value for value in values if isinstance(value, int)), None)
