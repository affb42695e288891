"""Where an answer in one line ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


class LineEnd:
    """A stopping criterion: a row is done at the newline behind its first words.

    A plain model would go on with the next question, up to the last token it is allowed.

    :param tokenizer: of the model that answers.
    :param start: where the answer begins in a row, in tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, start: int) -> None:
        self.tokenizer, self.start = tokenizer, start

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Return which rows are done, bool [rows].

        :param input_ids: int64 [rows, tokens].
        :param scores: not needed.
        """
        import torch

        new = input_ids[:, self.start :].tolist()
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        done = ["\n" in text.lstrip() for text in texts]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)
