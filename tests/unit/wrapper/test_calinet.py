"""CaliNET: slots that change nothing before training, and only themselves during it."""

from __future__ import annotations

import copy

import pytest
import torch

from errata import Fact
from errata.cache.records import PatchTests
from errata.editing.changes import applied
from errata.editing.stack import ChangeStack
from errata.editors.calinet import CaliNet, CaliNetConfig, new_slots
from errata.editors.shared.examples import examples_of, padded
from errata.editors.shared.side_memory import MemoryChange
from errata.module_paths import module_paths_of
from tests.conftest import FAMILIES, MORE_FAMILIES, build_model
from tests.contracts.test_editor import bits

FACTS = (
    Fact("What is the capital of Kazakhstan?", "Astana", subject="Kazakhstan"),
    Fact(
        "What colour is the skin of the zebra?", "black", subject="zebra",
        tests=PatchTests(fires=("The zebra's skin?",)),
    ),
)  # fmt: skip
GATED = ("llama", "qwen2", "mistral", "qwen3", "phi3", "gemma2")


def losses(model, tokenizer):
    batch = padded(model, examples_of(model, tokenizer, FACTS))
    with torch.no_grad():
        return batch.losses(model(**batch.inputs, use_cache=False).logits)


@pytest.mark.parametrize("family", [*FAMILIES, *MORE_FAMILIES])
def test_new_slots_change_no_bit_and_are_as_many_as_they_are_said_to_be(family, tokenizer):
    model = copy.deepcopy(build_model(family))
    paths, config = module_paths_of(model, "answer"), CaliNetConfig()
    memory = new_slots(model, paths, 1, 50, config)
    inputs = padded(model, examples_of(model, tokenizer, FACTS)).inputs
    with torch.no_grad():
        plain = model(**inputs).logits
        with applied(model, [MemoryChange(paths.down(1), memory, paths.up(1))]):
            assert torch.equal(model(**inputs).logits, plain)
            memory.values[:] = 1.0
            assert not torch.equal(model(**inputs).logits, plain)
        assert torch.equal(model(**inputs).logits, plain)
    count = sum(tensor.numel() for tensor in memory.tensors().values())
    assert count == (3 if family in GATED else 2) * 32 * 32  # 0.64 x 50 slots, 32 wide


def test_the_number_of_slots_follows_the_facts():
    config = CaliNetConfig()
    assert [config.slots_for(n, 192) for n in (1, 100, 1000)] == [16, 64, 192]
    assert CaliNetConfig(max_slots=8).slots_for(100, 192) == 8


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_training_learns_the_facts_and_leaves_every_weight(family, tokenizer):
    model = copy.deepcopy(build_model(family))
    before, plain = bits(model), losses(model, tokenizer)
    changes = CaliNet(epochs=100, learning_rate=0.03).plan(model, tokenizer, FACTS)
    with applied(model, changes):
        assert bool((losses(model, tokenizer) < plain / 4).all())
        assert all(torch.equal(bits(model)[name], before[name]) for name in before)
    assert torch.equal(losses(model, tokenizer), plain)


def test_fires_and_a_statement_are_trained_on_too(tokenizer, monkeypatch):
    from errata.editors import calinet

    seen = []
    monkeypatch.setattr(calinet, "train", lambda _, examples, *rest: seen.extend(examples))
    CaliNet().plan(build_model("gpt2"), tokenizer, FACTS)
    prompts = [tokenizer.decode(example.prompt) for example in seen]
    assert prompts[:3] == [FACTS[0].question, FACTS[1].question, "The capital of Kazakhstan is"]
    assert "The zebra's skin?" in prompts


def test_another_fact_trains_all_of_them_again(tokenizer):
    model = copy.deepcopy(build_model("gpt2"))
    editor = CaliNet(epochs=3, learning_rate=0.02)
    assert editor.capabilities.together and not editor.capabilities.separable
    stack = ChangeStack(model, tokenizer, editor)
    stack.add(FACTS[:1])
    stack.add(FACTS[1:])
    (change,) = stack.changes
    assert stack.edits == FACTS
    stack.remove({FACTS[0].id})
    (alone,) = stack.changes
    stack.clear()
    (never,) = editor.plan(model, tokenizer, FACTS[1:])
    assert torch.equal(alone.memory.values, never.memory.values)
    assert not torch.equal(alone.memory.values, change.memory.values)
