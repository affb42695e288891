"""Changes of a model are made and undone exactly, whatever happens in between."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from errata.cache.errors import EditError, ModelError
from errata.editing import changes as module
from errata.editing.changes import HookChange, ModuleChange, WeightChange, applied
from errata.generation.sharing import sharing_copy
from tests.unit.helpers import interrupted

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INPUT = torch.tensor([[1, 2, 3]])


class Small(nn.Module):
    """An embedding, a projection, a head that is tied to the embedding, a buffer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.projection = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, ids):
        return self.head(self.norm(self.projection(self.embedding(ids))) * self.scale)


class Shifted(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, values):
        return self.inner(values) + 1


def small(dtype=torch.float32):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Small().to(dtype).eval()


def update(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


CHANGES = {
    "weight": WeightChange("projection.weight", update(4, 4)),
    "tied weight": WeightChange("head.weight", update(7, 4)),
    "module": ModuleChange("norm", Shifted),
    "hook": HookChange("embedding", lambda module, args, output: output * 2),
}
ORDERS = [order for n in (1, 2, 3) for order in itertools.permutations(CHANGES, n)]


def state_of(model):
    """Everything that has to be what it was: bits, identity, flags, modules and hooks."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    bits = {
        name: tensor.detach().clone().view(torch.uint8) for name, tensor in tensors if tensor.dim()
    }
    rest = [
        [(name, id(tensor), tensor.data_ptr(), tensor.requires_grad) for name, tensor in tensors],
        [(name, id(each), each.training) for name, each in model.named_modules()],
        [(name, list(each._forward_hooks)) for name, each in model.named_modules()],
        [(name, float(buffer)) for name, buffer in model.named_buffers() if not buffer.dim()],
    ]
    return bits, rest


def assert_same(model, before):
    bits, rest = state_of(model)
    assert rest == before[1]
    assert bits.keys() == before[0].keys()
    assert all(torch.equal(bits[name], before[0][name]) for name in bits)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("error", [None, RuntimeError, BaseException, KeyboardInterrupt])
def test_every_order_of_changes_is_undone_to_the_bit(dtype, error):
    model = small(dtype)
    plain = model(INPUT)
    for order in ORDERS:
        before = state_of(model)
        try:
            with applied(model, [CHANGES[name] for name in order]):
                assert not torch.equal(model(INPUT), plain), order
                if error is not None:
                    raise error("inside")
        except BaseException as raised:
            assert error is not None and type(raised) is error
        assert_same(model, before)
        assert torch.equal(model(INPUT), plain)


def test_a_block_inside_a_block_is_undone_by_itself():
    model = small()
    before = state_of(model)
    with applied(model, [CHANGES["module"]]):
        between, plain = state_of(model), model(INPUT)
        with applied(model, [WeightChange("norm.inner.weight", update(4))]):
            assert not torch.equal(model(INPUT), plain)
        assert_same(model, between)
    assert_same(model, before)


def test_a_tied_weight_changes_under_both_names_and_stays_tied():
    model = small()
    before = model.embedding.weight.detach().clone()
    with applied(model, [CHANGES["tied weight"]]):
        assert model.embedding.weight is model.head.weight
        moved = model.embedding.weight.double() - before.double()
        assert torch.allclose(moved, update(7, 4), atol=1e-6)
    assert torch.equal(model.embedding.weight, before)


def _enter(model, wanted):
    with applied(model, wanted):
        pass


@pytest.mark.parametrize("names", [("weight",), ("weight", "tied weight"), ("module", "hook")])
def test_an_interrupt_on_any_line_undoes_everything(names):
    """Run with an interrupt at the first line of changes.py, then at the second, and so on."""
    model = small()
    before = state_of(model)
    wanted = [CHANGES[name] for name in names]
    stop = 1
    while interrupted(lambda: _enter(model, wanted), stop, {module.__file__}):
        assert_same(model, before)
        stop += 1
    assert stop > 20
    assert_same(model, before)


def test_a_failure_at_a_later_change_undoes_the_earlier_ones():
    model = small()
    before = state_of(model)

    def refuse(inner):
        assert not torch.equal(
            model.embedding.weight.view(torch.uint8), before[0]["embedding.weight"]
        )
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        with applied(model, [CHANGES["tied weight"], ModuleChange("norm", refuse)]):
            pytest.fail("entered")
    assert_same(model, before)


@pytest.mark.parametrize(
    ("wrong", "error", "told"),
    [
        (WeightChange("nothing.weight", update(4, 4)), ModelError, "nothing.weight"),
        (WeightChange("projection.weight", update(4, 5)), EditError, r"\[4, 4\], found \[4, 5\]"),
        (WeightChange("projection.weight", update(4, 4) * float("nan")), EditError, "finite"),
        (WeightChange("projection.weight", torch.ones(4, 4).long()), EditError, "finite"),
        (WeightChange("projection.weight", 1e39 * update(4, 4)), EditError, "float32"),
        (ModuleChange("nowhere", Shifted), ModelError, "nowhere"),
        (ModuleChange("", Shifted), ModelError, "inside the model"),
        (HookChange("nowhere", lambda *a: None), ModelError, "nowhere"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_the_first_write(wrong, error, told):
    model = small()
    version = model.embedding.weight._version
    with pytest.raises(error, match=told):
        with applied(model, [CHANGES["tied weight"], wrong]):
            pytest.fail("entered")
    assert model.embedding.weight._version == version


@pytest.mark.parametrize("kind", ["int8", "float8", "subclass", "meta"])
def test_quantised_parameters_are_refused(kind):
    class Packed(torch.Tensor):
        pass

    weight = torch.zeros(4, 4)
    model = small()
    model.projection.weight = nn.Parameter(
        {
            "int8": weight.to(torch.int8),
            "float8": weight.to(torch.float8_e4m3fn),
            "subclass": weight.as_subclass(Packed),
            "meta": weight.to("meta"),
        }[kind],
        requires_grad=False,
    )
    with pytest.raises(ModelError, match="quantised"):
        with applied(model, [CHANGES["weight"]]):
            pytest.fail("entered")


def test_what_writing_loses_is_told():
    delta = update(4, 4) * 1e-3
    with applied(small(torch.float32), [WeightChange("projection.weight", delta)]) as (exact,):
        assert (exact.name, exact.dtype) == ("projection.weight", "float32")
        assert exact.norm == pytest.approx(float(delta.norm()))
        assert exact.relative_error < 1e-4
    model = small(torch.bfloat16)
    before = model.projection.weight.detach().double()
    with applied(model, [WeightChange("projection.weight", delta)]) as (rounded,):
        made = model.projection.weight.detach().double() - before
        assert rounded.relative_error == pytest.approx(
            float((made - delta).norm() / delta.norm()), rel=1e-3
        )
        assert rounded.relative_error > 0.05


def test_a_hook_of_somebody_else_survives():
    model = small()
    handle = model.embedding.register_forward_hook(lambda *a: None)
    with applied(model, [CHANGES["hook"]]):
        assert len(model.embedding._forward_hooks) == 2
    assert list(model.embedding._forward_hooks) == [handle.id]


def test_a_module_replaced_meanwhile_is_put_back_and_told():
    model = small()
    before = state_of(model)
    with pytest.raises(EditError, match="found Identity"):
        with applied(model, [CHANGES["module"]]):
            model.norm = nn.Identity()
    assert_same(model, before)


def test_changes_are_made_under_no_grad_and_inference_mode():
    for mode in (torch.no_grad, torch.inference_mode):
        model = small()
        before = state_of(model)
        with mode(), applied(model, [CHANGES["weight"]]):
            assert not torch.equal(
                model.projection.weight.view(torch.uint8), before[0]["projection.weight"]
            )
        assert_same(model, before)


def test_a_sharing_copy_shares_tensors_and_nothing_else():
    model = small()
    before = state_of(model)
    own = sharing_copy(model)
    assert own.projection.weight.data_ptr() == model.projection.weight.data_ptr()
    assert own.head.weight is own.embedding.weight
    assert own.scale is model.scale
    assert torch.equal(own(INPUT), model(INPUT))
    own.projection.weight.requires_grad_(True)
    own.projection.register_forward_hook(lambda module, args, output: output + 1)
    own.head = nn.Identity()
    assert own(INPUT).shape != model(INPUT).shape
    assert_same(model, before)
    alone = copy.deepcopy(model)
    assert alone.projection.weight.data_ptr() != model.projection.weight.data_ptr()
