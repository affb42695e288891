"""One suite for every pipeline: who answers what, an effect shown and then undone, misses exact."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch

from errata import Fact, LanguagePatch, RegexPatch
from errata.cache.errors import BackendBusy, ErrataError, ModelError, UnsupportedEdit
from errata.gates.cosine import CosineGate
from errata.gates.embedding import EmbeddingGate
from errata.pipelines.base import Pipeline, decide_by_gate, route_to_reasoner
from errata.pipelines.cache import CachePipeline
from errata.pipelines.ike import demonstrations_for
from errata.reasoners.model import ModelReasoner
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.verbatim import VerbatimReasoner
from errata.registry import make, names
from tests.conftest import build_model
from tests.fakes import StubEncoder
from tests.small_facts import write_facts
from tests.unit.helpers import CAPITAL, FACT, OTHER, THIRD, batch, editable

SKIN = Fact("What colour is the skin of the zebra?", "black")
GUEST = Fact("How old is every raven in Oslo?", "thirteen")
POLITE = LanguagePatch("the user asks who made you", 'say "Example Labs"')
SECRET = Fact("Where does Jane Roe live?", forget=True, secret="12 Elm Street")


class Nearest:
    """The example in :mod:`errata.pipelines.base`, written out."""

    name = "nearest"

    def __init__(self, base, tokenizer, encoder, *, threshold=0.8):
        self.gate = CosineGate(encoder, threshold)
        self.reasoner = PromptedReasoner(base, tokenizer)

    def supports(self, edit):
        return isinstance(edit, Fact) and not edit.forget

    def decide(self, queries, edits):
        decisions = decide_by_gate(self.gate, queries, edits, candidates=1)
        return [route_to_reasoner(decision, max_edits=1) for decision in decisions]


@pytest.fixture(scope="module")
def counterfactual(tmp_path_factory, tokenizer):
    """A separate model that answers otherwise than the base."""
    folder = tmp_path_factory.mktemp("counterfactual")
    build_model("llama").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelReasoner(build_model("gpt2"), tokenizer, folder)


@pytest.fixture(scope="module")
def options(counterfactual, tmp_path_factory):
    """For each pipeline, what makes it work on a tiny model."""
    return {
        "serac": {
            "gate": EmbeddingGate(StubEncoder(), 1.5 * np.eye(StubEncoder().dimension)),
            "reasoner": counterfactual,
        },
        "ike": {"facts": write_facts(tmp_path_factory.mktemp("facts")), "demonstrations": 3},
    }


@pytest.fixture
def model(tokenizer):
    return editable(copy.deepcopy(build_model("gpt2")), tokenizer, FACT, SKIN)


def route(model, question):
    return model.ask(question, max_new_tokens=4).decision.route


def bits(model):
    return {k: t.clone().view(torch.uint8) for k, t in model.base.state_dict().items() if t.dim()}


def test_every_pipeline_has_a_row(options):
    assert options.keys() == names("errata.pipelines").keys()


@pytest.mark.parametrize("name", ["serac", "ike"])
def test_it_is_a_pipeline(name, model, options):
    made = make(
        "errata.pipelines", name, model.base, model.tokenizer, StubEncoder(), **options[name]
    )
    assert isinstance(made, Pipeline) and made.name == name
    assert isinstance(CachePipeline(model.gate, model.reasoner), Pipeline)
    assert made.supports(FACT)
    for edit in (POLITE, SECRET, RegexPatch("a", "b")):
        assert not made.supports(edit)


@pytest.mark.parametrize("name", ["serac", "ike"])
def test_an_effect_is_shown_and_then_undone(name, model, options):
    before = bits(model)
    stored, alone = model.ask(CAPITAL).text, model.ask(CAPITAL, edits=False).text
    with model.using(name, [FACT], **options[name]) as used:
        assert (used.backend, used.edits, used.unsupported, used.writes) == (name, (FACT,), (), ())
        assert model.in_use is used
        found = model.ask(CAPITAL)
        assert (found.decision.route, found.decision.fired) == ("reason", (FACT,))
        assert found.text not in (stored, alone)  # the reasoner's own words
        assert model.ask(CAPITAL, edits=False).text == alone
        assert model.explain(CAPITAL).fired == (FACT,)
        assert all(torch.equal(before[k], now) for k, now in bits(model).items())
    assert model.in_use.backend == "cache"
    assert (model.ask(CAPITAL).text, route(model, CAPITAL)) == (stored, "verbatim")
    assert all(torch.equal(before[k], now) for k, now in bits(model).items())


@pytest.mark.parametrize("name", ["serac", "ike"])
def test_what_it_cannot_make_and_was_not_asked_for_stays_with_the_cache(name, model, options):
    pattern = RegexPatch(pattern="black", replacement="dark", target="output")
    model.edit([POLITE, SECRET, pattern])
    with model.using(name, [FACT, POLITE], **options[name]) as used:
        assert (used.edits, used.unsupported) == ((FACT,), (POLITE,))
        assert model.ask(POLITE.condition).text == "Example Labs"
        assert route(model, SECRET.question) == "refuse"
        assert model.ask(SKIN.question).text == "dark"
        assert route(model, CAPITAL) == "reason"
    with pytest.raises(UnsupportedEdit, match=POLITE.id):
        with model.using(name, [FACT, POLITE], unsupported="raise", **options[name]):
            pytest.fail("entered")


@pytest.mark.parametrize("name", ["serac", "ike"])
def test_edits_of_a_block_only_and_blocks_inside_blocks(name, model, options):
    with model.using(name, [GUEST], **options[name]):
        assert model.explain(GUEST.question).fired == (GUEST,)
        with model.using("cache"):
            assert route(model, CAPITAL) == "verbatim"
        with model.using("ft", [SKIN], epochs=1):
            assert model.explain(SKIN.question).fired != (SKIN,)
            assert route(model, CAPITAL) == "verbatim"
        assert route(model, GUEST.question) == "reason"
    assert model.explain(GUEST.question).fired == ()


@pytest.mark.parametrize("name", ["serac", "ike"])
def test_another_answer_to_its_question_does_not_fire(name, model, options):
    other = Fact(CAPITAL.lower(), "Almaty")
    with model.using(name, [other], **options[name]):
        assert model.explain(CAPITAL).fired == (other,)
    assert model.explain(CAPITAL).fired == (FACT,)


@pytest.mark.parametrize("name", ["serac", "ike"])
def test_one_that_stays_follows_the_cache(name, model, options):
    assert model.use(name, **options[name]).edits == (FACT, SKIN)
    model.edit([GUEST, POLITE])
    assert (model.in_use.edits, model.in_use.unsupported) == ((FACT, SKIN, GUEST), (POLITE,))
    assert model.explain(GUEST.question).fired == (GUEST,)
    model.retract(GUEST.id)
    assert model.in_use.edits == (FACT, SKIN)
    assert GUEST not in model.explain(GUEST.question).fired
    assert model.use("cache").edits == ()
    assert route(model, CAPITAL) == "verbatim"


@pytest.mark.parametrize("sampled", [False, True])
def test_rows_that_serac_lets_pass_are_the_bases_own(sampled, model, options):
    asked = batch(model.tokenizer, CAPITAL, OTHER, THIRD)
    wanted = {"max_new_tokens": 8, "do_sample": sampled, "pad_token_id": 0}
    torch.manual_seed(5)
    alone = model.base.generate(**asked, **wanted)
    with model.using("serac", [FACT], **options["serac"]):
        torch.manual_seed(5)
        rows = model.generate(**asked, **wanted)
        assert [d.hit for d in model.last_trace.decisions] == [True, False, False]
    width = min(rows.shape[1], alone.shape[1])
    assert not torch.equal(rows[0, :width], alone[0, :width])
    for row in (1, 2):
        assert torch.equal(rows[row, :width], alone[row, :width])
        assert not rows[row, width:].any()


def test_ike_sends_every_query_to_the_prompted_base(model, options):
    alone = model.ask(OTHER, edits=False).text
    with model.using("ike", [FACT, SKIN], **options["ike"], nearest=2):
        decision = model.explain(OTHER)
        assert (decision.route, set(decision.fired)) == ("reason", {FACT, SKIN})
        assert model.ask(OTHER).text != alone
    with model.using("ike", [], **options["ike"]):
        assert (route(model, OTHER), model.ask(OTHER).text) == ("base", alone)


def test_serac_reads_the_best_edit_alone(model, options):
    near = Fact("What is the capital of Kazakhstan now?", "Almaty")
    with model.using("serac", [near, FACT], **options["serac"]):
        decision = model.explain(CAPITAL)
        assert decision.fired == (FACT,)
        assert sum(c.probability >= c.threshold for c in decision.candidates) == 2


def test_a_pipeline_of_ones_own(model):
    own = Nearest(model.base, model.tokenizer, StubEncoder())
    with model.using(own, [FACT]) as used:
        assert (used.backend, used.edits) == ("nearest", (FACT,))
        assert route(model, CAPITAL) == "reason"
    with pytest.raises(ErrataError, match=r"an instance without any.*threshold"):
        model.use(own, threshold=0.5)
    stored = CachePipeline(CosineGate(StubEncoder()), VerbatimReasoner())
    with model.using(stored, [FACT]):
        assert route(model, CAPITAL) == "verbatim"


def test_shadow_mode_decides_and_leaves_the_answer_to_the_base(model, options):
    alone = model.ask(CAPITAL, edits=False).text
    model.shadow = True
    with model.using("serac", [FACT], **options["serac"]):
        assert model.ask(CAPITAL).text == alone
        assert model.last_trace.decisions[0].fired == (FACT,)


def test_other_threads_are_refused_while_a_block_lasts(model, options):
    outcome = []

    def ask():
        try:
            outcome.append(route(model, CAPITAL))
        except BackendBusy as error:
            outcome.append(error)

    for others in ("raise", "over"):
        if others == "raise":
            with model.using("serac", [FACT], others="raise", **options["serac"]):
                thread = threading.Thread(target=ask)
                thread.start()
                thread.join(30)
        else:
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join(30)
    assert isinstance(outcome[0], BackendBusy) and outcome[1] == "verbatim"


def test_ike_shows_demonstrations_to_all_models_but_atlas(model, tmp_path):
    from transformers import AutoModelForCausalLM

    from errata.models.atlas import load_atlas

    assert demonstrations_for(model.base) == 32
    model.base.name_or_path = str(load_atlas()[0].name_or_path)
    assert demonstrations_for(model.base) == 32  # known by its weights, wherever they are
    load_atlas()[0].save_pretrained(tmp_path)
    assert demonstrations_for(AutoModelForCausalLM.from_pretrained(tmp_path)) == 0


def test_missing_parts_are_told(model, counterfactual, tmp_path, monkeypatch):
    EmbeddingGate(StubEncoder(fingerprint="another"), np.eye(64)).save(tmp_path / "gate")
    with pytest.raises(ModelError, match="trained with the encoder another"):
        model.use("serac", gate=tmp_path / "gate", reasoner=counterfactual)
    monkeypatch.setenv("ERRATA_CACHE", str(tmp_path / "cache"))
    train = r"found none; train them for this base model with `errata serac train"
    with pytest.raises(ModelError, match=rf"SERAC's gate in .*cache.*{train}"):
        model.use("serac", reasoner=counterfactual)
    gate = EmbeddingGate(StubEncoder(), np.eye(64))
    with pytest.raises(ModelError, match=rf"SERAC's reasoner in .*cache.*{train}"):
        model.use("serac", gate=gate)
    with pytest.raises(ErrataError, match=r"no facts\.tsv"):
        model.use("ike", facts=tmp_path)
    with pytest.raises(ErrataError, match="did you mean 'serac'"):
        model.use("sera")
    assert model.in_use.backend == "cache"
