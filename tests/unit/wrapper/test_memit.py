"""MEMIT and AlphaEdit: their equations against float64 oracles, and what they do to a model."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import Fact
from errata.cache.errors import EditError, UnsupportedEdit
from errata.editing.changes import applied
from errata.editing.stack import ChangeStack
from errata.editors.alphaedit import AlphaEdit, null_space, projected_update
from errata.editors.memit import Memit, ridge_update
from errata.editors.rome import insertion
from errata.editors.shared import spreading
from errata.editors.shared.key_value import subject_states
from errata.editors.shared.spreading import layers_of, remembered
from errata.module_paths import matrix, module_paths_of
from tests.conftest import build_model, corpus

FACTS = (
    Fact("What is the capital of Kazakhstan?", "Oslo", subject="Kazakhstan"),
    Fact("What is the capital of Norway?", "Lima", subject="Norway"),
    Fact("What colour is the skin of the zebra?", "Cairo", subject="zebra"),
)
QUICK = {
    "contexts": ((3, 2),), "steps": 8, "text": corpus(), "layers": (0, 1),
    "clamp_norm_factor": 30.0, "max_loss": float("inf"), "max_tokens_per_key": 20,
}  # fmt: skip
seeds = settings(deadline=None, max_examples=30)
seed = given(seed=st.integers(0, 2**32 - 1))


def problem(seed, size=12, out=7, edits=4, samples=40):
    """Return a random C, keys K, residuals R and keys of earlier edits, in float64."""
    rng = np.random.default_rng(seed)
    keys = rng.standard_normal((samples, size)) * np.exp(rng.standard_normal(size))
    drawn = [rng.standard_normal(shape) for shape in ((size, edits), (out, edits), (size, 3))]
    return [torch.from_numpy(value) for value in (keys.T @ keys / samples, *drawn)]


@cache
def deep(family):
    """Return a model of three blocks: what is added after the last one reaches no later token."""
    model = build_model(family)
    if family == "t5":
        return model  # edited in its encoder
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = 3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return type(model)(config).eval()


def scale(tensor):
    return float(tensor.abs().max())


@seeds
@seed
def test_the_update_solves_the_normal_equations(seed):
    moment, keys, residual, _ = problem(seed)
    preserved = 0.3 * moment
    update = ridge_update(preserved, keys, residual)
    # the oracle: all entries at once, as one dense least squares on K and on a root of S
    root = np.linalg.cholesky(preserved.numpy())
    rows = np.concatenate([keys.numpy().T, root.T])
    wanted = np.concatenate([residual.numpy().T, np.zeros((len(root), len(residual)))])
    expected = np.linalg.lstsq(rows, wanted, rcond=None)[0].T
    assert np.abs(update.numpy() - expected).max() < 1e-8 * np.abs(expected).max()
    assert torch.linalg.matrix_rank(update, rtol=1e-9) <= keys.shape[1]


@seeds
@seed
def test_the_order_of_a_batch_does_not_matter(seed):
    moment, keys, residual, _ = problem(seed)
    order = torch.randperm(keys.shape[1], generator=torch.Generator().manual_seed(seed % 2**31))
    update = ridge_update(moment, keys, residual)
    other = ridge_update(moment, keys[:, order], residual[:, order])
    assert scale(update - other) < 1e-10 * scale(update)


@seeds
@seed
def test_one_edit_realises_a_fraction_of_its_residual(seed):
    moment, keys, residual, _ = problem(seed, edits=1)
    for weight in (1e-3, 1.0, 50.0):
        update = ridge_update(weight * moment, keys, residual)
        s = float(keys[:, 0] @ torch.linalg.solve(moment, keys[:, 0])) / weight
        torch.testing.assert_close(update @ keys, s / (1 + s) * residual, rtol=1e-8, atol=1e-12)


@seeds
@seed
def test_without_preservation_it_is_rome(seed):
    moment, keys, residual, _ = problem(seed, edits=1)
    rome = insertion(torch.linalg.cholesky(moment), keys[:, 0], residual[:, 0])
    s = float(keys[:, 0] @ torch.linalg.solve(moment, keys[:, 0]))
    for weight in (1.0, 1e-2, 1e-4):
        update = ridge_update(weight * moment, keys, residual)
        # it differs by λ / (kᵀ C⁻¹ k + λ), which tends to 0
        expected = rome * s / (s + weight)
        assert scale(update - expected) < 1e-6 * scale(rome)
    assert scale(update - rome) < 1e-3 * scale(rome)


def test_residuals_of_a_repeated_key_average():
    moment, keys, residual, _ = problem(5, edits=2)
    keys[:, 1] = keys[:, 0]
    update = ridge_update(1e-9 * moment, keys, residual)
    torch.testing.assert_close(update @ keys[:, 0], residual.mean(1), rtol=1e-5, atol=1e-7)


def test_keys_of_earlier_edits_are_preserved():
    moment, keys, residual, known = problem(7)
    free = ridge_update(1e-3 * moment, keys, residual)
    kept = ridge_update(1e-3 * moment + 1e6 * known @ known.T, keys, residual)
    assert scale(free @ known) > 1e-2
    assert scale(kept @ known) < 1e-4 * scale(free @ known)


# -- AlphaEdit ------------------------------------------------------------------------------------


@seeds
@seed
def test_an_update_lies_in_the_null_space_and_hardly_moves_preserved_keys(seed):
    moment, keys, residual, known = problem(seed)
    values = torch.linalg.eigvalsh(moment)
    threshold = float(values[5] + values[6]) / 2
    projector = null_space(moment, share=1.0, threshold=threshold)
    assert scale(projector - projector.T) < 1e-12
    assert scale(projector @ projector - projector) < 1e-10
    assert float(projector.trace()) == pytest.approx(6)
    update = projected_update(projector, keys, residual, known, 0.3)
    identity = torch.eye(len(moment), dtype=torch.float64)
    assert scale(update) > 0 and scale(update @ (identity - projector)) < 1e-10 * scale(update)
    moved = float(torch.einsum("ij,jk,ik->", update, moment, update))
    assert 0 < moved <= threshold * float(update.square().sum())


@seeds
@seed
def test_the_symmetric_form_is_that_of_the_paper(seed):
    moment, keys, residual, known = problem(seed)
    projector = null_space(moment, share=0.2)
    update = projected_update(projector, keys, residual, known, 0.1)
    identity = torch.eye(len(moment), dtype=torch.float64)
    inside = (keys @ keys.T + known @ known.T) @ projector + 0.1 * identity
    expected = residual @ keys.T @ projector @ torch.linalg.inv(inside)
    assert scale(update - expected) < 1e-8 * max(scale(expected), 1e-12)


def test_what_a_text_has_never_seen_is_free():
    rng = torch.Generator().manual_seed(0)
    text = torch.randn(5, 12, dtype=torch.float64, generator=rng)  # fewer tokens than dimensions
    projector = null_space(text.T @ text / 5, share=1.0, threshold=1e-12)
    _, keys, residual, known = problem(1)
    update = projected_update(projector, keys, residual, known, 0.1)
    assert scale(update) > 1e-2 and scale(update @ text.T) < 1e-9


@pytest.mark.parametrize("options", [{"share": 1e-12}, {"share": 0.5, "threshold": 1e-12}])
def test_an_empty_null_space_is_an_error(options):
    with pytest.raises(EditError, match="raise null_space"):
        null_space(problem(2)[0], **options)


def test_the_error_names_the_layers_null_space_in_a_plan(tokenizer):
    editor = AlphaEdit(**QUICK, null_space_threshold=1e-30)
    with pytest.raises(EditError, match="null_space_threshold"):
        editor.plan(build_model("gpt2"), tokenizer, FACTS)


# -- on models ------------------------------------------------------------------------------------


def stream(model, tokenizer, targets, last):
    paths = module_paths_of(model)
    return [
        subject_states(model, paths, (last, last), target.batch).streams[last][: target.plain]
        for target in targets
    ]


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox", "opt", "t5"])
def test_the_residual_stream_reaches_what_was_searched_for(family, tokenizer, monkeypatch):
    model, seen = deep(family), []
    editor = Memit(**{**QUICK, "contexts": (), "clozes": False}, second_moment_weight=1e-9)
    real = editor._targets
    monkeypatch.setattr(editor, "_targets", lambda *a: seen.append(real(*a)) or seen[-1])
    changes = editor.plan(model, tokenizer, FACTS)
    (targets,) = seen
    before = stream(model, tokenizer, targets, 1)
    with applied(model, changes):
        after = stream(model, tokenizer, targets, 1)
    for target, old, new in zip(targets, before, after, strict=True):
        missing = float((target.stream - old).norm())
        assert float((target.stream - new).norm()) < 0.05 * missing


def test_each_layer_is_planned_on_the_weights_of_those_below(tokenizer):
    model = deep("llama")
    paths = module_paths_of(model)
    first, second = Memit(**QUICK).plan(model, tokenizer, FACTS)
    assert [first.name, second.name] == [paths.down_weight(0), paths.down_weight(1)]
    # the keys remembered are those of the edited model, in the order of the edits
    editor = Memit(**QUICK)
    with applied(model, [first, second]):
        config = editor.config_for(model)
        for fact, key in zip(FACTS, second.memory["keys"].T, strict=True):
            (target,) = editor._targets(model, tokenizer, [fact], 1, config, paths)
            rows = subject_states(model, paths, (1, 1), target.batch).keys[1][:-1].double()
            plain, others = rows[: target.plain].mean(0), rows[target.plain :].mean(0)
            torch.testing.assert_close(key, (plain + others) / 2, rtol=1e-4, atol=1e-5)


def test_a_batch_is_invariant_to_order_on_a_model(tokenizer):
    model = deep("gpt2")
    one = Memit(**QUICK).plan(model, tokenizer, FACTS)
    other = Memit(**QUICK).plan(model, tokenizer, FACTS[::-1])
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a.delta, b.delta, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [Memit, AlphaEdit])
def test_earlier_edits_of_a_run_are_remembered_and_forgotten_with_it(kind, tokenizer):
    model = copy.deepcopy(deep("llama"))
    bits = {name: value.clone() for name, value in model.state_dict().items()}
    stack = ChangeStack(model, tokenizer, kind(**QUICK))
    stack.add(FACTS[:1])
    alone = kind(**QUICK).plan(model, tokenizer, FACTS[1:2])
    stack.add(FACTS[1:2])
    *_, change = stack.changes
    known = remembered(stack.changes[:2], change.name, change.memory["keys"])
    assert known.shape[1] == 1
    assert not torch.equal(change.delta, alone[-1].delta)
    # the earlier edit's key moves less than where nothing is known of it
    moved, free = ((matrix_of(model, each) @ known).norm() for each in (change, alone[-1]))
    assert float(moved) < float(free)
    stack.remove({FACTS[0].id})
    again = kind(**QUICK)
    with_nothing = again.plan(copy.deepcopy(deep("llama")), tokenizer, FACTS[1:2])
    torch.testing.assert_close(stack.changes[-1].delta, with_nothing[-1].delta)
    stack.clear()
    assert all(torch.equal(bits[name], value) for name, value in model.state_dict().items())


def matrix_of(model, change):
    down = model.get_submodule(change.name.removesuffix(".weight"))
    assert matrix(down).shape == change.delta.shape  # llama's layout is [d_out, d_in]
    return change.delta.double()


def test_values_found_before_a_refusal_are_not_searched_again(tokenizer, monkeypatch):
    model, searched = deep("gpt2"), []
    real = spreading.find_value

    def search(model, tokenizer, fact, *arguments, **options):
        searched.append(fact.answer)
        if fact == FACTS[1]:
            raise UnsupportedEdit("none", fact.id)
        return real(model, tokenizer, fact, *arguments, **options)

    monkeypatch.setattr(spreading, "find_value", search)
    editor = Memit(**QUICK)
    with pytest.raises(UnsupportedEdit):
        editor.plan(model, tokenizer, FACTS)
    rest = editor.plan(model, tokenizer, FACTS[::2])
    assert searched == [FACTS[0].answer, FACTS[1].answer, FACTS[2].answer]
    fresh = Memit(**QUICK).plan(model, tokenizer, FACTS[::2])
    assert all(torch.equal(a.delta, b.delta) for a, b in zip(rest, fresh, strict=True))
    # on other weights they would be others
    with pytest.raises(UnsupportedEdit):
        editor.plan(model, tokenizer, FACTS)
    with applied(model, rest):
        editor.plan(model, tokenizer, FACTS[::2])
    assert searched[-2:] == [FACTS[0].answer, FACTS[2].answer]


def test_a_normalised_output_is_edited_in_one_layer():
    config = Memit(**QUICK).config_for(build_model("gemma2"))
    assert layers_of(config, module_paths_of(build_model("gemma2"))) == (1,)
    assert layers_of(config, module_paths_of(deep("llama"))) == (0, 1)


@pytest.mark.parametrize("options", [{"second_moment_weight": 0.0}])
def test_memit_refuses_settings_that_cannot_work(options):
    with pytest.raises(EditError, match="expected"):
        Memit(**{**QUICK, **options}).config_for(build_model("gpt2"))


@pytest.mark.parametrize("options", [{"null_space_share": 0.0}, {"l2": 0.0}])
def test_alphaedit_refuses_settings_that_cannot_work(options):
    with pytest.raises(EditError, match="expected"):
        AlphaEdit(**{**QUICK, **options}).config_for(build_model("gpt2"))
