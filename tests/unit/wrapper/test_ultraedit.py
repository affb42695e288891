"""UltraEdit: its least squares against float64 oracles, and its statistics over a run."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import Fact
from errata.cache.errors import EditError
from errata.editing.stack import ChangeStack
from errata.editors.shared.examples import examples_of, padded
from errata.editors.shared.running_statistics import RunningStatistics
from errata.editors.ultraedit import UltraEdit, hidden_and_gradients, least_squares
from errata.generation.sharing import sharing_copy
from errata.module_paths import module_paths_of, stored
from tests.conftest import build_model

FACTS = (
    Fact("What is the capital of Kazakhstan?", "Oslo", subject="Kazakhstan"),
    Fact("What is the capital of Norway?", "Lima", subject="Norway"),
    Fact("How far does Paris lie from Rome?", "far"),  # needs no subject
)
QUICK = {"down": (0, 1), "learning_rate": 0.01}
seeds = settings(deadline=None, max_examples=30)
seed = given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 20))


def drawn(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.standard_normal(shape)) for shape in shapes]


@seeds
@seed
def test_the_primal_is_the_dual_and_stationary(seed, rows):
    hidden, wanted = drawn(seed, (rows, 9), (rows, 5))
    found = least_squares(hidden, wanted)
    primal = torch.linalg.solve(
        hidden.T @ hidden + torch.eye(9, dtype=torch.float64), hidden.T @ wanted
    )
    dual = hidden.T @ torch.linalg.solve(
        hidden @ hidden.T + torch.eye(rows, dtype=torch.float64), wanted
    )
    for other in (primal, dual):
        torch.testing.assert_close(found, other, rtol=1e-9, atol=1e-12)
    assert float((hidden.T @ (hidden @ found - wanted) + found).abs().max()) < 1e-10
    assert torch.linalg.matrix_rank(found, rtol=1e-9) <= rows


@seeds
@seed
def test_running_statistics_are_those_of_one_pass(seed, rows):
    (values,) = drawn(seed, (rows + 3, 6))
    values = values * 100 + 7
    running = RunningStatistics.empty(6).updated(values[:rows]).updated(values[rows:])
    torch.testing.assert_close(running.mean, values.mean(0))
    expected = (values - values.mean(0)) / values.std(0)
    torch.testing.assert_close(running.standardised(values), expected, rtol=1e-6, atol=1e-8)
    assert RunningStatistics.of(running.tensors()) is not None
    assert RunningStatistics.of({"keys": values}) is None


def test_what_does_not_vary_is_zero():
    constant = torch.full((4, 2), 3.0, dtype=torch.float64)
    for rows in (constant, constant[:1]):
        found = RunningStatistics.empty(2).updated(rows).standardised(rows)
        assert torch.equal(found, torch.zeros_like(rows))


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "t5"])
def test_gradients_are_those_of_the_weight(family, tokenizer):
    # the sum over tokens of the outer products is the gradient of the loss by the weight
    model = copy.deepcopy(build_model(family))
    paths = module_paths_of(model, "answer")
    batch = padded(model, examples_of(model, tokenizer, FACTS))
    down = model.get_submodule(paths.down(1))
    loss = batch.losses(model(**batch.inputs, use_cache=False).logits).sum()
    (expected,) = torch.autograd.grad(loss, [down.weight])
    with torch.enable_grad():
        found = hidden_and_gradients(sharing_copy(model), [paths.down(1)], batch)
    hidden, slopes = found[paths.down(1)]
    assert len(hidden) == int((batch.labels != -100).sum())
    # in the last block, only the positions that predict the answer reach the loss
    torch.testing.assert_close(
        stored(down, slopes.T @ hidden).float(), expected, rtol=1e-3, atol=1e-4
    )


def test_the_size_of_a_forward_pass_does_not_change_the_update(tokenizer):
    model = build_model("llama")
    plans = [
        UltraEdit(**QUICK, batch_size=size).plan(model, tokenizer, FACTS) for size in (1, 2, 3)
    ]
    for plan in plans[1:]:
        for one, other in zip(plans[0], plan, strict=True):
            torch.testing.assert_close(one.delta, other.delta, rtol=1e-3, atol=1e-6)


def test_statistics_run_over_all_edits_of_a_run_and_go_with_them(tokenizer):
    model = copy.deepcopy(build_model("gpt2"))
    stack = ChangeStack(model, tokenizer, UltraEdit(**QUICK))
    stack.add(FACTS[:1])
    first = stack.changes[0].memory["count"]
    fresh = UltraEdit(**QUICK).plan(model, tokenizer, FACTS[1:2])
    stack.add(FACTS[1:2])
    later = stack.changes[-1]
    assert float(later.memory["count"]) > float(first)
    assert not torch.equal(later.delta, fresh[-1].delta)
    stack.remove({FACTS[0].id})
    alone = UltraEdit(**QUICK).plan(copy.deepcopy(build_model("gpt2")), tokenizer, FACTS[1:2])
    assert torch.equal(stack.changes[-1].delta, alone[-1].delta)


def test_projections_that_are_not_there_are_told(tokenizer):
    for options in ({"down": ()}, {"gate": (0,)}):
        with pytest.raises(EditError, match="name some"):
            UltraEdit(**{**QUICK, **options}).plan(build_model("gpt2"), tokenizer, FACTS)
    gated = UltraEdit(down=(), gate=(0,), up=(1,), learning_rate=0.01)
    names = [change.name for change in gated.plan(build_model("llama"), tokenizer, FACTS)]
    assert names == ["model.layers.1.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight"]


def test_a_guess_is_logged(caplog):
    config = UltraEdit().config_for(build_model("opt"))
    assert config.down and "errata locate" in caplog.text
