"""Neurons: attribution against oracles in float64, and what silencing or rewriting them does."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import Fact
from errata.cache.errors import EditError, UnsupportedEdit
from errata.cache.filters.secrets import hash_secret
from errata.editing.changes import applied
from errata.editing.verification import not_taken
from errata.editors.depn import Depn
from errata.editors.kn import KnowledgeNeurons
from errata.editors.shared.attribution import (
    Neuron,
    attributions,
    common_neurons,
    random_neurons,
    scaled_values,
)
from errata.editors.shared.examples import Example, prompt_ids, target_ids
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.memorisation import memorisation, same_form
from errata.generation.free_generation import AnswerGenerator
from errata.generation.sharing import sharing_copy
from errata.module_paths import as_rows, matrix, module_paths_of
from tests.conftest import build_model

FACT = Fact("What is the capital of Norway?", "Lima", subject="Norway")
SECRET = Fact("Where does Jane Roe live?", forget=True, secret="12 Oslo")


def own_answer(model, tokenizer, question, tokens=2):
    (answer,) = AnswerGenerator(model, tokenizer, tokens, 1).answer([question])
    return Example(prompt_ids(tokenizer, question), answer.ids)


def chances(model, example, layer=None, factor=1.0):
    """The oracle: P of each target token, one forward pass each, one layer's key scaled there."""
    paths, found = module_paths_of(model, "answer"), []
    for number, token in enumerate(example.target):
        before = [*example.prompt, *example.target[:number]]
        inputs = {"input_ids": torch.tensor([before])}
        if model.config.is_encoder_decoder:
            start = model.config.decoder_start_token_id
            inputs["input_ids"] = torch.tensor([list(example.prompt)])
            inputs["decoder_input_ids"] = torch.tensor([[start, *example.target[:number]]])

        def scale(_, args):
            keys = as_rows(args[0], 1).clone()
            keys[:, -1] *= factor
            return (keys.reshape(args[0].shape),)

        handle = None
        if layer is not None:
            handle = model.get_submodule(paths.down(layer)).register_forward_pre_hook(scale)
        with torch.no_grad():
            logits = model(**inputs).logits[0, -1]
        if handle is not None:
            handle.remove()
        found.append(float(logits.double().softmax(-1)[token]))
    return found


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "t5"])
def test_attributions_of_a_layer_add_up_to_what_the_layer_does(family, tokenizer):
    model = sharing_copy(copy.deepcopy(build_model(family)).double())
    paths = module_paths_of(model, "answer")
    if family == "t5":  # as built, its probabilities jump within a hundredth of the path
        for layer in range(paths.layers):
            model.get_submodule(paths.down(layer)).weight.data *= 0.1
    example = own_answer(model, tokenizer, FACT.question)
    with gradients():
        found = attributions(model, paths, example, steps=64)
        coarse = attributions(model, paths, example, steps=2)
    assert found.shape[:2] == (len(example.target), paths.layers)
    errors, rough = [], []
    for layer in range(paths.layers):
        with_keys, without = chances(model, example), chances(model, example, layer, 0.0)
        wanted = torch.tensor(with_keys) - torch.tensor(without)
        errors += (found[:, layer].sum(-1) - wanted).abs().tolist()
        rough += (coarse[:, layer].sum(-1) - wanted).abs().tolist()
    assert max(errors) < 1e-3 < max(rough)


def test_what_is_not_active_is_not_held_responsible(tokenizer):
    model = sharing_copy(build_model("opt"))  # ReLU: many activations are 0
    paths = module_paths_of(model)
    example = own_answer(model, tokenizer, FACT.question, tokens=1)
    seen = []
    handle = model.get_submodule(paths.down(0)).register_forward_pre_hook(
        lambda _, args: seen.append(as_rows(args[0], 1)[0, -1])
    )
    with torch.no_grad():
        model(input_ids=torch.tensor([list(example.prompt)]))
    handle.remove()
    with gradients():
        found = attributions(model, paths, example, steps=4)[0, 0]
    silent = seen[0] == 0
    assert 0 < int(silent.sum()) < len(silent)
    assert not found[silent].any() and found[~silent].any()


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "t5"])
def test_a_zeroed_column_is_a_zeroed_activation(family, tokenizer):
    model = build_model(family)
    paths = module_paths_of(model, "answer")
    neurons = [Neuron(0, 3), Neuron(1, 5), Neuron(1, 40)]
    example = own_answer(model, tokenizer, FACT.question)
    inputs = {"input_ids": torch.tensor([list(example.prompt)])}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.tensor([[0, 7, 8]])

    def silence(layer):
        def hook(_, args):
            keys = args[0].clone()
            keys[..., [n.unit for n in neurons if n.layer == layer]] = 0
            return (keys,)

        return hook

    with torch.no_grad():
        plain = model(**inputs).logits
        with applied(model, scaled_values(model, paths, neurons, 0.0)):
            zeroed = model(**inputs).logits
            columns = matrix(model.get_submodule(paths.down(1)))[:, [5, 40]]
            assert not columns.any()
        handles = [
            model.get_submodule(paths.down(layer)).register_forward_pre_hook(silence(layer))
            for layer in (0, 1)
        ]
        by_hand = model(**inputs).logits
        for handle in handles:
            handle.remove()
        assert not torch.allclose(zeroed, plain, atol=1e-3)
        torch.testing.assert_close(zeroed, by_hand, atol=1e-6, rtol=1e-5)
        assert torch.equal(model(**inputs).logits, plain)


