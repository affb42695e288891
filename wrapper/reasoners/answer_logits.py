"""Logits of the tokens of given answers."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from errata.generation.base_model import GenerativeModel


def answer_logits(
    model: GenerativeModel, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> torch.Tensor:
    """Return the logits that predict each answer's tokens, float32 [answer tokens, vocabulary].

    :param model: causal or encoder-decoder.
    :param pairs: prompt and answer ids of each row.
    """
    import torch

    encoder_decoder = bool(model.config.is_encoder_decoder)
    read = [list(p) if encoder_decoder else [*p, *a[:-1]] for p, a in pairs]
    ids, mask = _padded(read, model)
    answers = [len(a) for _, a in pairs]
    if encoder_decoder:
        labels, _ = _padded([list(a) for _, a in pairs], model)
        out = model(input_ids=ids, attention_mask=mask, labels=labels).logits
        rows = [out[i, :n] for i, n in enumerate(answers)]
    else:
        # Padding on the right: causal attention of the answer's tokens does not reach it.
        ends = [len(row) for row in read]
        spans = [(end - n, end) for end, n in zip(ends, answers, strict=True)]
        first, last = min(start for start, _ in spans), max(ends)
        keep = torch.arange(first, last, device=ids.device)
        out = model(input_ids=ids, attention_mask=mask, **_only(model, keep)).logits
        skipped = first if out.shape[1] == len(keep) else 0
        rows = [out[i, start - skipped : end - skipped] for i, (start, end) in enumerate(spans)]
    return torch.cat(rows).float()


def _only(model: GenerativeModel, keep: torch.Tensor) -> dict[str, Any]:
    """Return the option for logits of some positions only: the head is much of the cost."""
    takes = inspect.signature(model.forward).parameters
    return {"logits_to_keep": keep} if "logits_to_keep" in takes else {}


def _padded(rows: Sequence[list[int]], model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids.to(model.device), mask.to(model.device)
