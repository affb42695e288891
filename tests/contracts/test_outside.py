"""Components of another distribution, found by entry points, keep every contract.

``tests/plugins`` is a folder as pip would install it: modules and a ``dist-info``. Each contract's
own tests run over the component that :mod:`errata.registry` makes by its name.
"""

from __future__ import annotations

import copy
import inspect
from pathlib import Path

import pytest

from errata import EditableModel, Fact
from errata.cache.encoder import Encoder
from errata.cache.errors import ErrataError
from errata.cache.index.base import VectorIndex
from errata.gates.load import choose_gate
from errata.registry import load, make, names
from tests.conftest import build_model
from tests.contracts import test_editor, test_gate, test_index, test_reasoner, test_resolver
from tests.fakes import StubEncoder

PLUGINS = Path(__file__).parent.parent / "plugins"
FACT = Fact("What is the capital of Kazakhstan?", "Astana", subject="Kazakhstan")
COLON = "Hey you over there: What is the capital of Kazakhstan?"
PLUGIN_NAMES = {
    "errata.editors": "acme-nudge",
    "errata.encoders": "acme-letters",
    "errata.gates": "acme-overlap",
    "errata.indexes": "acme-table",
    "errata.reasoners": "acme-quote",
    "errata.resolvers": "acme-colon",
}


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Put the other distribution on the path, as if it were installed."""
    monkeypatch.syspath_prepend(str(PLUGINS))


def checks(module, *fixtures):
    """Return the tests of a contract that need these fixtures and no other ones."""
    tests = {name: one for name, one in vars(module).items() if name.startswith("test_")}
    fitting = [
        one
        for one in tests.values()
        if inspect.isfunction(one)
        and fixtures[0] in inspect.signature(one).parameters
        and set(inspect.signature(one).parameters) <= set(fixtures)
    ]
    assert len(fitting) >= 4
    return pytest.mark.parametrize("check", fitting, ids=[one.__name__ for one in fitting])


def run(check, **fixtures):
    check(**{name: fixtures[name] for name in inspect.signature(check).parameters})


@pytest.mark.parametrize(("group", "name"), PLUGIN_NAMES.items())
def test_it_is_found_by_its_name_only_where_it_is_installed(group, name, monkeypatch):
    assert name in names(group)
    assert Path(inspect.getfile(load(group, name))).parent == PLUGINS
    monkeypatch.undo()
    assert name not in names(group)
    with pytest.raises(ErrataError, match=f"expected one of .*{group}, found '{name}'"):
        load(group, name)


@checks(test_gate, "make")
def test_a_gate(check):
    run(check, make=lambda **options: make("errata.gates", "acme-overlap", None, **options))


@checks(test_index, "make", "tmp_path")
def test_an_index(check, tmp_path):
    run(
        check,
        make=lambda: make("errata.indexes", "acme-table", test_index.WIDTH),
        tmp_path=tmp_path,
    )


@checks(test_reasoner, "reasoner", "tokenizer")
def test_a_reasoner(check, models, tokenizer):
    made = make("errata.reasoners", "acme-quote", models("gpt2"), tokenizer)
    run(check, reasoner=made, tokenizer=tokenizer)


@checks(test_resolver, "resolver")
def test_a_resolver(check):
    run(check, resolver=make("errata.resolvers", "acme-colon"))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_editor(family, tokenizer, monkeypatch):
    monkeypatch.setitem(test_editor.EDITORS, "acme-nudge", {})
    test_editor.check_editor("acme-nudge", build_model(family), tokenizer)


@pytest.mark.parametrize(
    "check",
    [
        test_editor.test_the_same_edits_give_the_same_changes,
        test_editor.test_what_it_cannot_make_is_refused_by_id,
        test_editor.test_a_model_that_is_not_known_is_refused,
    ],
)
def test_an_editor_further(check, tokenizer, monkeypatch):
    monkeypatch.setitem(test_editor.EDITORS, "acme-nudge", {})
    check("acme-nudge", tokenizer)


def test_a_model_made_of_them_by_their_names(tokenizer):
    base = copy.deepcopy(build_model("gpt2"))
    with EditableModel(
        base, tokenizer, gate="acme-overlap", reasoner="acme-quote", resolvers=["acme-colon"],
        encoder="acme-letters", index="acme-table",
    ) as model:  # fmt: skip
        model.edit([FACT, Fact("Where do herons sleep?", "in trees")])
        assert isinstance(model.encoder, Encoder)
        found = model.explain(COLON)
        assert (found.fired, found.changed_by) == ((FACT,), ("acme-colon",))
        assert model.ask(COLON).text == "Astana"
        assert not model.explain("Who painted the Mona Lisa?").hit
        with model.using("acme-nudge", [FACT]) as used:
            assert (used.backend, used.edits) == ("acme-nudge", (FACT,))


def test_the_same_model_without_the_resolver(tokenizer):
    with EditableModel(
        build_model("gpt2"), tokenizer, gate="acme-overlap", resolvers=[], encoder=StubEncoder()
    ) as model:
        model.edit(FACT)
        decision = model.explain(COLON)
        assert (decision.hit, decision.resolvers) == (False, ())
        assert model.explain(FACT.question).fired == (FACT,)


def test_unknown_names_list_the_known_ones(tokenizer):
    for option in ({"resolvers": ["alias"]}, {"index": "fais"}):
        with pytest.raises(ErrataError, match=r"expected one of \[.*did you mean"):
            EditableModel(
                build_model("gpt2"), tokenizer, gate="cosine", encoder=StubEncoder(), **option
            )
    assert choose_gate("acme-overlap", StubEncoder()).threshold == 0.8
    assert isinstance(load("errata.indexes", "faiss")(4), VectorIndex)
