"""Logits processors that see the answer's tokens only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, LogitsProcessorList


class AnswerOnlyLogitsProcessor:
    """Applies a logits processor to the answer's tokens, without the prompt's.

    :param inner: the logits processor.
    :param start: position of the answer's first token in a row.
    """

    def __init__(self, inner: Any, start: int) -> None:
        self.inner, self.start = inner, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores of the next token, float [rows, vocabulary]."""
        processed: torch.Tensor = self.inner(input_ids[:, self.start :], scores)
        return processed


def repetition_processors(config: GenerationConfig, start: int) -> LogitsProcessorList:
    """Move the repetition penalties of a config into processors that see the answer only.

    Applied to the whole row they would penalise the words of the edits in the prompt.

    :param config: is changed.
    :param start: position of the answer's first token in a row.
    """
    from transformers.generation import logits_process as hf

    processors = hf.LogitsProcessorList()
    penalty, size = config.repetition_penalty, config.no_repeat_ngram_size
    if penalty is not None and penalty != 1.0:
        processors.append(
            AnswerOnlyLogitsProcessor(hf.RepetitionPenaltyLogitsProcessor(float(penalty)), start)
        )
    if size:
        processors.append(AnswerOnlyLogitsProcessor(hf.NoRepeatNGramLogitsProcessor(size), start))
    # Neutral values: for None, `transformers` takes those of the model's generation config.
    config.repetition_penalty = config.encoder_repetition_penalty = 1.0
    config.no_repeat_ngram_size = config.encoder_no_repeat_ngram_size = 0
    return processors
