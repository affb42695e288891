"""WISE: masked shards, their merge, and the routing, which is each position's own."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import Fact
from errata.editing.changes import applied
from errata.editing.stack import ChangeStack
from errata.editors.shared.examples import examples_of, padded
from errata.editors.wise import Copies, Shard, Wise, WiseConfig, _margins, mask_of, merged, ties
from errata.module_paths import matrix
from tests.conftest import build_model, corpus
from tests.contracts.test_editor import bits

FACTS = (
    Fact("What is the capital of Kazakhstan?", "Astana"),
    Fact("What colour is the skin of the zebra?", "black"),
    Fact("Tell me what a panda eats in Peru.", "12 May"),
)
QUICK = {
    "layer": 0, "text": [text for text in corpus() if "capital" not in text], "queries": 300,
    "steps": 30, "learning_rate": 0.05,
}  # fmt: skip
DOWN = "transformer.h.0.mlp.c_proj"


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape) + shape[0]))


def logits(model, inputs):
    with torch.no_grad():
        return model(**inputs, use_cache=False).logits


def test_positions_below_the_threshold_keep_their_bits_and_others_get_the_copys_output():
    weight, delta, query = drawn(4, 6), drawn(4, 6) / 3, drawn(3, 5, 6)
    output = query @ weight.T
    distances = (query @ delta.T).norm(dim=-1)
    key = query[1, 2]
    memory = Copies([Shard(delta, key[None], 1)], 0.9)
    found, used = memory(query, output), distances > memory.thresholds[0]
    assert bool(used[1, 2]) and not bool(used.all())
    assert torch.equal(found[~used], output[~used])
    torch.testing.assert_close(found[used], (query @ (weight + delta).T)[used])
    for row in range(3):  # no row depends on another
        torch.testing.assert_close(memory(query[row], output[row]), found[row])
    never = Copies([Shard(delta, 1e3 * key[None], 1)], 0.9)
    assert never(query, output) is output


def test_the_copy_that_differs_most_above_its_own_threshold_answers():
    query, output = torch.eye(2), torch.zeros(2, 2)
    one = Shard(torch.tensor([[2.0, 0.0], [0.0, 0.1]]), torch.tensor([[1.0, 0.0]]), 1)
    two = Shard(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 1.0]]), 1)
    found = Copies([one, two], 0.5)(query, output)
    assert torch.equal(found, torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    assert torch.equal(Copies([one], 0.5)(query, output)[1], output[1])


def test_a_merge_of_one_whole_update_is_that_update():
    delta = drawn(5, 7)
    assert torch.equal(ties(delta[None], 1.0), delta)
    shard = merged([Shard(delta, drawn(2, 7), 2)], 1.0)
    assert shard.merged and shard.edits == 2


def test_a_merge_trims_elects_signs_and_averages():
    one = torch.tensor([[4.0, -3.0, 0.1, 1.0]])
    two = torch.tensor([[2.0, 5.0, 0.2, -0.3]])
    found = ties(torch.stack([one, two]), 0.5)  # keeps two entries of each
    assert torch.equal(found, torch.tensor([[3.0, 5.0, 0.0, 0.0]]))


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 4), density=st.floats(0.1, 1), seed=st.integers(0, 99))
def test_a_merge_never_exceeds_what_it_merges(count, density, seed):
    deltas = torch.randn(count, 3, 4, generator=torch.Generator().manual_seed(seed))
    found = ties(deltas, density)
    assert bool((found <= deltas.amax(0).clamp(min=0)).all())
    assert bool((found >= deltas.amin(0).clamp(max=0)).all())


def test_the_margins_are_those_of_the_paper():
    config = WiseConfig(layer=0, irrelevant_margin=1.0, edit_margin=4.0, gap=2.5)
    edits, others = torch.tensor([[6.0, 0.0]]), torch.tensor([[0.0, 4.0], [2.0, 0.0]])
    # in units of 2: D(x_e) = 3, D(x_i) = 2 and 1
    expected = (1 + 0) / 2 + 1 + ((2.5 - 1) + (2.5 - 2)) / 2
    assert float(_margins(edits, others, 2.0, config)) == pytest.approx(expected)


def test_only_masked_entries_differ_and_no_weight_does(tokenizer):
    model = copy.deepcopy(build_model("gpt2"))
    before = bits(model)
    inputs = padded(model, examples_of(model, tokenizer, FACTS)).inputs
    plain = logits(model, inputs)
    (change,) = Wise(**QUICK).plan(model, tokenizer, FACTS[:2])
    (shard,) = change.memory.shards
    mask = mask_of(shard.delta.shape, 0.2, 1)
    assert bool((shard.delta[mask] != 0).any()) and not bool((shard.delta[~mask] != 0).any())
    assert float(shard.delta.abs().max()) <= 1
    assert shard.delta.shape == matrix(model.get_submodule(DOWN)).shape
    with applied(model, [change]):
        assert not torch.equal(logits(model, inputs), plain)
        assert all(torch.equal(bits(model)[name], before[name]) for name in before)
    with applied(model, Wise(**{**QUICK, "steps": 0}).plan(model, tokenizer, FACTS[:2])):
        assert torch.equal(logits(model, inputs), plain)  # nothing learned, not a bit differs
    assert torch.equal(logits(model, inputs), plain)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_edit_is_likelier_with_padding_and_with_a_cache(family, tokenizer):
    model = copy.deepcopy(build_model(family))
    texts = [FACTS[0].question, "Norway lies north of the river and south of the hills.", "Lima"]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    own = padded(model, examples_of(model, tokenizer, FACTS[:1]))
    plain = float(own.losses(logits(model, own.inputs)))
    with applied(model, Wise(**QUICK).plan(model, tokenizer, FACTS[:1])):
        assert float(own.losses(logits(model, own.inputs))) < plain / 2
        cached = model.generate(**batch, max_new_tokens=6, do_sample=False)[:, -6:]
        whole = model.generate(**batch, max_new_tokens=6, do_sample=False, use_cache=False)
    assert torch.equal(cached, whole[:, -6:])


def test_shards_fill_up_and_are_merged(tokenizer):
    model = copy.deepcopy(build_model("gpt2"))
    quick = {**QUICK, "steps": 2, "shard_edits": 1, "merge_shards": 2}

    def shards_after(**options):
        stack = ChangeStack(model, tokenizer, Wise(**{**quick, **options}))
        counts = []
        for fact in FACTS:
            stack.add([fact])
            shards = stack.changes[-1].memory.shards
            counts.append([(shard.edits, shard.merged) for shard in shards])
        stack.clear()
        return counts

    one, two = (1, False), (2, True)
    assert shards_after() == [[one], [two], [two, one]]
    assert shards_after(retrieve=True) == [[one], [one, one], [one, one, one]]
    assert shards_after(shard_edits=5) == [[(1, False)], [(2, False)], [(3, False)]]
