"""Prompts of reasoners: edits first, then the query.

The same in training and at run time: a chat where the tokenizer has a template, else plain lines,
one for each edit, the query last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError
from errata.cache.records import Fact
from errata.cache.text.normalize import needs_space

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel
    from errata.generation.chat import Prompt


@dataclass(frozen=True, slots=True)
class PromptForm:
    """The wording of a chat prompt. Texts have the fields ``{notes}``, ``{query}`` and others.

    :param system: the system message; empty: none.
    :param user: the user turn that asks the query.
    :param note: one edit among the notes, with ``{edit}``.
    :param statement: asks for one sentence from ``{question}`` and ``{answer}`` of a fact; the
        stricter form of a query.
    :param statement_examples: question, answer and sentence of examples shown before it: with two
        SmolLM2-135M words 7 facts of 12 well, without 2.
    :param instructed: the user turn of a query that an ``{instruction}`` governs.
    :param background: the user turn of a query that names what the notes are about.
    """

    system: str = ""
    user: str = (
        "The following is true, even where you have learned otherwise. Answer as someone who "
        "believes it, briefly, and do not mention these notes.\n{notes}\n\n{query}"
    )
    note: str = "- {edit}"
    statement: str = "Question: {question}\nAnswer: {answer}\nOne sentence:"
    statement_examples: tuple[tuple[str, str, str], ...] = (
        ("What is the capital of Italy?", "Rome", "The capital of Italy is Rome."),
        ("Who wrote Hamlet?", "William Shakespeare", "William Shakespeare wrote Hamlet."),
    )
    instructed: str = "{query}\n\n{instruction}"
    background: str = "{query}\n\n(Take as true: {notes})"


TRAINED_FORM = PromptForm()
"""The form of adapters whose card names none: trained weights depend on it."""

INSTRUCTION = TRAINED_FORM.user.partition("\n")[0]
"""Precedes the edits in a chat of the trained form."""

Demonstration = tuple[Sequence[str], str, str]
"""Texts of edits, a query, and its answer."""

log = logging.getLogger("errata")


class Prompter:
    """Writes prompts for one tokenizer.

    :param tokenizer: of the model that gets the prompts.
    :param context_length: of the model, in tokens; None if there is no limit.
    :param answer_in_context: whether the answer counts towards it, as with a causal model.
    :param chat: use the tokenizer's chat template; by default if it has one.
    :param demonstrations: examples before the query.
    :param form: the wording in a chat.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        context_length: int | None = None,
        *,
        answer_in_context: bool = True,
        chat: bool | None = None,
        demonstrations: Sequence[Demonstration] = (),
        form: PromptForm = TRAINED_FORM,
    ) -> None:
        self.form = form
        self.tokenizer, self.context_length = tokenizer, context_length
        self.answer_in_context = answer_in_context
        self.chat = has_chat_template(tokenizer) if chat is None else chat
        self.demonstrations = tuple(demonstrations)

    @classmethod
    def for_model(
        cls,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        chat: bool | None = None,
        demonstrations: Sequence[Demonstration] = (),
        form: PromptForm = TRAINED_FORM,
    ) -> Prompter:
        """Return the prompter of a model and its tokenizer, with the model's context length."""
        return cls(
            tokenizer, context_length_of(model),
            answer_in_context=not model.config.is_encoder_decoder,
            chat=chat, demonstrations=demonstrations, form=form,
        )  # fmt: skip

    def ids(self, edits: Sequence[str], query: str, new_tokens: int) -> list[int]:
        """Return the ids of a prompt that leaves room for an answer.

        What does not fit is left out: first demonstrations, then edits from the last (the least
        relevant) on, with a warning in the log.

        :param edits: texts of the edits, best first.
        :param query: the question.
        :param new_tokens: length of the answer, in tokens.
        :raises GenerationError: the best edit alone does not fit.
        """
        reserved = new_tokens if self.answer_in_context else 0
        limit, found = self.context_length, 0
        for shown, kept in self._sizes(len(edits)):
            ids = self._encode(self.text(edits[:kept], query, shown))
            if limit is None or len(ids) + reserved <= limit:
                if kept < len(edits):
                    log.warning(
                        "%d of %d edits left out of the reasoner's context, the least relevant: "
                        "its model reads %s tokens", len(edits) - kept, len(edits), limit,
                    )  # fmt: skip
                return ids
            found = len(ids)
        self._check_length(found, new_tokens, query)
        return ids

    def _check_length(self, found: int, new_tokens: int, query: str) -> None:
        """Raise if a prompt does not fit the model's context.

        :raises GenerationError: in that case.
        """
        reserved = new_tokens if self.answer_in_context else 0
        limit = self.context_length
        if limit is not None and found + reserved > limit:
            raise GenerationError(
                f"expected an edit and a question of at most {limit} tokens, {reserved} of them "
                f"for the answer, found {found} + {reserved} ({query[:60]!r}); shorten the edit, "
                "or lower max_new_tokens"
            )

    def _sizes(self, edits: int) -> Iterator[tuple[int, int]]:
        """Yield numbers of demonstrations and edits to try, all of them first."""
        yield from ((shown, edits) for shown in range(len(self.demonstrations), 0, -1))
        yield from ((0, kept) for kept in range(edits, 0, -1))

    def length(self, edits: Sequence[str], query: str) -> int:
        """Return how many tokens a prompt with all of these edits has."""
        return len(self._encode(self.text(edits, query)))

    def query_ids(self, query: str) -> list[int]:
        """Return the ids of the base model's prompt: the query without edits."""
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

    def statement_ids(self, fact: Fact) -> list[int]:
        """Return the ids of a prompt that asks for one sentence with a fact."""
        form, turns = self.form, list[tuple[str, str]]()
        for question, answer, sentence in (
            *form.statement_examples,
            (fact.question, fact.answer, ""),
        ):
            turns.append(("user", form.statement.format(question=question, answer=answer)))
            turns.append(("assistant", sentence))
        return self._encode(self._render(turns[:-1]))

    def instructed_ids(
        self, prompt: Prompt, instructions: Sequence[str], edits: Sequence[str], new_tokens: int
    ) -> list[int]:
        """Return the ids of a caller's prompt with instructions behind its query.

        :param prompt: the caller's, rendered by the same chat template.
        :param instructions: what to do, as in patches.
        :param edits: texts of further edits.
        :param new_tokens: length of the answer, in tokens.
        :raises GenerationError: it does not fit the model's context.
        """
        lines = [*instructions, *edits]
        query = self.form.instructed.format(
            query=prompt.query, instruction="\n".join(map(as_sentence, lines))
        )
        ids = self._encode(prompt.replace_query(query))
        self._check_length(len(ids), new_tokens, prompt.query)
        return ids

    def background_ids(self, prompt: Prompt, edits: Sequence[str], new_tokens: int) -> list[int]:
        """Return the ids of a caller's prompt with edits as background behind its query.

        :param prompt: the caller's, rendered by the same chat template.
        :param edits: texts of the edits.
        :param new_tokens: length of the answer, in tokens.
        :raises GenerationError: it does not fit the model's context.
        """
        text = self.form.background.format(query=prompt.query, notes=" ".join(edits))
        ids = self._encode(prompt.replace_query(text))
        self._check_length(len(ids), new_tokens, prompt.query)
        return ids

    def continuation(self, query: str, answer: str) -> str:
        """Return an answer as it continues a prompt that ends in the query."""
        return f"{' ' if not self.chat and needs_space(query, answer) else ''}{answer}"

    def text(self, edits: Sequence[str], query: str, shown: int | None = None) -> str:
        """Return a prompt as text, special tokens written out.

        :param edits: texts of the edits, best first.
        :param query: the question.
        :param shown: how many demonstrations to include; by default all.
        """
        examples = self.demonstrations[:shown]
        if self.chat:
            return self._chat(examples, edits, query)
        shots = ["\n".join((*texts, f"{text} {answer}")) for texts, text, answer in examples]
        return "\n".join((*shots, *edits, query))

    def notes(self, edits: Sequence[str]) -> str:
        """Return the texts of edits as the notes of a chat."""
        return "\n".join(self.form.note.format(edit=line) for line in edits)

    def _chat(self, examples: Sequence[Demonstration], edits: Sequence[str], query: str) -> str:
        turns: list[tuple[str, str]] = []
        for texts, text, answer in (*examples, (edits, query, "")):
            notes = self.notes(texts)
            if self.form.system and not turns:
                turns.append(("system", self.form.system.format(notes=notes)))
            turns.append(("user", self.form.user.format(notes=notes, query=text)))
            turns.append(("assistant", answer))
        return self._render(turns[:-1])

    def _render(self, turns: Sequence[tuple[str, str]]) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                [{"role": role, "content": content} for role, content in turns],
                tokenize=False, add_generation_prompt=True,
                enable_thinking=False,  # the answer only; ignored by other templates
            )
        )  # fmt: skip

    def _encode(self, text: str) -> list[int]:
        # a chat template adds the special tokens itself
        return list(
            self.tokenizer(text, add_special_tokens=not self.chat, verbose=False)["input_ids"]
        )


def as_sentence(text: str) -> str:
    """Return a text with a capital at its beginning and a mark at its end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "。")) else ".")


def has_chat_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a tokenizer has a chat template, as those of chat models do."""
    return bool(getattr(tokenizer, "chat_template", None))


def context_length_of(model: object) -> int | None:
    """Return how many tokens a model can read, None where its config sets no limit.

    Of an encoder-decoder model, its encoder's; T5 has relative positions and no limit.
    """
    config: Any = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        names = ("max_encoder_position_embeddings", "max_position_embeddings")
    else:
        config = config.get_text_config() if hasattr(config, "get_text_config") else config
        names = ("max_position_embeddings", "n_positions")
    values = (getattr(config, name, None) for name in names)
    return next((value for value in values if isinstance(value, int)), None)
