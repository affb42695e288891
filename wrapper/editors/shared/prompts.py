"""Prompts for editing a fact: its question, and where a form fits, the same as a cloze.

``What is the capital of Palau?`` becomes ``The capital of Palau is``. An edit planned on both holds
for both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.cache.text.normalize import needs_space
from errata.cache.text.subject import span_of
from errata.editors.shared.subject_tokens import subject_positions
from errata.generation.chat import render_prompt
from errata.generation.request import AnswerWriter, read_request

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

_DONE_BY = {
    "wrote": "written", "founded": "founded", "invented": "invented", "discovered": "discovered",
    "painted": "painted", "composed": "composed", "directed": "directed", "designed": "designed",
    "built": "built", "created": "created", "made": "made", "developed": "developed",
    "sculpted": "sculpted", "sang": "sung",
}  # fmt: skip

_OF = r"(?:the|an?) .+|(?:\S+ ){0,3}\S+['’]s .+"
_PAST = "born|located|based|buried|made|spoken|found|written|situated"
_CLOZES: tuple[tuple[str, str], ...] = (
    (r"what (?P<b>is|are) (?P<s>.+) called", "{s} {b} called"),
    (rf"(?:what|who) (?P<b>is|are|was|were) (?P<s>{_OF})", "{s} {b}"),
    (r"(?:what|which) (?P<n>colou?r|shape|size|age|height) (?P<b>is|are) (?P<s>.+)",
     "the {n} of {s} {b}"),
    (r"(?:what|which) \w+(?: \w+)? (?P<b>is|was) (?P<s>the .+)", "{s} {b}"),
    (rf"who (?P<v>{'|'.join(_DONE_BY)}) (?P<s>(?!you\b|me\b|it\b).+)", "{s} was {v} by"),
    (rf"(?:where|in (?:what|which) \w+) (?P<b>is|are|was|were) (?P<s>.+) (?P<v>{_PAST})",
     "{s} {b} {v} in"),
    (r"(?:where|in (?:which|what) \w+) (?P<b>is|are) (?P<s>(?:the )?(?-i:[A-Z])\S*"
     r"(?: (?:of|the|and) (?-i:[A-Z])\S*| (?-i:[A-Z])\S*)*)", "{s} {b} in"),
    (r"where does (?P<s>.+) live", "{s} lives in"),
    (rf"(?:please )?(?:tell me|name|give) (?P<s>{_OF})", "{s} is"),
)  # fmt: skip
"""Patterns of questions, without the final mark, and the statement for each."""

_CHINESE = re.compile(r"(?P<s>.+是)(?:什么|谁|哪里|哪儿|多少)[？?]?")


def cloze_of(question: str) -> str | None:
    """Return the statement whose next words are the answer, None where no pattern fits.

    :param question: such as ``Who wrote Hamlet?``.
    :return: such as ``Hamlet was written by``.
    """
    plain = re.sub(r"\s*[?？!。.]$", "", question.strip())
    chinese = _CHINESE.fullmatch(question.strip())
    if chinese:
        return chinese["s"]
    for pattern, statement in _CLOZES:
        match = re.fullmatch(pattern, plain, re.IGNORECASE)
        if match:
            parts = match.groupdict()
            parts["v"] = _DONE_BY.get((parts.get("v") or "").lower(), parts.get("v"))
            cloze = statement.format(**parts)
            return cloze[:1].upper() + cloze[1:]
    return None


def forms_of(question: str, subject: str) -> tuple[str, ...]:
    """Return the forms of a fact's prompt, the question first.

    :param question: the fact's question.
    :param subject: must occur in every form.
    """
    cloze = cloze_of(question)
    usable = cloze is not None and span_of(subject, cloze) is not None
    return (question, cloze) if usable and cloze else (question,)


@dataclass(frozen=True, slots=True)
class Target:
    """A prompt and its target.

    :param text: the prompt, without chat template.
    :param subject: a part of it.
    :param answer: the target; empty for a prompt whose states are only read.
    :param ends: the target includes the token that ends an answer.
    """

    text: str
    subject: str
    answer: str = ""
    ends: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Prompts and targets as tensors, padded on the right.

    :param inputs: of the model's forward pass.
    :param positions: index of the last token of each subject in ``input_ids``, int64 [rows].
    :param labels: for each position, the next token of the target, −100 elsewhere, int64
        [rows, tokens].
    """

    inputs: dict[str, torch.Tensor]
    positions: torch.Tensor
    labels: torch.Tensor

    def nll(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the mean negative log-likelihood of each row's target in nats, float [rows].

        :param logits: float [rows, tokens, vocabulary].
        """
        import torch

        in_target = self.labels != -100  # select first: logits span the whole vocabulary
        tokens = torch.nn.functional.cross_entropy(
            logits[in_target].float(), self.labels[in_target], reduction="none"
        )
        rows = in_target.nonzero()[:, 0]
        sums = torch.zeros(len(in_target), dtype=tokens.dtype, device=tokens.device)
        return sums.index_add(0, rows, tokens) / in_target.sum(1).clamp(min=1)


def batch_of(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, targets: Sequence[Target]
) -> Batch:
    """Return prompts with their targets as a batch.

    Prompt and target are encoded separately and joined, as in generation. Of an encoder-decoder
    the prompt goes to the encoder and the target to the decoder.

    :param model: determines the layout (encoder-decoder or not) and the device.
    :param tokenizer: a fast tokenizer.
    :param targets: prompts; where the tokenizer has a chat template they become user turns.
    :raises errata.cache.errors.EditError: a prompt does not hold its subject.
    """
    seq2seq = bool(model.config.is_encoder_decoder)
    chat = bool(getattr(tokenizer, "chat_template", None))
    prompts = [render_prompt(target.text, tokenizer) for target in targets]
    heads, positions = subject_positions(
        tokenizer, prompts, [t.subject for t in targets], add_special_tokens=not chat
    )
    ends = end_ids(model)
    tails = [
        [
            *answer_ids(tokenizer, prompt, target.answer, begins=seq2seq or chat),
            *(ends if target.ends else ()),
        ]
        for prompt, target in zip(prompts, targets, strict=True)
    ]
    return _tensors(model, tokenizer, heads, tails, positions)


def end_ids(model: GenerativeModel) -> tuple[int, ...]:
    """Return the id of the token that ends an answer, as a tuple; empty where there is none."""
    return read_request(model, None, {}).eos_token_ids[:1]


def answer_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, *, begins: bool
) -> list[int]:
    """Return the ids of an answer after a prompt, as ``generate`` would produce them.

    :param tokenizer: the model's.
    :param prompt: the text before, which decides on a space between the two.
    :param answer: the answer; an empty one has no ids.
    :param begins: whether the answer begins a turn or a decoder's text, so without a space.
    """
    if not answer:
        return []
    bare = begins or prompt[-1:].isspace() or not needs_space(prompt, answer)
    return AnswerWriter(tokenizer).encode(answer if bare else f" {answer}")


def _tensors(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    heads: Sequence[Sequence[int]],
    tails: Sequence[Sequence[int]],
    positions: Sequence[int],
) -> Batch:
    import torch

    pad = tokenizer.pad_token_id
    pad = 0 if pad is None else int(pad)

    def table(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
        width = max(map(len, rows))
        filled = [[*row, *[fill] * (width - len(row))] for row in rows]
        return torch.tensor(filled, dtype=torch.long, device=model.device)

    at = torch.tensor(positions, device=model.device)
    if model.config.is_encoder_decoder:
        inputs = {"input_ids": table(heads, pad), "attention_mask": _mask(heads, model)}
        start = model.config.decoder_start_token_id
        inputs["decoder_input_ids"] = table([[start, *tail[:-1]] for tail in tails], pad)
        return Batch(inputs, at, table([tail or [-100] for tail in tails], -100))
    whole = [[*head, *tail] for head, tail in zip(heads, tails, strict=True)]
    labels = [
        [*[-100] * (len(head) - 1), *tail, -100] for head, tail in zip(heads, tails, strict=True)
    ]
    inputs = {"input_ids": table(whole, pad), "attention_mask": _mask(whole, model)}
    return Batch(inputs, at, table(labels, -100))


def _mask(rows: Sequence[Sequence[int]], model: GenerativeModel) -> torch.Tensor:
    import torch

    lengths = torch.tensor([len(row) for row in rows], device=model.device)
    return (torch.arange(int(lengths.max()), device=model.device) < lengths[:, None]).long()
