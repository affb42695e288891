"""Teacher forcing: scores from the model's logits along a given text.

Reports call these figures *forced*: the gold answer's tokens and their number are given, so they
are higher than those of free generation (Yang et al. 2025, "The mirage of model editing").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from errata.editors.shared.examples import NO_TARGET, Example, padded
from errata.editors.shared.prompts import answer_ids
from errata.generation.chat import render_prompt

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

MAX_LOGITS = 60_000_000
"""Most logits at a time, so that large vocabularies need no more memory than small ones."""
TOP_K = 64
"""Tokens of a distribution that are kept for the divergence; all others share one bucket."""


@dataclass(frozen=True, slots=True)
class TargetScores:
    """Scores of a target behind its prompt.

    :param nll: mean negative log-likelihood a token, in nats.
    :param right: for each token, whether it is the argmax.
    """

    nll: float
    right: tuple[bool, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TopTokens:
    """The likeliest tokens of the next-token distributions along a text.

    :param ids: int64 [positions, k].
    :param logs: natural log-probabilities, float32 [positions, k].
    """

    ids: torch.Tensor
    logs: torch.Tensor


class TeacherForcing:
    """Scores given texts.

    :param model: the model; each call uses its current weights.
    :param tokenizer: its tokenizer.
    """

    def __init__(self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._chat = bool(getattr(tokenizer, "chat_template", None))

    def example(self, prompt: str, answer: str | Sequence[int]) -> Example:
        """Return a prompt and its target as token ids.

        :param prompt: as a user would type it.
        :param answer: a text, or the ids that a model generated.
        """
        text = render_prompt(prompt, self.tokenizer)
        head = self.tokenizer(text, add_special_tokens=not self._chat)["input_ids"]
        if not isinstance(answer, str):
            return Example(tuple(head), tuple(answer))
        begins = self._chat or bool(self.model.config.is_encoder_decoder)
        return Example(tuple(head), tuple(answer_ids(self.tokenizer, text, answer, begins=begins)))

    def scores(self, examples: Sequence[Example]) -> list[TargetScores]:
        """Return likelihood and token accuracy of each target behind its prompt."""
        found = []
        for example, logs in zip(examples, self.log_probabilities(examples), strict=True):
            import torch

            target = torch.tensor(example.target, device=logs.device)
            likelihoods = logs.gather(1, target[:, None])[:, 0]
            right = (logs.argmax(1) == target).tolist()
            found.append(TargetScores(float(-likelihoods.mean()), tuple(right)))
        return found

    def distributions(self, examples: Sequence[Example], k: int = TOP_K) -> list[TopTokens]:
        """Return the distributions along each target, for :meth:`divergences`."""
        found = []
        for logs in self.log_probabilities(examples):
            top = logs.topk(min(k, logs.shape[1]), dim=1)
            found.append(TopTokens(top.indices, top.values))
        return found

    def divergences(
        self, examples: Sequence[Example], before: Sequence[TopTokens]
    ) -> list[tuple[float, tuple[bool, ...]]]:
        """Return how far the distributions along each target have moved.

        :param examples: the examples that ``before`` was taken of.
        :param before: their distributions before.
        :return: for each, KL(before || after) in nats, mean over positions (see
            :func:`divergence`), and for each position whether the argmax is the target's token.
        """
        import torch

        found = []
        now = self.log_probabilities(examples)
        for example, logs, top in zip(examples, now, before, strict=True):
            target = torch.tensor(example.target, device=logs.device)
            same = (logs.argmax(1) == target).tolist()
            found.append((float(divergence(top, logs).mean()), tuple(same)))
        return found

    def perplexity(self, texts: Sequence[str]) -> float:
        """Return exp of the mean negative log-likelihood a token, over all texts.

        An encoder-decoder is scored on the second half of each text, given the first.
        """
        import math

        examples = [example for text in texts for example in self._halves(text)]
        total, tokens = 0.0, 0
        for example, scores in zip(examples, self.scores(examples), strict=True):
            total += scores.nll * len(example.target)
            tokens += len(example.target)
        return math.exp(min(total / tokens, 700.0))

    def log_probabilities(self, examples: Sequence[Example]) -> Iterator[torch.Tensor]:
        """Yield the log-probabilities along each target, float32 [target tokens, vocabulary]."""
        import torch

        width = max((len(e.prompt) + len(e.target) for e in examples), default=1)
        rows = max(1, MAX_LOGITS // (width * int(self.model.config.vocab_size)))
        for start in range(0, len(examples), rows):
            chunk = examples[start : start + rows]
            batch = padded(self.model, chunk)
            with torch.no_grad():
                logits = self.model(**batch.inputs, use_cache=False).logits
            for row, labels in zip(logits, batch.labels, strict=True):
                yield torch.log_softmax(row[labels != NO_TARGET].float(), dim=-1)

    def _halves(self, text: str) -> list[Example]:
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"][:256]
        middle = max(1, len(ids) // 2) if self.model.config.is_encoder_decoder else 1
        return [Example(tuple(ids[:middle]), tuple(ids[middle:]))] if len(ids) > middle else []


def divergence(before: TopTokens, after: torch.Tensor) -> torch.Tensor:
    """Return KL(before || after) of each position, in nats, float32 [positions].

    All tokens outside the top k count as one: never more than the full divergence (the log-sum
    inequality), and equal to it where k is the size of the vocabulary.

    :param before: the distributions before.
    :param after: log-probabilities after, float32 [positions, vocabulary].
    """
    log_p, log_q = before.logs.double(), after.gather(1, before.ids).double()
    p, q = log_p.exp(), log_q.exp()
    found = (p * (log_p - log_q)).sum(1)
    if before.ids.shape[1] < after.shape[1]:
        others_p, others_q = (1 - p.sum(1)).clamp(min=1e-12), (1 - q.sum(1)).clamp(min=1e-12)
        found = found + others_p * (others_p / others_q).log()
    return found.clamp(min=0).float()
