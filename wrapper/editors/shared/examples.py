"""Facts as training examples: prompts and answers as in generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Edit, Fact
from errata.editors.shared.prompts import answer_ids, end_ids
from errata.generation.chat import render_prompt
from errata.generation.request import effective_config

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

NO_TARGET = -100
"""Label of positions that the loss ignores."""


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and its continuation, in ids.

    :param prompt: as ``ask`` gives it to the model, with the chat template where there is one.
    :param target: the answer, and the token that ends it.
    """

    prompt: tuple[int, ...]
    target: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Padded:
    """Examples as tensors, padded on the right.

    :param inputs: for the model's forward pass.
    :param labels: for each position, the next token of the target, int64 [rows, tokens];
        :data:`NO_TARGET` elsewhere.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor

    def losses(self, logits: torch.Tensor) -> torch.Tensor:
        """Return each row's mean negative log-likelihood of its target, in nats, [rows].

        In float32, of float64 logits in float64.

        :param logits: float [rows, tokens, vocabulary].
        """
        import torch

        in_target = self.labels != NO_TARGET
        wide = torch.promote_types(logits.dtype, torch.float32)
        tokens = torch.nn.functional.cross_entropy(
            logits[in_target].to(wide), self.labels[in_target], reduction="none"
        )
        sums = tokens.new_zeros(len(in_target)).index_add(0, in_target.nonzero()[:, 0], tokens)
        return sums / in_target.sum(1)


def trainable(edit: Edit) -> bool:
    """Return whether an edit is a question with an answer to be learned.

    Facts to be forgotten are not: only the cache's filter removes a secret from every answer.
    """
    return isinstance(edit, Fact) and not edit.forget


def examples_of(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, edits: Sequence[Edit]
) -> list[Example]:
    """Return one example an edit.

    :param model: defines the tokens that end an answer.
    :param tokenizer: its tokenizer.
    :param edits: facts.
    :raises UnsupportedEdit: an edit is no fact, or one to be forgotten.
    """
    ends = end_ids(model)
    found = []
    for edit in edits:
        if not isinstance(edit, Fact) or not trainable(edit):
            raise UnsupportedEdit(
                f"edit {edit.id}: expected a question with an answer to be learned, found a "
                f"{edit.kind} edit that has none; leave it with the cache",
                edit.id,
            )
        answer = target_ids(model, tokenizer, edit.question, edit.answer)
        found.append(Example(prompt_ids(tokenizer, edit.question), (*answer, *ends)))
    return found


def prompt_ids(tokenizer: PreTrainedTokenizerBase, question: str) -> tuple[int, ...]:
    """Return the ids of a question as ``ask`` gives it to the model."""
    chat = bool(getattr(tokenizer, "chat_template", None))
    ids = tokenizer(render_prompt(question, tokenizer), add_special_tokens=not chat)["input_ids"]
    return tuple(ids)


def target_ids(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, question: str, answer: str
) -> tuple[int, ...]:
    """Return the ids of an answer to a question, as generation would have to produce them."""
    begins = bool(model.config.is_encoder_decoder or getattr(tokenizer, "chat_template", None))
    return tuple(answer_ids(tokenizer, render_prompt(question, tokenizer), answer, begins=begins))


def padded(model: GenerativeModel, examples: Sequence[Example]) -> Padded:
    """Return examples as a batch on the model's device.

    Prompt and target are encoded separately and joined, as in generation. An
    encoder-decoder reads the prompt in its encoder and writes the target in its decoder.
    """
    pad = (*_ids(effective_config(model, {}).pad_token_id), 0)[0]
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id
        heads = [example.prompt for example in examples]
        inputs = _masked(heads, pad, model)
        shifted = [(start, *example.target[:-1]) for example in examples]
        inputs["decoder_input_ids"] = _table(shifted, pad, model)
        return Padded(inputs, _table([e.target for e in examples], NO_TARGET, model))
    whole = [(*example.prompt, *example.target) for example in examples]
    labels = [(*[NO_TARGET] * (len(e.prompt) - 1), *e.target, NO_TARGET) for e in examples]
    return Padded(_masked(whole, pad, model), _table(labels, NO_TARGET, model))


def _masked(
    rows: Sequence[Sequence[int]], pad: int, model: GenerativeModel
) -> dict[str, torch.Tensor]:
    mask = [[1] * len(row) for row in rows]
    return {"input_ids": _table(rows, pad, model), "attention_mask": _table(mask, 0, model)}


def _table(rows: Sequence[Sequence[int]], fill: int, model: GenerativeModel) -> torch.Tensor:
    import torch

    width = max(map(len, rows))
    filled = [[*row, *[fill] * (width - len(row))] for row in rows]
    return torch.tensor(filled, dtype=torch.long, device=model.device)


def _ids(value: int | Sequence[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)
