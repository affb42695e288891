"""Greedy answers of a model, and the base model's without any edit."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.generation.request import AnswerWriter
from errata.reasoners.answer_logits import answer_logits
from errata.reasoners.decoding import decode
from errata.reasoners.prompts import Prompter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

BATCH = 64
"""Prompts answered together; no answer depends on it."""


@dataclass(frozen=True, slots=True)
class AnswerConfig:
    """How a base model is asked.

    :param max_new_tokens: length of an answer, in tokens. 24 hold a sentence such as "The capital
        of Kazakhstan is Astana."; what is longer is an explanation, which two questions hardly
        share word by word, and is taken for unfinished.
    """

    max_new_tokens: int = 24


DEFAULT_CONFIG = AnswerConfig()


def base_answers(
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    queries: Sequence[str],
    config: AnswerConfig = DEFAULT_CONFIG,
) -> dict[str, str]:
    """Return the base model's answer to each query, without edits in its prompt."""
    prompter = Prompter(tokenizer)
    prompts = [prompter.query_ids(query) for query in queries]
    answers = greedy(base, tokenizer, prompts, single_line=not prompter.chat, config=config)
    return dict(zip(queries, answers, strict=True))


def complete_answers(
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    queries: Sequence[str],
    config: AnswerConfig = DEFAULT_CONFIG,
) -> dict[str, str]:
    """Return the same, empty where an answer was cut off: its beginning may be like another's."""
    writer = AnswerWriter(tokenizer)
    return {
        query: answer if len(writer.encode(answer)) < config.max_new_tokens - 1 else ""
        for query, answer in base_answers(base, tokenizer, queries, config).items()
    }


def mean_token_probability(
    base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, answers: Mapping[str, str]
) -> dict[str, float]:
    """Return the base model's probability of each answer, as a mean over its tokens.

    :param answers: by query.
    :return: the geometric mean of the probabilities of an answer's tokens, 0 to 1; 0 of an empty
        answer.
    """
    import math

    nonempty = [(query, answer) for query, answer in answers.items() if answer]
    scores = answer_log_probabilities(base, tokenizer, nonempty)
    found = {
        query: math.exp(sum(logs) / len(logs))
        for (query, _), logs in zip(nonempty, scores, strict=True)
    }
    return dict.fromkeys(answers, 0.0) | found


def answer_log_probabilities(
    base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]
) -> list[list[float]]:
    """Return the log-probability of each token of each answer behind its query, in nats.

    :param pairs: queries, each with an answer that is not empty.
    """
    import torch

    prompter, writer = Prompter(tokenizer), AnswerWriter(tokenizer)
    found: list[list[float]] = []
    for start in range(0, len(pairs), BATCH):
        ids = [
            (prompter.query_ids(query), writer.encode(prompter.continuation(query, answer)))
            for query, answer in pairs[start : start + BATCH]
        ]
        with torch.no_grad():
            log_probs = answer_logits(base, ids).log_softmax(-1)
        flat = torch.tensor([i for _, answer in ids for i in answer], device=log_probs.device)
        parts = log_probs.gather(1, flat[:, None])[:, 0].split([len(answer) for _, answer in ids])
        found += [part.tolist() for part in parts]
    return found


def greedy(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    single_line: bool,
    config: AnswerConfig = DEFAULT_CONFIG,
) -> list[str]:
    """Return greedy answers, in order; prompts of similar length share a batch."""
    generation = copy.deepcopy(model.generation_config)
    generation.do_sample, generation.num_beams, generation.num_return_sequences = False, 1, 1
    generation.max_new_tokens = config.max_new_tokens
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out = [""] * len(prompts)
    for start in range(0, len(order), BATCH):
        chunk = order[start : start + BATCH]
        texts = [prompts[i] for i in chunk]
        decoded = decode(model, tokenizer, texts, generation, single_line=single_line)
        for i, answers in zip(chunk, decoded, strict=True):
            out[i] = answers[0]
    return out
