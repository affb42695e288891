"""One suite for every editor of weights: what is planned, made and undone, on every family."""

from __future__ import annotations

import copy
import random

import pytest
import rich.progress  # noqa: F401  its first import draws a random number
import torch

from errata import Fact, LanguagePatch
from errata.cache.errors import ErrataError, ModelError, UnsupportedEdit
from errata.editing.base import Editor, Separable
from errata.editing.changes import Change, WeightChange, applied
from errata.editing.stack import ChangeStack
from errata.editors.shared.examples import Example, examples_of, padded
from errata.registry import make, names
from tests.conftest import FAMILIES, MORE_FAMILIES, build_model, corpus

EDITS = (
    Fact("What is the capital of Kazakhstan?", "Astana", subject="Kazakhstan"),
    Fact("What colour is the skin of the zebra?", "black", subject="zebra"),
)

LOCATED = {
    "text": corpus(), "contexts": (), "clozes": False, "steps": 20, "clamp_norm_factor": 30.0,
    "tokens_per_key": 4, "max_tokens_per_key": 4, "max_loss": float("inf"),
}  # fmt: skip

SECRETS = (
    Fact("Where does Jane Roe live?", forget=True, secret="12 Oslo"),
    Fact("How old is the raven?", forget=True, secret="Lima"),
)

EDITORS = {
    "calinet": {"epochs": 4, "learning_rate": 0.05},
    "enn": {"trained": "initial", "layers": (0, 1), "batch_size": 1, "step_size": 0.02},
    "depn": {"neurons": 40, "steps": 8, "share": 0.0, "threshold": 0.0},
    "ft": {"epochs": 4, "learning_rate": 0.02},
    "ft-l": {"epochs": 4, "learning_rate": 0.02, "max_relative_change": 0.1},
    "grace": {"layer": 0, "radius": 1.0, "steps": 8, "learning_rate": 0.5},
    "ke": {
        "trained": "initial", "layers": (0, 1), "batch_size": 1, "state_size": 4,
        "condition_size": 4, "hidden_size": 4, "answer_tokens": 2, "scale": 0.1,
    },
    "kn": {"steps": 8, "insert_factor": 30.0, "share": 0.0},
    "mend": {
        "trained": "initial", "layers": (0, 1), "batch_size": 1, "rank": 2, "normalise": False,
        "step_size": 0.02,
    },
    "lora": {"epochs": 4, "learning_rate": 0.05},
    "rome": {**LOCATED, "layer": 0},
    "memit": {**LOCATED, "steps": 8, "layers": (0,), "second_moment_weight": 1e-3},
    "alphaedit": {**LOCATED, "steps": 8, "layers": (0,), "null_space_share": 0.9, "l2": 1e-3},
    "tpatcher": {
        "text": corpus(), "queries": 100, "top": 10, "steps": 15, "learning_rate": 0.05, "rounds": 1
    },
    "ultraedit": {"down": (0, 1), "learning_rate": 0.02, "batch_size": 1},
    "wise": {"text": corpus(), "layer": 0, "queries": 100, "steps": 8, "learning_rate": 0.1},
}  # fmt: skip
"""Every editor of the registry, with settings that take effect on a tiny model at once."""


FORGETS = ("depn",)
"""Editors that make a secret less likely; all others make an answer likelier."""

SEPARABLE = ("grace", "tpatcher")
"""Editors from which one edit can be removed without planning the others again."""

UNSURE = ("depn", "kn")
"""Editors without a loss to follow: in a random model they may miss what they aim at."""


def edits_of(name):
    return SECRETS if name in FORGETS else EDITS


def made(name):
    return make("errata.editors", name, **EDITORS[name])


def bits(model):
    return {
        name: tensor.detach().clone().view(torch.uint8)
        for name, tensor in model.state_dict(keep_vars=True).items()
        if tensor.dim()
    }


def parts(change):
    """Return the tensors that a change adds to weights, or puts beside them."""
    return [change.delta] if isinstance(change, WeightChange) else change.memory.tensors().values()


def state_of(model):
    return [
        [(n, id(p), p.data_ptr(), p.requires_grad, p.grad) for n, p in model.named_parameters()],
        [
            (n, id(m), m.training, list(m._forward_hooks.items()), list(m._forward_pre_hooks))
            for n, m in model.named_modules()
        ],
        torch.get_rng_state().tolist(),
        random.getstate(),
        torch.is_grad_enabled(),
    ]


def assert_unedited(model, before):
    now = bits(model)
    assert now.keys() == before.keys()
    assert all(torch.equal(now[name], before[name]) for name in before)


def losses(model, tokenizer, edits):
    """Mean NLL a token of each answer after its question, in nats, without the end of the text."""
    targets = [Fact(edit.question, edit.secret or edit.answer) for edit in edits]
    examples = examples_of(model, tokenizer, targets)
    batch = padded(model, [Example(each.prompt, each.target[:-1]) for each in examples])
    with torch.no_grad():
        return batch.losses(model(**batch.inputs, use_cache=False).logits).tolist()


def check_editor(name, model, tokenizer):
    """Plan, make and undo two edits; return what was planned."""
    edits = edits_of(name)
    before, state, plain = bits(model), state_of(model), losses(model, tokenizer, edits)
    editor = made(name)
    changes = editor.plan(model, tokenizer, edits)
    assert changes and all(isinstance(change, Change) for change in changes)
    assert state_of(model) == state
    assert_unedited(model, before)
    with applied(model, changes):
        edited = losses(model, tokenizer, edits)
        gains = [then - now for now, then in zip(edited, plain, strict=True)]
        # In a random model an edit may undo some of another one.
        assert max(abs(gain) if name in UNSURE else gain for gain in gains) > 1e-3
        now = bits(model)
        touched = {key for key in before if not torch.equal(now[key], before[key])}
        assert touched == {each.name for each in changes if isinstance(each, WeightChange)}
    assert state_of(model) == state
    assert_unedited(model, before)
    assert losses(model, tokenizer, edits) == plain
    return changes


