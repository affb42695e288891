"""ROME: its equation against an independent oracle in float64, and what it does to a model."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import Fact, LanguagePatch
from errata.cache.errors import EditError, UnsupportedEdit
from errata.editing.changes import applied
from errata.editors import rome
from errata.editors.rome import Rome, insertion, key_and_gap
from errata.editors.shared import key_value
from errata.editors.shared.key_value import _adding, fact_batch, find_delta, read
from errata.editors.shared.prompts import Target, batch_of, end_ids, forms_of
from errata.editors.shared.subject_tails import subject_tails
from errata.editors.shared.value_config import RomeConfig
from errata.module_paths import as_rows, is_conv1d, matrix, module_paths_of
from tests.conftest import FAMILIES, MORE_FAMILIES, corpus

FACT = Fact("What is the capital of Kazakhstan?", "Oslo", subject="Kazakhstan")
OTHER = Fact("What is the capital of Norway?", "Lima", subject="Norway")
QUICK = {
    "contexts": ((3, 2),),
    "steps": 12,
    "text": corpus(),
    "layer": 0,
    "clamp_norm_factor": 30.0,
    "max_loss": float("inf"),
    "max_tokens_per_key": 20,
}


def problem(seed, size=12, out=7, samples=40):
    """Return a random symmetric positive C, its Cholesky factor, a key and a gap, in float64."""
    rng = np.random.default_rng(seed)
    keys = rng.standard_normal((samples, size)) * np.exp(rng.standard_normal(size))
    moment = keys.T @ keys / samples
    tensors = [moment, np.linalg.cholesky(moment), keys[0], rng.standard_normal(out)]
    return [torch.from_numpy(value) for value in tensors]


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_update_inserts_the_pair_by_rank_one_at_least_cost(seed):
    moment, factor, key, gap = problem(seed)
    update = insertion(factor, key, gap)
    assert float((update @ key - gap).abs().max()) < 1e-9 * float(gap.abs().max())
    values = torch.linalg.svdvals(update)
    assert float(values[1]) < 1e-10 * float(values[0])

    def cost(change):
        return float(torch.einsum("ij,jk,ik->", change, moment, change))

    direction = torch.linalg.solve(moment, key)
    assert float(direction @ key) > 0
    assert cost(update) == pytest.approx(float(gap @ gap / (key @ direction)), rel=1e-8)
    rng = torch.Generator().manual_seed(seed % 2**31)
    for _ in range(20):
        drawn = torch.randn(update.shape, generator=rng, dtype=torch.float64)
        feasible = update + drawn - torch.outer(drawn @ key, key) / (key @ key)
        assert float((feasible @ key - gap).abs().max()) < 1e-7 * float(1 + gap.abs().max())
        assert cost(feasible) > cost(update)


def test_the_update_is_that_of_the_constrained_least_squares():
    # the oracle: the stationary point of the Lagrangian, as one linear system
    moment, factor, key, gap = problem(3)
    size = len(key)
    system = torch.zeros(size + 1, size + 1, dtype=torch.float64)
    system[:size, :size], system[:size, size], system[size, :size] = 2 * moment, key, key
    for row, wanted in zip(insertion(factor, key, gap), gap, strict=True):
        right = torch.zeros(size + 1, dtype=torch.float64)
        right[size] = wanted
        expected = torch.linalg.solve(system, right)[:size]
        torch.testing.assert_close(row, expected, rtol=1e-8, atol=1e-10)


def forms():
    return forms_of(FACT.question, FACT.subject)


def contexts(editor, model, tokenizer):
    return editor._contexts(model, tokenizer, editor.config_for(model))


def test_the_edited_layer_maps_the_mean_key_to_the_value(family, models, tokenizer, monkeypatch):
    model, seen = models(family), []
    monkeypatch.setattr(
        rome, "key_and_gap", lambda *a: seen.append((*a, *key_and_gap(*a))) or seen[-1][2:]
    )
    editor = Rome(**QUICK)
    (change,) = editor.plan(model, tokenizer, [FACT])
    ((before, delta, key, gap),) = seen
    paths = module_paths_of(model)
    down = model.get_submodule(paths.down(0))
    assert change.name == paths.down_weight(0) and change.delta.dtype == torch.float64
    assert (family == "gpt2") == is_conv1d(down)
    update = change.delta.T if family == "gpt2" else change.delta
    assert np.linalg.matrix_rank(update.numpy()) == 1

    torch.testing.assert_close(key, before.keys[:-1].double().mean(0))
    wanted = before.values[0].double() + delta.double()
    weight = matrix(down).detach().double()
    bias = 0 if getattr(down, "bias", None) is None else down.bias.detach().double()
    scale = float(wanted.abs().max())
    # exact where W k* is taken in float64; to float32's precision where the layer computed it
    assert float((update @ key - gap).abs().max()) < 1e-12 * max(1.0, float(gap.abs().max()))
    assert float(((weight + update) @ key + bias - wanted).abs().max()) < 1e-5 * scale

    texts = contexts(editor, model, tokenizer)
    with applied(model, [change]):
        written = read(model, down, fact_batch(model, tokenizer, FACT, texts, forms()))
    values = written.values[:-1].double().mean(0)
    assert float((values - wanted).abs().max()) < 1e-4 * scale


def test_only_one_matrix_changes_and_the_model_stays_as_it_was(models, tokenizer):
    model = copy.deepcopy(models("qwen2")).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    (change,) = Rome(**QUICK).plan(model, tokenizer, [FACT])
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    with applied(model, [change]):
        after = model.state_dict()
        assert [k for k in before if not torch.equal(before[k], after[k])] == [change.name]


def test_after_the_edit_the_answer_is_about_as_likely_as_in_the_search(family, models, tokenizer):
    # With one prompt, k* is the very key that the model looks up.
    model = models(family)
    target = Target(FACT.question, FACT.subject, FACT.answer, ends=True)
    batch = batch_of(model, tokenizer, [target])

    def loss():
        with torch.no_grad():
            return float(batch.nll(model(**batch.inputs).logits))

    alone = loss()
    editor = Rome(**{**QUICK, "steps": 40, "contexts": (), "clozes": False})
    with applied(model, editor.plan(model, tokenizer, [FACT])):
        edited = loss()
    # not equal: the other tokens of the prompt, too, look something up in the edited matrix
    assert edited == pytest.approx(editor.losses[FACT.id], rel=0.15)
    assert edited < alone == loss()


def test_the_same_edits_give_the_same_changes(models, tokenizer):
    one, other = (
        Rome(**QUICK).plan(models("llama"), tokenizer, [FACT, OTHER])[0].delta for _ in range(2)
    )
    assert torch.equal(one, other)


def test_a_later_edit_is_planned_on_the_weights_before_it(models, tokenizer):
    model = copy.deepcopy(models("gpt2"))
    editor = Rome(**{**QUICK, "contexts": ()})
    (both,) = editor.plan(model, tokenizer, [FACT, OTHER])
    (first,) = editor.plan(model, tokenizer, [FACT])
    with applied(model, [first]):
        (second,) = editor.plan(model, tokenizer, [OTHER])
    (alone,) = editor.plan(model, tokenizer, [OTHER])
    torch.testing.assert_close(both.delta, first.delta + second.delta, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(second.delta, alone.delta, rtol=1e-4, atol=1e-7)


def test_contexts_do_not_change_the_value_it_starts_from(models, tokenizer):
    model = models("gpt_neox")
    down = model.get_submodule(module_paths_of(model).down(0))
    few = read(model, down, fact_batch(model, tokenizer, FACT, [""], forms()))
    many = read(model, down, fact_batch(model, tokenizer, FACT, ["", "Oslo and Lima. "], forms()))
    torch.testing.assert_close(few.values[0], many.values[0], atol=1e-5, rtol=1e-5)
    assert len(many.keys) == 2 * (len(few.keys) - 1) + 1


@pytest.mark.parametrize("family", [*FAMILIES, *MORE_FAMILIES])
def test_what_stands_before_a_subject_is_read_once(models, tokenizer, family):
    """From the subjects on, logits with a vector added are those of the whole prompts."""
    model = models(family)
    down = model.get_submodule(module_paths_of(model).down(0))
    contexts = ["", "Oslo and Lima. ", "The panda eats in Paris, Tokyo and Cairo. "]
    batch = fact_batch(model, tokenizer, FACT, contexts, forms())
    tails = subject_tails(model, batch)
    assert (tails.past is None) == model.config.is_encoder_decoder
    delta = 0.5 * torch.randn(model.config.hidden_size, generator=torch.manual_seed(0))
    with torch.no_grad():
        with _adding(down, batch, delta):
            whole = batch.nll(model(**batch.inputs, use_cache=False).logits)[:-1]
        with _adding(down, tails.batch, delta):
            found = [tails.batch.nll(tails.logits(model))[:-1] for _ in range(2)]
        plain = batch.nll(model(**batch.inputs, use_cache=False).logits)[:-1]
    assert not torch.allclose(whole, plain, rtol=1e-3), "the vector has an effect"
    for one in found:
        torch.testing.assert_close(one, whole, rtol=1e-4, atol=1e-4)
    if tails.past is not None:
        assert tails.batch.inputs["input_ids"].numel() < 0.7 * batch.inputs["input_ids"].numel()


def test_settings_out_of_a_file_may_be_lists(models, tokenizer):
    model, lists = models("gpt2"), {**QUICK, "contexts": [[3, 2]]}
    one, other = (Rome(**kept).plan(model, tokenizer, [FACT]) for kept in (QUICK, lists))
    torch.testing.assert_close(one[0].delta, other[0].delta, rtol=0, atol=0)


def test_the_value_is_held_inside_the_clamp(models, tokenizer):
    model = models("mistral")
    down = model.get_submodule(module_paths_of(model).down(1))
    batch = fact_batch(model, tokenizer, FACT, [""], forms())
    before = read(model, down, batch)
    for clamp in (0.1, 2.0):
        chosen = RomeConfig(layer=1, clamp_norm_factor=clamp, steps=6)
        found = find_delta(model, down, batch, before, chosen)
        bound = clamp * float(before.values[0].norm())
        assert float(found.delta.norm()) <= bound * (1 + 1e-5) and found.steps == 6
    one = find_delta(model, down, batch, before, RomeConfig(layer=1, steps=1))
    assert not one.delta.any()  # the last evaluation changes nothing


def test_the_search_stops_when_the_answer_is_said(models, tokenizer):
    model = models("llama")
    down = model.get_submodule(module_paths_of(model).down(0))
    batch = fact_batch(model, tokenizer, FACT, [""], forms())
    before = read(model, down, batch)
    start = find_delta(model, down, batch, before, RomeConfig(layer=0, steps=1)).nll
    chosen = {"layer": 0, "clamp_norm_factor": 30.0, "steps": 50, "weight_decay": 0.0}
    found = find_delta(model, down, batch, before, RomeConfig(target_loss=0.95 * start, **chosen))
    assert 1 < found.steps < 50 and found.nll < 0.95 * start


def test_the_best_value_is_kept_and_not_the_last(models, tokenizer):
    model = models("llama")
    down = model.get_submodule(module_paths_of(model).down(0))
    batch = fact_batch(model, tokenizer, FACT, [""], forms())
    before = read(model, down, batch)
    wild = {"learning_rate": 100.0, "clamp_norm_factor": 1e6, "kl_factor": 0.0, "weight_decay": 0.0}
    losses = []
    for steps in range(1, 7):
        found = find_delta(model, down, batch, before, RomeConfig(layer=0, steps=steps, **wild))
        losses.append(found.nll)
        with _adding(down, batch, found.delta), torch.no_grad():
            again = float(batch.nll(model(**batch.inputs).logits)[:-1].mean())
        assert again == pytest.approx(found.nll, rel=1e-4)
    # steps this wild overshoot: without keeping the best, a longer search would end higher
    assert losses == sorted(losses, reverse=True)
    last = find_delta(model, down, batch, before, RomeConfig(layer=0, steps=6, **wild))
    assert last.steps == 6


def test_the_answer_ends_in_every_target(models, tokenizer):
    model = models("gpt2")
    batch = fact_batch(model, tokenizer, FACT, [""], forms())
    ends = [row[row != -100][-1].item() for row in batch.labels[:-1]]
    assert len(ends) == 2 and set(ends) == set(end_ids(model)) == {tokenizer.eos_token_id}


def test_an_edit_is_tried_again_without_the_cloze(models, tokenizer, monkeypatch):
    tried = []

    def search(model, down, batch, before, config):
        found = find_delta(model, down, batch, before, config)
        tried.append(len(batch.positions))
        return replace(found, nll=9.0 if len(tried) == 1 else found.nll)

    monkeypatch.setattr(key_value, "find_delta", search)
    editor = Rome(**{**QUICK, "contexts": (), "max_loss": 8.9})
    (change,) = editor.plan(models("gpt2"), tokenizer, [FACT])
    assert tried == [3, 2]  # question, cloze and essence; question and essence
    assert editor.losses[FACT.id] < 8.9
    alone = Rome(**{**QUICK, "contexts": (), "clozes": False})
    assert torch.equal(change.delta, alone.plan(models("gpt2"), tokenizer, [FACT])[0].delta)


def test_an_edit_that_finds_no_value_is_refused_by_name(models, tokenizer):
    editor = Rome(**{**QUICK, "clamp_norm_factor": 0.01, "steps": 2, "max_loss": 0.5})
    with pytest.raises(UnsupportedEdit, match="errata locate") as refused:
        editor.plan(models("gpt2"), tokenizer, [FACT])
    assert refused.value.edit_id == FACT.id


@pytest.mark.parametrize(
    "edit",
    [
        LanguagePatch("the user asks", "say so"),
        Fact("Where does Jane Roe live?", forget=True),
        Fact("How far does Paris lie from Rome?", "far"),
    ],
)
def test_what_is_no_fact_with_a_subject_is_refused(edit, models, tokenizer):
    assert not Rome().supports(edit) and Rome().supports(FACT)
    with pytest.raises(UnsupportedEdit) as refused:
        Rome(**QUICK).plan(models("gpt2"), tokenizer, [edit])
    assert refused.value.edit_id == edit.id


def test_settings_are_those_of_the_model_unless_told_otherwise(models, caplog):
    model = models("gpt2")
    assert Rome(layer=1, clamp_norm_factor=9).config_for(model).clamp_norm_factor == 9
    assert "errata locate" in caplog.text
    with pytest.raises(EditError, match="clmap"):
        Rome(clmap=9)
    small = {"n_embd": 8, "n_head": 2, "vocab_size": 16, "n_positions": 8}
    large = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=48, **small))
    assert Rome().config_for(large).layer == 17


def test_texts_before_the_prompt_hold_no_line_breaks_and_come_from_the_model(models, tokenizer):
    editor = Rome(**{**QUICK, "contexts": ((4, 3), (6, 2))})
    found = contexts(editor, models("gpt2"), tokenizer)
    assert found[0] == "" and len(found) == 6
    assert all(text.endswith(". ") and "\n" not in text for text in found[1:])
    assert contexts(editor, models("gpt2"), tokenizer) is found  # written once a model
    other = copy.deepcopy(models("gpt2"))
    with torch.no_grad():
        other.transformer.h[0].mlp.c_proj.weight.add_(0.5)
    assert contexts(editor, other, tokenizer) is found  # edits in the weights change nothing


def test_rows_of_flattened_layers_are_told_apart(models, tokenizer):
    # OPT's feed-forward layer sees [rows × tokens, d]: each row's own subject has to be read
    model = models("opt")
    down = model.get_submodule(module_paths_of(model).down(0))
    targets = [Target(f"{name} is a", name) for name in ("Kazakhstan", "Oslo")]
    both = read(model, down, batch_of(model, tokenizer, targets))
    for row, target in enumerate(targets):
        alone = read(model, down, batch_of(model, tokenizer, [target]))
        torch.testing.assert_close(both.keys[row], alone.keys[0], atol=1e-5, rtol=1e-5)
    assert as_rows(torch.zeros(6, 4), 2).shape == (2, 3, 4)
