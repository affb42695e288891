"""Where the parts of a model are: told right for every family, or with an error that helps."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import Conv1D

from errata.cache.errors import ModelError
from errata.module_paths import (
    ModulePaths,
    as_rows,
    hidden_of,
    matrix,
    module_paths_of,
    stored,
    with_hidden,
)
from tests.conftest import FAMILIES, MORE_FAMILIES, build_model

ROWS, TOKENS, WIDTH = 2, 5, 32


def run(model, watched):
    """Run a batch and return what the modules watched were given and gave."""
    seen = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: (args[0], output)})
        )
        for name in watched
    ]
    ids = torch.arange(8, 8 + ROWS * TOKENS).view(ROWS, TOKENS)
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    try:
        with torch.no_grad():
            model(input_ids=ids, use_cache=False, **more)
    finally:
        for handle in handles:
            handle.remove()
    return seen


@pytest.mark.parametrize("part", ["subject", "answer"])
@pytest.mark.parametrize("family", [*FAMILIES, *MORE_FAMILIES])
def test_sites_are_what_they_say(family, part):
    model = build_model(family)
    paths = module_paths_of(model, part)
    assert paths.layers == 2
    assert paths.block(-1) == paths.block(1) != paths.block(0)
    name = paths.down(1)
    seen = run(model, [name, paths.block(1), paths.up(1), paths.norm, paths.head])
    down = model.get_submodule(name)
    keys, values = seen[name]
    # the matrix is W of v = W k + b, whatever the module's class
    expected = keys.double() @ matrix(down).double().T
    expected = expected if getattr(down, "bias", None) is None else expected + down.bias.double()
    assert torch.allclose(values.double(), expected, atol=1e-4)
    assert matrix(down).shape[0] == WIDTH
    assert matrix(down).data_ptr() == down.weight.data_ptr()
    assert torch.equal(stored(down, matrix(down)), down.weight)
    assert model.get_parameter(paths.down_weight(1)) is down.weight
    assert as_rows(keys, ROWS).shape[:2] == (ROWS, TOKENS)
    assert (keys.dim() == 2) == paths.flattened
    hidden = hidden_of(seen[paths.block(1)][1])
    assert hidden.shape == (ROWS, TOKENS, WIDTH)
    assert hidden_of(with_hidden(seen[paths.block(1)][1], hidden + 1)).equal(hidden + 1)
    assert seen[paths.up(1)][0].shape[-1] == WIDTH
    assert seen[paths.norm][1].shape == (ROWS, TOKENS, WIDTH)
    # between the last block and the head there is the norm, and nothing else
    if part == "answer" and family != "t5":
        assert torch.equal(hidden, seen[paths.norm][0])
        assert torch.equal(seen[paths.norm][1], seen[paths.head][0])
    gate = paths.gate(1)
    assert (gate is not None) == (family in ("llama", "qwen2", "qwen3", "mistral", "gemma2"))


def test_a_square_conv1d_is_told_by_its_type():
    square, linear = Conv1D(4, 4), torch.nn.Linear(4, 4)
    assert torch.equal(matrix(square), square.weight.T)
    assert torch.equal(matrix(linear), linear.weight)


def test_a_gated_t5_has_a_gate():
    import transformers as hf

    config = hf.T5Config(
        vocab_size=16, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    paths = module_paths_of(hf.T5ForConditionalGeneration(config), "answer")
    assert paths.gate(0) == "decoder.block.0.layer.2.DenseReluDense.wi_0"
    assert paths.up(0) == "decoder.block.0.layer.2.DenseReluDense.wi_1"


def test_a_model_that_is_not_known_says_how_to_add_it():
    model = copy.deepcopy(build_model("llama"))
    model.config.model_type = "novelty"
    with pytest.raises(ModelError, match=r"found 'novelty' \(LlamaForCausalLM\).*_LAYOUTS"):
        module_paths_of(model)
    own = ModulePaths("model.layers.{}", "mlp.down_proj", "mlp.up_proj", "model.norm")
    assert module_paths_of(model, override=own).down(0) == "model.layers.0.mlp.down_proj"


def test_names_that_are_not_there_are_told():
    own = ModulePaths("model.layers.{}", "mlp.wrong", "mlp.up_proj", "model.norm")
    with pytest.raises(ModelError, match=r"'model.layers.0.mlp.wrong'.*'llama'"):
        module_paths_of(build_model("llama"), override=own)
    with pytest.raises(ModelError, match="layer from 0 to 1, found 2"):
        module_paths_of(build_model("llama")).block(2)
