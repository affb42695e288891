"""The separate reasoner: a model with its own tokenizer, as SERAC was published."""

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
        model, model_tokenizer = load_base(folder, dtype=base.dtype)
        chat = None if self.card is None else self.card.chat
        super().__init__(
            torch.nn.Module.to(model, base.device), model_tokenizer,
            Prompter.for_model(model, model_tokenizer, chat=chat),
            separate_vocabulary=True, fallback=base_fallback(base, tokenizer),
            abstention=None if self.card is None else self.card.abstention,
            consistency=None if self.card is None else BaseConsistency(base, tokenizer),
        )  # fmt: skip
