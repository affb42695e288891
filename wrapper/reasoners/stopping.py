"""The stopping criterion of answers in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


class StopAtNewline:
    """A stopping criterion: a row is done at the first newline after text.

    A model without a chat template would go on with further questions up to the token limit.

    :param tokenizer: of the model that answers.
    :param start: position of the answer's first token in a row.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, start: int) -> None:
        self.tokenizer, self.start = tokenizer, start

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Return which rows are done, bool [rows].

        :param input_ids: int64 [rows, tokens].
        :param scores: unused.
        """
        import torch

        new = input_ids[:, self.start :].tolist()
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        done = ["\n" in text.lstrip() for text in texts]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)
