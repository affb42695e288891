"""The separate reasoner: a model and a tokenizer of its own, as SERAC was published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from errata.cache.errors import ModelError
from errata.generation.base_model import load_base
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.card import FILE, read_card
from errata.reasoners.prompts import Prompter
from errata.reasoners.reader import ContextReasoner, base_fallback

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class ModelReasoner(ContextReasoner):
    """A causal or encoder-decoder model that answers in the base model's place.

    SERAC's counterfactual model (Mitchell et al. 2022, section 3).

    :param base: the base model, whose device and dtype it shares.
    :param tokenizer: the base model's tokenizer.
    :param folder: what ``errata reasoner train --kind model`` wrote.
    :raises ModelError: no model can be loaded from there.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        folder: str | Path | None = None,
    ) -> None:
        if folder is None:
            raise ModelError(
                "expected the folder of a trained counterfactual model, found none; pass it as "
                "reasoner=, or train one with `errata reasoner train --kind model`"
            )
        import torch

        self.card = read_card(Path(folder)) if (Path(folder) / FILE).is_file() else None
        model, own = load_base(folder, dtype=base.dtype)
        chat = None if self.card is None else self.card.chat
        super().__init__(
            torch.nn.Module.to(model, base.device), own, Prompter.of(model, own, chat=chat),
            foreign=True, aside=base_fallback(base, tokenizer),
            reluctance=None if self.card is None else self.card.reluctance,
            beliefs=None if self.card is None else BaseConsistency(base, tokenizer),
        )  # fmt: skip
