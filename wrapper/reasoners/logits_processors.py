"""Logits processors that look back at the answer and not at the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, LogitsProcessorList


class OfAnswer:
    """A logits processor that sees the tokens of the answer alone.

    :param inner: what it is shown to.
    :param start: where the answer begins in a row, in tokens.
    """

    def __init__(self, inner: Any, start: int) -> None:
        self.inner, self.start = inner, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores of the next token, float [rows, vocabulary]."""
        processed: torch.Tensor = self.inner(input_ids[:, self.start :], scores)
        return processed


def repetition_of_answer(config: GenerationConfig, start: int) -> LogitsProcessorList:
    """Take what forbids repetition out of a config, and return it for the answer alone.

    It speaks of the caller's prompt, in which no edit stands; over a prompt that holds edits it
    would forbid to say what they say.

    :param config: is changed.
    :param start: where the answer begins in a row, in tokens.
    """
    from transformers.generation import logits_process as hf

    made = hf.LogitsProcessorList()
    penalty, size = config.repetition_penalty, config.no_repeat_ngram_size
    if penalty is not None and penalty != 1.0:
        made.append(OfAnswer(hf.RepetitionPenaltyLogitsProcessor(float(penalty)), start))
    if size:
        made.append(OfAnswer(hf.NoRepeatNGramLogitsProcessor(size), start))
    # Neutral values: for None, `transformers` would take the model's own.
    config.repetition_penalty = config.encoder_repetition_penalty = 1.0
    config.no_repeat_ngram_size = config.encoder_no_repeat_ngram_size = 0
    return made
