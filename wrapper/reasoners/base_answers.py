"""What a model says by itself, greedily: the base model without any edit, above all."""

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

NEW_TOKENS = 24
BATCH = 64


def base_answers(
    base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, queries: Sequence[str]
) -> dict[str, str]:
    """Return what the base model says to each query, no edit in its prompt."""
    prompter = Prompter(tokenizer)
    prompts = [prompter.plain_ids(query) for query in queries]
    said = greedy(base, tokenizer, prompts, one_line=not prompter.chat)
    return dict(zip(queries, said, strict=True))


def complete_answers(
    base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, queries: Sequence[str]
) -> dict[str, str]:
    """Return the same, empty where an answer is not over yet: beginnings are alike by chance."""
    said = base_answers(base, tokenizer, queries)
    writer = AnswerWriter(tokenizer)
    return {
        query: answer if len(writer.encode(answer)) < NEW_TOKENS - 1 else ""
        for query, answer in said.items()
    }


def mean_token_probability(
    base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, said: Mapping[str, str]
) -> dict[str, float]:
    """Return how sure the base model is of what it said to each query.

    :param said: answers, by query.
    :return: the geometric mean of the probabilities of an answer's tokens, 0 to 1; 0 of no answer.
    """
    import torch

    prompter, writer = Prompter(tokenizer), AnswerWriter(tokenizer)
    found = dict.fromkeys(said, 0.0)
    asked = [(query, answer) for query, answer in said.items() if answer]
    for start in range(0, len(asked), BATCH):
        chunk = asked[start : start + BATCH]
        pairs = [
            (prompter.plain_ids(query), writer.encode(prompter.continued(query, answer)))
            for query, answer in chunk
        ]
        with torch.no_grad():
            logs = answer_logits(base, pairs).log_softmax(-1)
        ids = torch.tensor([i for _, answer in pairs for i in answer], device=logs.device)
        parts = logs.gather(1, ids[:, None])[:, 0].split([len(answer) for _, answer in pairs])
        found |= {q: float(part.mean().exp()) for (q, _), part in zip(chunk, parts, strict=True)}
    return found


def greedy(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    one_line: bool,
) -> list[str]:
    """Return greedy answers, in order; prompts of like length share a batch."""
    config = copy.deepcopy(model.generation_config)
    config.do_sample, config.num_beams, config.num_return_sequences = False, 1, 1
    config.max_new_tokens = NEW_TOKENS
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out = [""] * len(prompts)
    for start in range(0, len(order), BATCH):
        chunk = order[start : start + BATCH]
        texts = [prompts[i] for i in chunk]
        said = decode(model, tokenizer, texts, config, one_line=one_line)
        for i, answers in zip(chunk, said, strict=True):
            out[i] = answers[0]
    return out