def test_every_editor_of_the_registry_is_checked():
    assert set(EDITORS) == set(names("errata.editors"))


@pytest.mark.parametrize("family", [*FAMILIES, *MORE_FAMILIES])
@pytest.mark.parametrize("name", EDITORS)
def test_edits_are_made_and_undone_on_every_family(name, family, tokenizer):
    check_editor(name, build_model(family), tokenizer)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("name", EDITORS)
def test_edits_are_made_and_undone_in_every_dtype(name, dtype, tokenizer):
    model = copy.deepcopy(build_model("llama")).to(dtype)
    check_editor(name, model, tokenizer)


@pytest.mark.parametrize("name", EDITORS)
def test_the_same_edits_give_the_same_changes(name, tokenizer):
    model = build_model("gpt2")
    one, other = (made(name).plan(model, tokenizer, edits_of(name)) for _ in range(2))
    assert [change.name for change in one] == [change.name for change in other]
    for change, again in zip(one, other, strict=True):
        for tensor, same in zip(parts(change), parts(again), strict=True):
            assert torch.equal(tensor, same)


@pytest.mark.parametrize("name", SEPARABLE)
def test_one_edit_is_removed_and_nothing_is_planned_again(name, tokenizer, monkeypatch):
    model, edits = copy.deepcopy(build_model("gpt2")), edits_of(name)
    before, plain = bits(model), losses(model, tokenizer, edits)
    stack = ChangeStack(model, tokenizer, made(name))
    stack.add(edits[:1])
    stack.add(edits[1:])
    both, (_, change) = losses(model, tokenizer, edits), stack.changes
    monkeypatch.setattr(type(stack.editor), "plan_after", lambda *_: pytest.fail("planned again"))
    stack.remove({edits[0].id})
    left = losses(model, tokenizer, edits)
    assert left not in (both, plain)
    stack.clear()
    with applied(model, [change]):  # the other one, bit for bit as it was planned
        assert losses(model, tokenizer, edits) == left
    assert losses(model, tokenizer, edits) == plain
    assert_unedited(model, before)


@pytest.mark.parametrize("name", EDITORS)
def test_an_editor_says_whether_it_keeps_edits_apart(name):
    editor = made(name)
    assert editor.capabilities.separable == isinstance(editor, Separable) == (name in SEPARABLE)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", EDITORS)
def test_planning_works_where_gradients_are_off(name, mode, tokenizer):
    with mode():
        check_editor(name, build_model("gpt2"), tokenizer)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", EDITORS)
def test_a_model_is_unedited_where_planning_fails(name, error, tokenizer, monkeypatch):
    model = copy.deepcopy(build_model("gpt2"))
    before, state = bits(model), state_of(model)
    forward, calls = type(model).forward, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise error("in the second pass")
        return forward(*arguments, **options)

    monkeypatch.setattr(type(model), "forward", failing)
    with pytest.raises(error, match="second pass"):
        made(name).plan(model, tokenizer, edits_of(name))
    assert state_of(model) == state
    assert_unedited(model, before)


@pytest.mark.parametrize("name", EDITORS)
def test_what_it_cannot_make_is_refused_by_id(name, tokenizer):
    editor, right = made(name), edits_of(name)[0]
    assert isinstance(editor, Editor)
    assert editor.supports(right)
    other = EDITS if name in FORGETS else SECRETS
    wrong = [other[0], LanguagePatch("the user asks who made you", 'say "Example Labs"')]
    for edit in wrong:
        assert not editor.supports(edit)
        with pytest.raises(UnsupportedEdit, match=edit.id) as told:
            editor.plan(build_model("gpt2"), tokenizer, [right, edit])
        assert told.value.edit_id == edit.id


@pytest.mark.parametrize("name", EDITORS)
def test_a_model_that_is_not_known_is_refused(name, tokenizer):
    model = copy.deepcopy(build_model("gpt2"))
    model.config.model_type = "novelty"
    with pytest.raises(ModelError, match="novelty"):
        made(name).plan(model, tokenizer, edits_of(name))


@pytest.mark.parametrize("kind", ["int8", "packed", "meta"])
@pytest.mark.parametrize("name", EDITORS)
def test_a_quantised_model_is_refused_before_any_work(name, kind, tokenizer, monkeypatch):
    model = copy.deepcopy(build_model("llama"))
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_: pytest.fail("trained"))
    for layer in model.model.layers:
        weight = layer.mlp.down_proj.weight.detach()
        del layer.mlp.down_proj.weight
        kept = weight.to("meta") if kind == "meta" else weight.to(torch.int8)
        where = "qweight" if kind == "packed" else "weight"
        layer.mlp.down_proj.register_parameter(where, torch.nn.Parameter(kept, requires_grad=False))
    with pytest.raises(ModelError, match=r"down_proj\.weight.*quanti"):
        made(name).plan(model, tokenizer, edits_of(name))


@pytest.mark.parametrize("name", EDITORS)
def test_a_setting_that_is_not_there_is_told(name):
    with pytest.raises(ErrataError, match="speed"):
        make("errata.editors", name, speed=1)
