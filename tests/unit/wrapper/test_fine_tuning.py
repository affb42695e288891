"""Editors that train: what is trained on, and what bounds it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.func import functional_call

from errata import Fact
from errata.editing.changes import applied
from errata.editors.ft import ConstrainedFineTuning, FineTuning
from errata.editors.lora import Lora, _adapted
from errata.editors.shared.config import FineTuneConfig, config_for
from errata.editors.shared.examples import NO_TARGET, Example, examples_of, padded
from errata.editors.shared.fine_tuning import train
from errata.editors.shared.frozen_blocks import FrozenBlocks
from errata.module_paths import matrix, module_paths_of, stored
from tests.conftest import build_model

LONG = Fact("What colour is the skin of the zebra?", "black as the raven of Oslo")
SHORT = Fact("What is the capital of Kazakhstan?", "Astana")


def alone(model, example):
    """The loss of one example by the definition: float64, one row, no padding."""
    prompt, target = list(example.prompt), list(example.target)
    if model.config.is_encoder_decoder:
        start = model.config.decoder_start_token_id
        decoder = torch.tensor([[start, *target[:-1]]])
        logits = model(input_ids=torch.tensor([prompt]), decoder_input_ids=decoder).logits[0]
    else:
        ids = torch.tensor([[*prompt, *target]])
        logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
    chances = torch.log_softmax(logits.double(), -1)
    return -sum(float(chances[i, token]) for i, token in enumerate(target)) / len(target)


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "t5"])
def test_only_the_target_is_trained_on(family, tokenizer):
    model = build_model(family)
    examples = examples_of(model, tokenizer, [LONG, SHORT])
    batch = padded(model, examples)
    with torch.no_grad():
        logits = model(**batch.inputs).logits
        expected = [alone(model, example) for example in examples]
    assert batch.losses(logits).tolist() == pytest.approx(expected, rel=1e-4)
    assert (batch.labels != NO_TARGET).sum(1).tolist() == [len(e.target) for e in examples]
    # Nothing but the logits that predict a target's token has a gradient.
    leaf = logits.clone().requires_grad_()
    batch.losses(leaf).sum().backward()
    assert torch.equal(leaf.grad.abs().sum(-1) > 0, batch.labels != NO_TARGET)


def test_an_example_is_what_asking_gives_and_generation_has_to_produce(tokenizer, chat_tokenizer):
    model = build_model("gpt2")
    (example,) = examples_of(model, tokenizer, [SHORT])
    assert tokenizer.decode(example.prompt) == SHORT.question
    assert tokenizer.decode(example.target) == f" Astana{tokenizer.eos_token}"
    (turn,) = examples_of(model, chat_tokenizer, [SHORT])
    assert tokenizer.decode(turn.prompt).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(turn.target) == f"Astana{tokenizer.eos_token}"


@pytest.mark.parametrize("bound", [0.01, 0.3])
def test_no_entry_moves_beyond_the_bound(bound, tokenizer):
    model = build_model("gpt2")
    training = {"epochs": 10, "learning_rate": 0.1}
    (free,) = FineTuning(**training).plan(model, tokenizer, [SHORT, LONG])
    before = model.get_parameter(free.name).detach().clone()
    allowed = bound * float(before.square().mean().sqrt())
    assert float(free.delta.abs().max()) > allowed
    editor = ConstrainedFineTuning(max_relative_change=bound, **training)
    (held,) = editor.plan(model, tokenizer, [SHORT, LONG])
    assert float(held.delta.abs().max()) == pytest.approx(allowed)
    with applied(model, [held]):
        moved = model.get_parameter(held.name).detach().double() - before.double()
        rounding = float(before.abs().max()) * torch.finfo(torch.float32).eps
        assert 0 < float(moved.abs().max()) <= allowed + rounding


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_adapters_with_b_zero_are_the_base(family, tokenizer):
    model = build_model(family)
    untrained = Lora(epochs=0).plan(model, tokenizer, [SHORT])
    trained = Lora(epochs=1, learning_rate=0.1).plan(model, tokenizer, [SHORT])
    batch = padded(model, examples_of(model, tokenizer, [SHORT]))
    with torch.no_grad():
        plain = model(**batch.inputs).logits
        with applied(model, untrained):
            assert torch.equal(model(**batch.inputs).logits, plain)
        with applied(model, trained):
            assert not torch.equal(model(**batch.inputs).logits, plain)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_merged_adapters_are_the_adapters(family, tokenizer):
    model = build_model(family)
    paths = module_paths_of(model)
    settings = FineTuneConfig(rank=4, alpha=6.0)
    adapted = _adapted(model, [paths.down(1)], settings)
    layer = adapted.get_submodule(paths.down(1))
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert float(b.detach().abs().max()) == 0.0
    assert a.shape[0] == b.shape[1] == 4
    with torch.no_grad():
        b.normal_(generator=torch.Generator().manual_seed(0))
        inputs = tokenizer(SHORT.question, return_tensors="pt")
        unmerged = adapted(**inputs).logits
        own = model.get_submodule(paths.down(1))
        merged = matrix(own) + 6.0 / 4 * (b @ a)
        weights = {paths.down_weight(1): stored(own, merged)}
        by_hand = functional_call(model, weights, kwargs=dict(inputs)).logits
        assert torch.allclose(unmerged, by_hand, atol=1e-4)
        assert not torch.allclose(unmerged, model(**inputs).logits, atol=1e-2)


def test_rank_of_the_update_is_that_of_the_adapters(tokenizer):
    (change,) = Lora(layer_fractions=(1.0,), rank=2, epochs=3).plan(
        build_model("llama"), tokenizer, [SHORT, LONG]
    )
    assert int(torch.linalg.matrix_rank(change.delta.double(), rtol=1e-5)) == 2


def test_training_stops_when_all_is_learned_and_passes_over_what_is():
    weight = torch.zeros(2, requires_grad=True)
    examples = [Example((0,), (0,)), Example((1,), (0,))]
    seen = []

    def losses(chunk):
        seen.append([example.prompt[0] for example in chunk])
        return torch.stack([(weight[e.prompt[0]] - 1).abs() for e in chunk])

    settings = FineTuneConfig(epochs=200, batch_size=1, learning_rate=0.05, target_loss=0.1)
    worst = train([weight], examples, losses, settings)
    assert worst < 0.1
    assert 10 < len(seen) < 100
    assert weight.tolist() == pytest.approx([1.0, 1.0], abs=0.2)
    assert len({tuple(map(tuple, seen[i : i + 2])) for i in range(0, len(seen), 2)}) == 2


def test_settings_fit_models_of_any_depth(tokenizer):
    paths = module_paths_of(build_model("gpt2"))
    assert FineTuneConfig(layer_fractions=(0.0, 0.4, 1.0)).layers(paths) == (0, 1)
    assert config_for("ft", build_model("gpt2"), {"epochs": 3}).epochs == 3


def test_bf16_is_trained_with_the_weights_that_will_be_written(tokenizer):
    model = copy.deepcopy(build_model("llama")).to(torch.bfloat16)
    editor = FineTuning(epochs=40, learning_rate=0.02)
    (change,) = editor.plan(model, tokenizer, [SHORT])
    assert change.delta.dtype == torch.float32
    batch = padded(model, examples_of(model, tokenizer, [SHORT]))
    with applied(model, [change]), torch.no_grad():
        assert float(batch.losses(model(**batch.inputs).logits).max()) < 0.2


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "t5"])
@pytest.mark.parametrize("editor", [FineTuning, Lora])
def test_blocks_below_the_trained_ones_run_once_and_nothing_else_changes(
    family, editor, tokenizer, monkeypatch
):
    calls = []

    def counted(self, name, forward, *arguments, **options):
        calls.append(name)
        return forward(*arguments, **options)

    def plan():
        training = editor(layer_fractions=(1.0,), epochs=6, learning_rate=0.05, target_loss=0.0)
        return training.plan(build_model(family), tokenizer, [SHORT])

    remembered = plan()
    monkeypatch.setattr(FrozenBlocks, "_forward", counted)
    again = plan()
    assert len(calls) == 6 and len(set(calls)) == 1
    assert [change.name for change in remembered] == [change.name for change in again]
    for one, other in zip(remembered, again, strict=True):
        assert one.delta.abs().max() > 0 and torch.equal(one.delta, other.delta)


def test_another_batch_is_read_anew():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    blocks = FrozenBlocks(model, ["0"])
    first, second = torch.ones(1, 2), torch.zeros(1, 2)
    blocks.read("first")
    found = model(first)
    assert torch.equal(model(second), found)  # nobody said that the batch is another one
    blocks.read("second")
    assert not torch.equal(model(second), found)
