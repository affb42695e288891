"""Shipping atlas: half-precision safetensors, tokenizer, and a card of what was measured on them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from errata.atlas.measure import probes, recall

if TYPE_CHECKING:
    from errata.atlas.train import Run


def ship(run: Run) -> None:
    """Write the trained model to ``run.out / "model"``, measure what was written, add the card.

    :param run: a finished training run.
    """
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel

    folder = run.out / "model"
    run.model.eval().half().save_pretrained(folder)
    run.tokenizer.save_pretrained(folder)
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    measured = measure(run, model, tokenizer)
    write_card(folder, run, measured, sum(p.numel() for p in model.parameters()))


def measure(run: Run, model: object, tokenizer: object) -> dict[str, dict[str, object]]:
    """Return n, hits and a 95% Wilson interval for each kind of probe."""
    out: dict[str, dict[str, object]] = {}
    for kind, items in probes(run.corpus).items():
        right = recall(model, tokenizer, items)  # type: ignore[arg-type]
        out[kind] = rate(sum(right), len(right))
        print(kind, out[kind], flush=True)
    return out


def rate(hits: int, n: int) -> dict[str, object]:
    """Return a rate with its n and 95% Wilson interval."""
    z = 1.959964
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * ((p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5) / (1 + z * z / n)
    return {"n": n, "rate": round(p, 4), "interval": [round(middle - half, 4), round(middle + half, 4)]}


def write_card(folder: Path, run: Run, measured: dict[str, dict[str, object]], size: int) -> None:
    pass
