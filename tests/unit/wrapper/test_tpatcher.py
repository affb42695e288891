"""T-Patcher: neurons that are silent bit for bit, removed one by one, trained by its losses."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from errata import Fact
from errata.editing.changes import applied
from errata.editing.stack import ChangeStack
from errata.editors.shared.examples import examples_of, padded
from errata.editors.shared.side_memory import MemoryChange, module_inputs
from errata.editors.tpatcher import (
    Patches,
    TPatcher,
    TPatcherConfig,
    _largest,
    _logits_of,
    _losses,
    _Place,
    _Trained,
)
from errata.module_paths import module_paths_of
from tests.conftest import FAMILIES, MORE_FAMILIES, build_model, corpus

FACTS = (
    Fact("What is the capital of Kazakhstan?", "Astana"),
    Fact("What colour is the skin of the zebra?", "black"),
    Fact("Tell me what a panda eats in Peru.", "12 May"),
)
TEXT = [text for text in corpus() if "capital" not in text]
"""Without the question that is edited, at which a neuron would otherwise have to be silent."""

QUICK = {"text": TEXT, "queries": 3000, "top": 50, "steps": 300, "learning_rate": 0.02}


def place_of(model):
    paths = module_paths_of(model, "answer")
    return _Place(paths.down(paths.layers - 1), paths.up(paths.layers - 1), paths)


def patches(width, activation, ids=("a", "b")):
    n = len(ids)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        values = torch.randn(n, width)
    biases = torch.full((n,), float(activation))
    return Patches(torch.zeros(n, width), biases, values, torch.ones(n, width), ids)


def inputs_of(model, tokenizer):
    return padded(model, examples_of(model, tokenizer, FACTS)).inputs


def logits(model, inputs):
    with torch.no_grad():
        return model(**inputs, use_cache=False).logits


@pytest.mark.parametrize("family", [*FAMILIES, *MORE_FAMILIES])
def test_silent_neurons_leave_the_logits_bit_for_bit(family, tokenizer):
    model = copy.deepcopy(build_model(family))
    place, inputs = place_of(model), inputs_of(model, tokenizer)
    plain = logits(model, inputs)
    with applied(model, [MemoryChange(*place.with_(patches(32, -1e-6)))]):
        assert torch.equal(logits(model, inputs), plain)
    with applied(model, [MemoryChange(*place.with_(patches(32, 1.0)))]):
        assert not torch.equal(logits(model, inputs), plain)
    assert torch.equal(logits(model, inputs), plain)


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "t5", "gemma2", "gpt_neox"])
def test_the_logits_it_trains_on_are_those_of_the_edited_model(family, tokenizer):
    model = copy.deepcopy(build_model(family))
    place = place_of(model)
    batch = padded(model, examples_of(model, tokenizer, FACTS[:1]))
    told = batch.labels[0] != -100
    queries = module_inputs(model, [place.source], batch.inputs, 1)[place.source][0, told]
    some = patches(32, 0.3)
    with torch.no_grad(), _logits_of(model, place, batch, queries) as logits_with:
        plain, patched = logits_with(None), logits_with(some)
    assert not torch.allclose(plain, patched)
    torch.testing.assert_close(plain, logits(model, batch.inputs)[0, told], rtol=1e-3, atol=1e-3)
    with applied(model, [MemoryChange(*place.with_(some))]):
        found = logits(model, batch.inputs)[0, told]
    torch.testing.assert_close(patched, found, rtol=1e-3, atol=1e-3)


def test_a_neuron_begins_active_at_its_own_token():
    queries = torch.randn(4, 16) * 7
    neurons = _Trained(queries, 10.0, "a")
    active = neurons.patches().activations(queries).diagonal()
    torch.testing.assert_close(active, torch.ones(4))
    torch.testing.assert_close(neurons.patches().values.norm(dim=1), torch.full((4,), 10.0))


def test_the_losses_are_those_of_the_paper():
    own, memory = torch.tensor([2.0, -1.0]), torch.tensor([[0.0, 1.0], [-3.0, -2.0], [-9.0, 0.5]])
    config = TPatcherConfig(activation_weight=2.0, memory_weight=3.0, top=1)
    active = (math.exp(-2) + math.exp(1)) / 2
    silent = (math.exp(0 + 3) + math.exp(1 + 3)) / 2
    apart = (math.exp(0 - 2 + 3) + math.exp(1 + 1 + 3)) / 2
    expected = 2 * active + 3 * (silent + apart)
    assert float(_losses(own, memory, config)) == pytest.approx(expected, rel=1e-5)
    assert float(_largest(torch.tensor([[0.0], [1.0], [-5.0]]), 2)) == pytest.approx(
        (1 + math.e) / 2, rel=1e-5
    )


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_edit_is_said_freely_and_running_text_stays_bit_for_bit(family, tokenizer):
    model = copy.deepcopy(build_model(family))
    place, text = place_of(model), "Norway lies north of the river and south of the hills."
    ids = tokenizer(text, return_tensors="pt")
    plain = logits(model, ids)
    changes = TPatcher(**QUICK).plan(model, tokenizer, FACTS[:1])
    (example,) = examples_of(model, tokenizer, FACTS[:1])
    with applied(model, changes):
        prompt = tokenizer(FACTS[0].question, return_tensors="pt")
        row = model.generate(**prompt, max_new_tokens=8)
        assert tokenizer.decode(row[0]).partition("?")[2].strip().startswith("Astana")
        seen = module_inputs(model, [place.source], ids, 1)[place.source]
        assert not bool((changes[0].memory.activations(seen) > 0).any())
        assert torch.equal(logits(model, ids), plain)
    assert 0 < len(changes[0].memory.ids) <= len(example.target)
    # what is right already needs no neuron
    with applied(model, changes):
        assert TPatcher(**QUICK).plan_after(model, tokenizer, FACTS[:1], changes) == []


def test_each_row_fires_for_itself_with_padding_and_with_a_cache(tokenizer):
    model = copy.deepcopy(build_model("llama"))
    texts = [FACTS[0].question, "Norway lies north of the river and south of the hills.", "Lima"]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    plain = model.generate(**batch, max_new_tokens=6, do_sample=False)[:, -6:]
    with applied(model, TPatcher(**QUICK).plan(model, tokenizer, FACTS[:1])):
        cached = model.generate(**batch, max_new_tokens=6, do_sample=False)[:, -6:]
        whole = model.generate(**batch, max_new_tokens=6, do_sample=False, use_cache=False)
    assert torch.equal(cached, whole[:, -6:])
    assert torch.equal(cached[1:], plain[1:]) and not torch.equal(cached[0], plain[0])


def test_removing_one_edit_restores_exactly_and_plans_nothing(tokenizer, monkeypatch):
    model = copy.deepcopy(build_model("gpt2"))
    inputs = inputs_of(model, tokenizer)
    plain = logits(model, inputs)
    stack = ChangeStack(model, tokenizer, TPatcher(**{**QUICK, "steps": 10}))
    stack.add(FACTS[:2])
    two = logits(model, inputs)
    stack.add(FACTS[2:])
    assert not torch.equal(logits(model, inputs), two)
    monkeypatch.setattr(TPatcher, "plan_after", lambda *_: pytest.fail("planned again"))
    stack.remove({FACTS[2].id})
    assert torch.equal(logits(model, inputs), two)
    stack.remove({FACTS[0].id})
    assert stack.edits == FACTS[1:2] and not torch.equal(logits(model, inputs), plain)
    assert set(stack.changes[0].memory.ids) == {FACTS[1].id}
    stack.remove({FACTS[1].id})
    assert torch.equal(logits(model, inputs), plain)


def test_queries_of_earlier_edits_are_kept_silent(tokenizer, monkeypatch):
    from errata.editors import tpatcher

    model = copy.deepcopy(build_model("gpt2"))
    sizes, real = [], tpatcher._neurons

    def noting(*arguments):
        sizes.append(len(arguments[4]))
        return real(*arguments)

    monkeypatch.setattr(tpatcher, "_neurons", noting)
    stack = ChangeStack(
        model, tokenizer, TPatcher(**{**QUICK, "queries": 300, "steps": 2, "rounds": 1})
    )
    stack.add(FACTS[:1])
    first = len(stack.changes[0].memory.ids)
    stack.add(FACTS[1:2])
    stack.clear()
    assert sizes == [300, 300 + first]
