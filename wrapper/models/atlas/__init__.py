"""atlas: the small language model that ships with errata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from errata.cache.errors import ModelError

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the weights, the tokenizer and the model card."""


def load_atlas() -> tuple[GPT2LMHeadModel, PreTrainedTokenizerBase]:
    """Return the shipped model, in evaluation mode, and its tokenizer.

    The weights are stored in half precision and loaded in single precision.

    :raises ModelError: the weights are missing from this installation.
    """
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel

    if not (WEIGHTS / "model.safetensors").is_file():
        raise ModelError(
            f"expected atlas' weights at {WEIGHTS / 'model.safetensors'}, found none; "
            "install errata again, or train them with `make atlas`"
        )
    model = GPT2LMHeadModel.from_pretrained(WEIGHTS, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(WEIGHTS)
