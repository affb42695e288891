"""Ctrl-C at any line of what puts edits into weights leaves weights, bookkeeping and lock whole."""

from __future__ import annotations

import copy

import pytest
import torch

from errata.editing import backends, changes, lock, stack
from tests.conftest import build_model
from tests.unit.helpers import FACT, editable, interrupted
from tests.unit.wrapper.test_backends import RAVENS, SKIN, WEIGHT, Nudge, weight

WATCHED = {module.__file__ for module in (backends, changes, lock, stack)}


def one(model):
    with model.using(Nudge(), [FACT]):
        pass


def nested(model):
    with model.using(Nudge(), [SKIN]), model.using(Nudge(), [RAVENS, FACT]):
        pass


def resident(model):
    model.use(Nudge())
    model.edit(RAVENS)
    model.retract(SKIN.id)
    model.use("cache")


def expected(plain, held):
    """The weight with these edits in it, as Nudge plans them one by one."""
    base, found = copy.deepcopy(build_model("gpt2")), plain
    for edit in held:
        with changes.applied(base, Nudge().plan(base, None, [edit])):
            found = base.get_parameter(WEIGHT).detach().clone()
        base.get_parameter(WEIGHT).data.copy_(found)
    return found


@pytest.mark.parametrize("action", [one, nested, resident])
def test_an_interrupt_on_any_line_leaves_all_of_a_piece(action, tokenizer, monkeypatch):
    # hundreds of runs: the edited model is not asked each time which edits hold
    monkeypatch.setattr(backends, "not_taken", lambda *arguments: ())
    base = copy.deepcopy(build_model("gpt2"))
    plain = base.get_parameter(WEIGHT).detach().clone()
    stop, more = 1, True
    while more:
        model = editable(base, tokenizer, FACT, SKIN)
        more = interrupted(lambda model=model: action(model), stop, WATCHED)
        held = model.in_use.edits
        assert held == () or action is resident, stop
        assert torch.allclose(weight(model), expected(plain, held), atol=1e-4), (stop, held)
        assert (model.backends.lock._owner, +model.backends.lock._users) == (None, {}), stop
        model.use("cache")
        assert torch.equal(weight(model), plain), stop
        model.close()
        stop += 1
    assert stop > 100
