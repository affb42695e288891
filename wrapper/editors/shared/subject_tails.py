"""Prompts from their subjects on: what stands before a subject is read once, not in every step.

A change at the subject's last token reaches no token before it in a causal model, so that keys and
values of those tokens are the same in every step of a search. Of a chat model they are most of the
prompt: the system prompt, the words of the template, the texts before the question.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.editors.shared.prompts import Batch
from errata.generation.base_model import unwrapped

if TYPE_CHECKING:
    import torch

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, eq=False)
class SubjectTails:
    """Prompts from the last token of their subject on, and what was read before it.

    :param batch: the tails, padded on the right; the subject is the first token of each.
    :param past: keys and values of what stands before; None: the batch is whole.
    """

    batch: Batch
    past: Any = None

    def logits(self, model: GenerativeModel) -> torch.Tensor:
        """Return the logits of the tails, [rows, tokens, vocabulary].

        :param model: the model, whose layers may be hooked.
        """
        if self.past is None:
            whole: torch.Tensor = model(**self.batch.inputs, use_cache=False).logits
            return whole
        past = copy.deepcopy(self.past)  # a forward pass appends to it
        tails: torch.Tensor = model(**self.batch.inputs, past_key_values=past).logits
        return tails


def subject_tails(model: GenerativeModel, batch: Batch) -> SubjectTails:
    """Return the tails of a batch; the batch itself where a model cannot go on from a cache.

    That is an encoder-decoder, and a model that takes no positions.

    :param model: the model.
    :param batch: prompts with their subjects.
    """
    import torch

    takes_positions = "position_ids" in inspect.signature(unwrapped(model).forward).parameters
    room = int(batch.positions.max())
    if model.config.is_encoder_decoder or not takes_positions or room == 0:
        return SubjectTails(batch)
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    before = torch.arange(room, device=ids.device) + batch.positions[:, None] - room
    heads = ids.gather(1, before.clamp(min=0))
    head_mask = (before >= 0).long()
    with torch.no_grad():
        past = (
            unwrapped(model)
            .base_model(
                input_ids=heads,
                attention_mask=head_mask,
                position_ids=before.clamp(min=0),
                use_cache=True,
            )
            .past_key_values
        )
    width = int((mask.sum(1) - batch.positions).max())
    behind = torch.arange(width, device=ids.device) + batch.positions[:, None]
    exists = behind < mask.sum(1, keepdim=True)
    place = behind.clamp(max=ids.shape[1] - 1)
    inputs = {
        "input_ids": ids.gather(1, place),
        "attention_mask": torch.cat([head_mask, exists.long()], 1),
        "position_ids": behind,
    }
    labels = batch.labels.gather(1, place).masked_fill(~exists, -100)
    return SubjectTails(Batch(inputs, torch.zeros_like(batch.positions), labels), past)