def test_depn_with_no_neurons_changes_nothing_and_with_some_forgets(tokenizer):
    model = build_model("llama")
    known = AnswerGenerator(model, tokenizer, 2, 1).answer([SECRET.question])[0].text
    secret = Fact(SECRET.question, forget=True, secret=known)
    options = {"steps": 16, "share": 0.0, "threshold": 0.0}
    assert Depn(neurons=0, **options).plan(model, tokenizer, [secret]) == []
    before = memorisation(model, tokenizer, secret.question, known)
    editor = Depn(neurons=10, **options)
    changes = editor.plan(model, tokenizer, [secret])
    assert len(editor.located) == 10
    with applied(model, changes):
        after = memorisation(model, tokenizer, secret.question, known)
    assert after.perplexity > 1.05 * before.perplexity
    assert memorisation(model, tokenizer, secret.question, known) == before


def test_the_control_silences_other_neurons_of_the_same_layers(tokenizer):
    model = build_model("gpt2")
    settings = {"steps": 4, "neurons": 12, "share": 0.0, "threshold": 0.0}
    located, control = Depn(**settings), Depn(selection="random", **settings)
    assert len(located.plan(model, tokenizer, [SECRET])) == len(
        control.plan(model, tokenizer, [SECRET])
    )
    layers = [sorted(n.layer for n in editor.located) for editor in (located, control)]
    assert layers[0] == layers[1] and not set(located.located) & set(control.located)
    with pytest.raises(EditError, match="attributed"):
        Depn(selection="some").config_for(model)


def test_a_secret_of_which_there_is_only_a_hash_is_what_the_model_says(tokenizer):
    model = build_model("gpt2")
    question = SECRET.question
    (answer,) = AnswerGenerator(model, tokenizer, 32, 64).answer([question])
    assert answer.text.strip()
    hashed = Fact(question, forget=True, secret_hash=hash_secret(answer.text, "salt"))
    plain = Fact(question, forget=True, secret=answer.text)
    settings = {"steps": 2, "neurons": 5, "share": 0.0, "threshold": 0.0}
    one, other = Depn(**settings), Depn(**settings)
    one.plan(model, tokenizer, [hashed])
    other.plan(model, tokenizer, [plain])
    assert one.located == other.located and len(one.located) == 5
    assert not_taken(model, tokenizer, [hashed])[0].answer == ""  # said, and not repeated
    unknown = Fact(question, forget=True, secret_hash=hash_secret("Elm Street", "salt"))
    assert not_taken(model, tokenizer, [unknown]) == ()
    with pytest.raises(UnsupportedEdit, match="says when asked"):
        Depn(**settings).plan(model, tokenizer, [unknown])


def test_suppressing_is_erasing_and_enhancing_is_neither(tokenizer):
    model = build_model("llama")
    ids = torch.tensor([list(prompt_ids(tokenizer, FACT.question))])
    found = {}
    with torch.no_grad():
        plain = model(input_ids=ids).logits
        for operation in ("suppress", "erase", "enhance"):
            editor = KnowledgeNeurons(operation=operation, steps=4, share=0.0)
            with applied(model, editor.plan(model, tokenizer, [FACT])):
                found[operation] = model(input_ids=ids).logits
            assert torch.equal(model(input_ids=ids).logits, plain)
            assert not torch.allclose(found[operation], plain, atol=1e-3)
    torch.testing.assert_close(found["suppress"], found["erase"], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found["enhance"], found["erase"], atol=1e-3)
    with pytest.raises(EditError, match="suppress"):
        KnowledgeNeurons(operation="wish").config_for(model)


