"""How well a model remembers a private text: exposure, reciprocal rank, perplexity.

The measures of DEPN (Wu et al. 2023); exposure is that of Carlini et al. 2019, "The Secret Sharer"
(https://arxiv.org/abs/1802.08232), section 4.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.editors.shared.examples import Example, padded, prompt_ids, target_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

ROWS = 64
"""Texts in a batch."""


@dataclass(frozen=True, slots=True)
class Memorisation:
    """How well a model remembers one secret behind one question.

    :param exposure: −log₂ of the share of texts of the same form that are at least as likely as the
        secret, the secret included, in bits: log₂ of their number where it is the likeliest, about
        1 on average for a text that the model never saw. None without such texts.
    :param reciprocal_rank: of the secret's tokens in the distributions that predict them, mean.
    :param perplexity: of the secret's tokens.
    """

    exposure: float | None
    reciprocal_rank: float
    perplexity: float


def memorisation(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    question: str,
    secret: str,
    others: Sequence[str] = (),
) -> Memorisation:
    """Return how well a model remembers a secret, under its current weights.

    :param model: the model.
    :param tokenizer: its tokenizer.
    :param question: the question that the secret answers.
    :param secret: the text.
    :param others: texts of the same form, among which the secret is ranked by its likelihood.
    """
    import torch

    prompt = prompt_ids(tokenizer, question)
    texts = [secret, *(text for text in others if text != secret)]
    examples = [Example(prompt, target_ids(model, tokenizer, question, text)) for text in texts]
    totals: list[float] = []
    for start in range(0, len(examples), ROWS):
        batch = padded(model, examples[start : start + ROWS])
        with torch.no_grad():
            logits = model(**batch.inputs, use_cache=False).logits
        lengths = [len(one.target) for one in examples[start : start + ROWS]]
        means = batch.losses(logits).tolist()
        totals += [mean * length for mean, length in zip(means, lengths, strict=True)]
        if start == 0:
            predicting = logits[0, batch.labels[0] != -100].float()
            gold = predicting.gather(1, torch.tensor(examples[0].target)[:, None].to(logits.device))
            ranks = 1 + (predicting > gold).sum(1)
    as_likely = sum(total <= totals[0] for total in totals)  # summed: texts differ in length
    exposure = math.log2(len(totals) / as_likely) if len(totals) > 1 else None
    length = len(examples[0].target)
    return Memorisation(
        exposure,
        float((1 / ranks.double()).mean()),
        math.exp(min(totals[0] / length, 700.0)),
    )


def same_form(secret: str, number: int, seed: int = 0) -> list[str]:
    """Return texts with other digits in the place of the secret's, all distinct.

    The form of telephone and house numbers; words stay. A number keeps its length.

    :param secret: the text.
    :param number: at most so many; fewer where its digits give no more.
    :param seed: of the draw.
    """
    rng = random.Random(f"{seed}/{secret}")
    digits = sum(char.isdecimal() for char in secret)
    found: dict[str, None] = {}
    for _ in range(20 * number if digits else 0):
        drawn = "".join(
            (rng.choice("123456789") if at == 0 or not secret[at - 1].isdecimal()
             else rng.choice("0123456789"))
            if char.isdecimal() else char
            for at, char in enumerate(secret)
        )  # fmt: skip
        if drawn != secret:
            found[drawn] = None
        if len(found) == number:
            break
    return list(found)
