"""A reduced model: the base with some of its blocks."""

from __future__ import annotations

import copy

import pytest
import torch

from errata.cache.errors import ModelError
from errata.module_paths import module_paths_of
from errata.reasoners.training.prune_layers import prune_layers
from tests.conftest import FAMILIES, build_model


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "t5"])
def test_it_is_the_base_without_the_other_blocks(family, tokenizer):
    base = copy.deepcopy(build_model(family))
    ids = tokenizer("What is the capital of Peru?", return_tensors="pt")["input_ids"]
    whole, _ = prune_layers(base, tokenizer, [0, 1])
    second, own = prune_layers(base, tokenizer, [1])
    with torch.no_grad():
        assert torch.equal(whole(ids).logits, base(ids).logits)
        first = base.get_submodule(module_paths_of(base).block(0))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(first, "forward", skipping(base, ids))
            skipped = base(ids, use_cache=False).logits
        assert torch.equal(second(ids, use_cache=False).logits, skipped)
        assert not torch.equal(skipped, base(ids).logits)
    assert own is not tokenizer and module_paths_of(second).layers == 1
    said = second.generate(ids, max_new_tokens=4, pad_token_id=0)  # the cache counts its layers
    assert said.shape[1] == ids.shape[1] + 4
    assert {p.data_ptr() for p in base.parameters()}.isdisjoint(
        p.data_ptr() for p in second.parameters()
    )


def skipping(base, ids):
    """Return a forward that hands on what it got, in the form the block's own has."""
    kinds = []
    block = base.get_submodule(module_paths_of(base).block(0))
    handle = block.register_forward_hook(lambda _, __, output: kinds.append(type(output)))
    base(ids, use_cache=False)
    handle.remove()

    def forward(hidden_states, *rest, **options):
        return (hidden_states,) if kinds[0] is tuple else hidden_states

    return forward


@pytest.mark.parametrize("blocks", [[], [1, 0], [0, 0]])
def test_blocks_have_to_rise(blocks, tokenizer):
    with pytest.raises(ModelError, match="in rising order"):
        prune_layers(build_model("gpt2"), tokenizer, blocks)


def test_what_is_not_there_or_not_causal_is_refused(tokenizer):
    with pytest.raises(ModelError, match="expected a layer from 0 to 1, found 7"):
        prune_layers(build_model("gpt2"), tokenizer, [0, 7])
    with pytest.raises(ModelError, match=r"found t5 and \[0\]; name a small model by --start"):
        prune_layers(build_model("t5"), tokenizer, [0])
