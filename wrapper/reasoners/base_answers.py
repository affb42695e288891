"""Greedy answers of a model, and the base model's without any edit."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from errata.generation.token_writer import AnswerWriter
from errata.reasoners.answer_logits import answer_logits
from errata.reasoners.decoding import decode
from errata.reasoners.prompts import Prompter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

MAX_NEW_TOKENS = 24
BATCH = 64


def base_answers(
    base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, queries: Sequence[str]
) -> dict[str, str]:
    """Return the base model's answer to each query, without edits in its prompt."""
    prompter = Prompter(tokenizer)
    prompts = [prompter.query_ids(query) for query in queries]
    answers = greedy(base, tokenizer, prompts, single_line=not prompter.chat)
    return dict(zip(queries, answers, strict=True))


def complete_answers(
    base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, queries: Sequence[str]
) -> dict[str, str]:
    """Return the same, empty where an answer was cut off: its beginning may be like another's."""
    writer = AnswerWriter(tokenizer)
    return {
        query: answer if len(writer.encode(answer)) < MAX_NEW_TOKENS - 1 else ""
        for query, answer in base_answers(base, tokenizer, queries).items()
    }


def mean_token_probability(
    base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, answers: Mapping[str, str]
) -> dict[str, float]:
    """Return the base model's probability of each answer, as a mean over its tokens.

    :param answers: by query.
    :return: the geometric mean of the probabilities of an answer's tokens, 0 to 1; 0 of an empty
        answer.
    """
    import torch

    prompter, writer = Prompter(tokenizer), AnswerWriter(tokenizer)
    found = dict.fromkeys(answers, 0.0)
    nonempty = [(query, answer) for query, answer in answers.items() if answer]
    for start in range(0, len(nonempty), BATCH):
        chunk = nonempty[start : start + BATCH]
        pairs = [
            (prompter.query_ids(query), writer.encode(prompter.continuation(query, answer)))
            for query, answer in chunk
        ]
        with torch.no_grad():
            log_probs = answer_logits(base, pairs).log_softmax(-1)
        ids = torch.tensor([i for _, answer in pairs for i in answer], device=log_probs.device)
        parts = log_probs.gather(1, ids[:, None])[:, 0].split([len(answer) for _, answer in pairs])
        found |= {q: float(part.mean().exp()) for (q, _), part in zip(chunk, parts, strict=True)}
    return found


def greedy(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    single_line: bool,
) -> list[str]:
    """Return greedy answers, in order; prompts of similar length share a batch."""
    config = copy.deepcopy(model.generation_config)
    config.do_sample, config.num_beams, config.num_return_sequences = False, 1, 1
    config.max_new_tokens = MAX_NEW_TOKENS
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out = [""] * len(prompts)
    for start in range(0, len(order), BATCH):
        chunk = order[start : start + BATCH]
        texts = [prompts[i] for i in chunk]
        decoded = decode(model, tokenizer, texts, config, single_line=single_line)
        for i, answers in zip(chunk, decoded, strict=True):
            out[i] = answers[0]
    return out
