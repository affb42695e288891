"""Teacher forcing: what the model's logits say along a text that is given.

What is measured so is called *forced* wherever it is shown: the gold answer's tokens, and how many
they are, are given away, so these figures are higher than those of free generation (Yang et al.
2025, "The mirage of model editing").
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

LOGITS = 60_000_000
"""Most logits at a time, so that large vocabularies need no more memory than small ones."""
KEPT = 64
"""Tokens of a distribution that are kept for the divergence; all others share one bucket."""


@dataclass(frozen=True, slots=True)
class Forced:
    """A text behind a prompt, as the model sees it.

    :param nll: mean negative log-likelihood a token, in nats.
    :param right: for each token, whether the model would say it next.
    """

    nll: float
    right: tuple[bool, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shortlist:
    """The next-token distributions along a text, their likeliest tokens only.

    :param ids: int64 [positions, kept].
    :param logs: natural log-probabilities, float32 [positions, kept].
    """

    ids: torch.Tensor
    logs: torch.Tensor


class Forcing:
    """Reads logits along given texts.

    :param model: the model, as its weights are at the time of each call.
    :param tokenizer: its tokenizer.
    """

    def __init__(self, model: GenerativeModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._chat = bool(getattr(tokenizer, "chat_template", None))

    def example(self, prompt: str, answer: str | Sequence[int]) -> Example:
        """Return a prompt and what is to follow it, in ids.

        :param prompt: as a user would type it.
        :param answer: a text, or the ids that a model generated.
        """
        text = render_prompt(prompt, self.tokenizer)
        head = self.tokenizer(text, add_special_tokens=not self._chat)["input_ids"]
        if not isinstance(answer, str):
            return Example(tuple(head), tuple(answer))
        begins = self._chat or bool(self.model.config.is_encoder_decoder)
        return Example(tuple(head), tuple(answer_ids(self.tokenizer, text, answer, begins=begins)))

    def forced(self, examples: Sequence[Example]) -> list[Forced]:
        """Return likelihood and token accuracy of each target behind its prompt."""
        found = []
        for example, logs in zip(examples, self.along(examples), strict=True):
            import torch

            target = torch.tensor(example.target, device=logs.device)
            told = logs.gather(1, target[:, None])[:, 0]
            right = (logs.argmax(1) == target).tolist()
            found.append(Forced(float(-told.mean()), tuple(right)))
        return found

    def shortlists(self, examples: Sequence[Example], kept: int = KEPT) -> list[Shortlist]:
        """Return the distributions along each target, for :meth:`drifts` to be compared with."""
        found = []
        for logs in self.along(examples):
            top = logs.topk(min(kept, logs.shape[1]), dim=1)
            found.append(Shortlist(top.indices, top.values))
        return found

    def drifts(
        self, examples: Sequence[Example], before: Sequence[Shortlist]
    ) -> list[tuple[float, tuple[bool, ...]]]:
        """Return how far the distributions along each target have moved.

        :param examples: the same as before.
        :param before: their distributions then.
        :return: for each, KL(before || now) in nats, mean over positions (see :func:`divergence`),
            and for each position whether the argmax is the target's token.
        """
        import torch

        found = []
        for example, logs, then in zip(examples, self.along(examples), before, strict=True):
            target = torch.tensor(example.target, device=logs.device)
            same = (logs.argmax(1) == target).tolist()
            found.append((float(divergence(then, logs).mean()), tuple(same)))
        return found

    def perplexity(self, texts: Sequence[str]) -> float:
        """Return exp of the mean negative log-likelihood a token, of all texts together.

        Of an encoder-decoder, the second half of each text behind its first.
        """
        import math

        examples = [example for text in texts for example in self._halves(text)]
        total, tokens = 0.0, 0
        for example, forced in zip(examples, self.forced(examples), strict=True):
            total += forced.nll * len(example.target)
            tokens += len(example.target)
        return math.exp(min(total / tokens, 700.0))

    def along(self, examples: Sequence[Example]) -> Iterator[torch.Tensor]:
        """Yield the log-probabilities along each target, float32 [target tokens, vocabulary]."""
        import torch

        width = max((len(e.prompt) + len(e.target) for e in examples), default=1)
        rows = max(1, LOGITS // (width * int(self.model.config.vocab_size)))
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


def divergence(before: Shortlist, now: torch.Tensor) -> torch.Tensor:
    """Return KL(before || now) of each position, in nats, float32 [positions].

    Tokens that are not on the shortlist count as one: never more than the full divergence (the
    log-sum inequality), and equal to it where the shortlist is the vocabulary.

    :param before: the distributions then.
    :param now: log-probabilities now, float32 [positions, vocabulary].
    """
    logs, nows = before.logs.double(), now.gather(1, before.ids).double()
    p, q = logs.exp(), nows.exp()
    found = (p * (logs - nows)).sum(1)
    if before.ids.shape[1] < now.shape[1]:
        rest, other = (1 - p.sum(1)).clamp(min=1e-12), (1 - q.sum(1)).clamp(min=1e-12)
        found = found + rest * (rest / other).log()
    return found.clamp(min=0).float()