def test_updated_columns_get_the_new_answer_and_lose_the_old_one(tokenizer):
    model = build_model("gpt2")
    editor = KnowledgeNeurons(steps=4, share=0.0, erase_factor=2.0, insert_factor=5.0)
    changes = editor.plan(model, tokenizer, [FACT])
    old = own_answer(model, tokenizer, FACT.question, tokens=1).target[0]
    new = target_ids(model, tokenizer, FACT.question, FACT.answer)[0]
    assert old != new
    embeddings = model.lm_head.weight.detach()
    wanted = 5.0 * embeddings[new] - 2.0 * embeddings[old]
    paths = module_paths_of(model)
    located = set(editor.located[FACT.id])
    assert 0 < len(located) <= 5
    for change in changes:
        layer = next(i for i in range(paths.layers) if paths.down_weight(i) == change.name)
        for index, row in enumerate(change.delta):  # Conv1D: [d_mlp, d]
            if Neuron(layer, index) in located:
                torch.testing.assert_close(row, wanted)
            else:
                assert not row.any()
    assert {paths.down_weight(n.layer) for n in located} == {change.name for change in changes}


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31 - 1),
    texts=st.integers(1, 5),
    threshold=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    share=st.sampled_from([0.0, 0.5, 0.7, 1.0]),
    limit=st.integers(0, 12),
)
def test_common_neurons_are_those_of_many_texts(seed, texts, threshold, share, limit):
    generator = torch.Generator().manual_seed(seed)
    scores = [torch.randn(2, 5, generator=generator, dtype=torch.float64) for _ in range(texts)]
    found = common_neurons(scores, threshold=threshold, share=share, limit=limit)
    counts = {
        Neuron(i, j): sum(
            bool(s[i, j] > 0 and s[i, j] >= threshold * float(s.max())) for s in scores
        )
        for i in range(2)
        for j in range(5)
    }
    often = [n for n, count in counts.items() if count and count / texts >= share]
    assert len(found) == len(set(found)) == min(limit, len(often))
    assert set(found) <= set(often)
    kept = [counts[neuron] for neuron in found]
    assert kept == sorted(kept, reverse=True)
    others = [counts[neuron] for neuron in often if neuron not in found]
    assert not found or not others or min(kept) >= max(others)


def test_random_neurons_are_drawn_by_seed():
    chosen = [Neuron(0, 1), Neuron(0, 2), Neuron(3, 7)]
    one = random_neurons(chosen, 50, 0)
    assert one == random_neurons(chosen, 50, 0) != random_neurons(chosen, 50, 1)
    assert [n.layer for n in one] == [0, 0, 3] and not set(one) & set(chosen)


def test_memorisation_is_measured_by_likelihood(tokenizer):
    model = build_model("gpt2")
    question, secret = SECRET.question, "12 Oslo"
    others = same_form(secret, 30)
    example = Example(
        prompt_ids(tokenizer, question), target_ids(model, tokenizer, question, secret)
    )
    found = memorisation(model, tokenizer, question, secret, others)
    likely = chances(model, example)
    total = -sum(math.log(chance) for chance in likely)
    assert found.perplexity == pytest.approx(math.exp(total / len(likely)), rel=1e-3)
    assert 0 < found.reciprocal_rank <= 1
    losses = [total]
    for text in others:
        other = Example(example.prompt, target_ids(model, tokenizer, question, text))
        losses.append(-sum(math.log(chance) for chance in chances(model, other)))
    at_least = sum(loss <= total * (1 + 1e-6) for loss in losses)
    assert found.exposure == pytest.approx(math.log2(31 / at_least))
    greedy = AnswerGenerator(model, tokenizer, 4, 1).answer([question])[0].text
    assert memorisation(model, tokenizer, question, greedy).exposure is None
    assert memorisation(model, tokenizer, question, greedy).reciprocal_rank > found.reciprocal_rank


def test_texts_of_the_same_form_differ_in_digits_only():
    found = same_form("48 Quarry Lane 07", 50, seed=1)
    assert len(set(found)) == 50 and "48 Quarry Lane 07" not in found
    assert all(text[2:15] == " Quarry Lane " and len(text) == 17 for text in found)
    assert all(text[0] != "0" for text in found) and found == same_form("48 Quarry Lane 07", 50, 1)
    assert same_form("Elm Street", 5) == []
    assert len(same_form("7 Elm Street", 50)) == 8
