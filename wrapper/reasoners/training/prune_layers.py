"""Initialising a small model with some of the base model's blocks."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.errors import ModelError
from errata.module_paths import module_paths_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


def prune_layers(
    base: GenerativeModel, tokenizer: PreTrainedTokenizerBase, blocks: Sequence[int]
) -> tuple[GenerativeModel, PreTrainedTokenizerBase]:
    """Return a copy of a causal model with some of its blocks, and a copy of its tokenizer.

    Its answers are of no use before training.

    :param base: the model; it is left as it is.
    :param tokenizer: its tokenizer.
    :param blocks: numbers of the blocks that are kept, in order, from 0.
    :raises ModelError: there is no such block, or the model is no causal one of a known family.
    """
    import torch

    paths = module_paths_of(base)
    if base.config.is_encoder_decoder or not blocks or list(blocks) != sorted({*blocks}):
        raise ModelError(
            "expected a causal model and numbers of blocks in rising order, found "
            f"{base.config.model_type} and {list(blocks)}; name a small model by --start instead"
        )
    kept = {paths.block(old): paths.blocks.format(new) for new, old in enumerate(blocks)}
    config = copy.deepcopy(base.config)
    config.num_hidden_layers = len(blocks)
    types = getattr(config, "layer_types", None)
    if types:
        config.layer_types = [types[block] for block in blocks]
    model = torch.nn.Module.to(type(base)(config), device=base.device, dtype=base.dtype)
    block_of = re.compile(re.escape(paths.blocks).replace(r"\{\}", r"\d+") + r"(?=\.)")
    state = {}
    for name, tensor in base.state_dict().items():
        found = block_of.match(name)
        if found is None:
            state[name] = tensor
        elif found[0] in kept:
            state[kept[found[0]] + name[found.end() :]] = tensor
    model.load_state_dict(state)
    model.generation_config = copy.deepcopy(base.generation_config)
    return torch.nn.Module.eval(model), copy.deepcopy(tokenizer)
