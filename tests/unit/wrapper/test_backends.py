"""Backends behind the wrapper: who answers what, and weights that are what they were."""

from __future__ import annotations

import copy
import threading

import pytest
import torch

from errata import Fact, LanguagePatch, RegexPatch
from errata.cache.errors import BackendBusy, EditError, ErrataError, UnsupportedEdit
from errata.editing.base import Capabilities
from errata.editing.changes import WeightChange
from errata.editing.lock import ModelLock
from tests.conftest import build_model
from tests.unit.helpers import CAPITAL, FACT, OTHER, editable

SKIN = Fact("What colour is the skin of the zebra?", "black")
RAVENS = Fact("How old is every raven in Oslo?", "thirteen")
POLITE = LanguagePatch("the user asks who made you", 'say "Example Labs"')
WEIGHT = "transformer.h.1.mlp.c_proj.weight"


class Nudge:
    """A quick editor: each edit adds to a weight what depends on the weight and on the edit."""

    name = "nudge"
    capabilities = Capabilities()

    def __init__(self, together=False, refused=(), failing=()):
        self.capabilities = Capabilities(together=together)
        self.refused, self.failing, self.planned = set(refused), set(failing), []

    def supports(self, edit):
        return isinstance(edit, Fact) and not edit.forget

    def plan(self, model, tokenizer, edits):
        self.planned.append([edit.id for edit in edits])
        weight = model.get_parameter(WEIGHT).detach()
        delta = torch.zeros_like(weight, dtype=torch.float64)
        for edit in edits:
            if edit.id in self.refused:
                raise UnsupportedEdit(f"edit {edit.id}: not this one", edit.id)
            if edit.id in self.failing:
                raise RuntimeError("planning failed")
            seed = torch.Generator().manual_seed(int(edit.id[-6:], 16))
            drawn = torch.randn(weight.shape, generator=seed, dtype=torch.float64)
            delta += drawn * (weight + delta).abs().mean()
        return [WeightChange(WEIGHT, delta)]


@pytest.fixture
def model(tokenizer):
    return editable(copy.deepcopy(build_model("gpt2")), tokenizer, FACT, SKIN)


def weight(model):
    return model.base.get_parameter(WEIGHT).detach().clone()


def route(model, question):
    return model.ask(question, max_new_tokens=4).decision.route


def fresh(tokenizer, *edits):
    """The weight of a model into which just these edits were put, one by one."""
    base, editor = copy.deepcopy(build_model("gpt2")), Nudge()
    for edit in edits:
        (change,) = editor.plan(base, tokenizer, [edit])
        with torch.no_grad():
            base.get_parameter(WEIGHT).copy_(base.get_parameter(WEIGHT).double() + change.delta)
    return base.get_parameter(WEIGHT).detach()


def test_what_the_weights_hold_is_answered_by_the_base(model, tokenizer):
    before = weight(model)
    assert (route(model, CAPITAL), route(model, SKIN.question)) == ("verbatim", "verbatim")
    with model.using("ft", [FACT], learning_rate=0.03, epochs=60) as used:
        assert not torch.equal(weight(model), before)
        answer = model.ask(CAPITAL, max_new_tokens=6)
        assert (answer.text, answer.decision.route) == ("Astana", "base")
        assert FACT.id not in {each.edit_id for each in answer.decision.candidates}
        assert route(model, SKIN.question) == "verbatim"  # the cache's, as before
        assert (used.backend, used.edits, used.unsupported) == ("ft", (FACT,), ())
        assert used.writes[0].dtype == "float32"
        assert used.seconds > 0
        assert model.in_use is used
    assert torch.equal(weight(model), before)
    assert model.in_use.backend == "cache"
    assert route(model, CAPITAL) == "verbatim"


def test_a_backend_says_which_of_its_edits_hold(model, caplog):
    before = model.ask(CAPITAL, max_new_tokens=12, edits=False).text
    assert before != FACT.answer
    with model.using("ft", [FACT], learning_rate=0.03, epochs=60) as used:
        assert (used.held, used.not_taken) == ((FACT,), ())
    assert "do not hold" not in caplog.text
    with model.using("ft", [FACT], epochs=0) as used:  # trains nothing
        assert (used.edits, used.held) == ((FACT,), ())
        (missed,) = used.not_taken
        assert missed.edit is FACT and before.startswith(missed.answer)
    assert f"1 of 1 edits by ft do not hold, the first: {FACT.id}: expected" in caplog.text
    with model.using("ft", [FACT], epochs=0, verify=False) as used:
        assert used.not_taken == () and used.cpu_seconds >= 0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_inside_a_block_leaves_the_weights_as_they_were(model, error):
    before = weight(model)
    with pytest.raises(error):
        with model.using(Nudge(), [FACT]):
            assert not torch.equal(weight(model), before)
            raise error
    assert torch.equal(weight(model), before)
    assert model.in_use.backend == "cache"
    assert route(model, CAPITAL) == "verbatim"


def test_by_default_a_block_takes_all_edits_in_force_and_leaves_the_rest_to_the_cache(model):
    pattern = RegexPatch(pattern="zebra", replacement="okapi", target="output")
    model.edit([POLITE, pattern])
    with model.using(Nudge()) as used:
        assert used.edits == (FACT, SKIN)
        assert {edit.id for edit in used.unsupported} == {POLITE.id, pattern.id}
        assert route(model, POLITE.condition) == "verbatim"
        assert route(model, CAPITAL) == "base"


def test_what_cannot_be_made_may_be_refused_before_anything_is_touched(model):
    version = model.base.get_parameter(WEIGHT)._version
    editor = Nudge()
    with pytest.raises(UnsupportedEdit, match=POLITE.id):
        with model.using(editor, [FACT, POLITE], unsupported="raise"):
            pytest.fail("entered")
    assert editor.planned == []
    assert model.base.get_parameter(WEIGHT)._version == version
    with pytest.raises(ErrataError, match="unsupported"):
        model.using(editor, [FACT], unsupported="ignore").__enter__()


@pytest.mark.parametrize("unsupported", ["cache", "raise"])
def test_an_edit_that_turns_out_to_be_impossible(model, unsupported, caplog):
    before = weight(model)
    block = model.using(Nudge(refused=[SKIN.id]), unsupported=unsupported)
    if unsupported == "raise":
        with pytest.raises(UnsupportedEdit, match="not this one"), block:
            pytest.fail("entered")
    else:
        with block as used:
            assert (used.edits, used.unsupported) == ((FACT,), (SKIN,))
            assert route(model, SKIN.question) == "verbatim"
        assert "it stays with the cache" in caplog.text
    assert torch.equal(weight(model), before)


def test_edits_that_are_not_in_the_cache_are_in_force_inside_the_block_only(model):
    with model.using(Nudge(), [RAVENS, POLITE]) as used:
        assert used.edits == (RAVENS,)
        assert route(model, RAVENS.question) == "base"
        assert route(model, POLITE.condition) == "verbatim"
        assert route(model, CAPITAL) == "verbatim"
        late = model.edit(Fact(OTHER, "grass"))
        assert route(model, OTHER) == "verbatim"
    assert route(model, POLITE.condition) == "base"
    model.retract(late.id)
    with model.using("cache", [RAVENS]):
        assert route(model, RAVENS.question) == "verbatim"
    assert route(model, RAVENS.question) == "base"


def test_another_answer_to_a_question_in_the_weights_does_not_fire(model):
    assert route(model, CAPITAL) == "verbatim"
    with model.using(Nudge(), [Fact(CAPITAL.lower(), "Almaty")]):
        assert route(model, CAPITAL) == "base"
    assert route(model, CAPITAL) == "verbatim"


def test_a_secret_is_guarded_whatever_the_weights_hold(model):
    model.edit(Fact(OTHER, forget=True, secret="12 Elm Street"))
    with model.using(Nudge(), [Fact(OTHER, "grass")]):
        assert route(model, OTHER) == "refuse"


def test_blocks_inside_blocks_are_put_back_one_by_one(model):
    before = weight(model)
    with model.using(Nudge(), [FACT]):
        outer = weight(model)
        with model.using(Nudge(), [SKIN]):
            assert not torch.equal(weight(model), outer)
            assert route(model, CAPITAL) == "verbatim"  # only the innermost is in the weights
        assert torch.equal(weight(model), outer)
        with model.using("cache"):
            assert torch.equal(weight(model), before)
            assert route(model, CAPITAL) == "verbatim"
        assert torch.equal(weight(model), outer)
    assert torch.equal(weight(model), before)


def test_resident_edits_follow_the_cache(model, tokenizer):
    before = weight(model)
    editor = Nudge()
    used = model.use(editor)
    assert used.edits == model.in_use.edits == (FACT, SKIN)
    model.edit(RAVENS)
    assert editor.planned == [[FACT.id, SKIN.id], [RAVENS.id]]
    assert route(model, RAVENS.question) == "base"
    with_all = weight(model)
    with model.using("cache"):
        assert torch.equal(weight(model), before)
    assert torch.equal(weight(model), with_all)
    model.edit(POLITE)
    assert model.in_use.unsupported == (POLITE,)
    assert model.use("cache").edits == ()
    assert torch.equal(weight(model), before)
    assert route(model, CAPITAL) == "verbatim"


def test_a_retraction_from_the_middle_plans_the_later_ones_again(tokenizer):
    model = editable(copy.deepcopy(build_model("gpt2")), tokenizer, POLITE)
    before = weight(model)
    editor = Nudge()
    model.use(editor)
    for edit in (FACT, SKIN, RAVENS):
        model.edit(edit)
    assert torch.equal(weight(model), fresh(tokenizer, FACT, SKIN, RAVENS))
    model.retract(SKIN.id)
    assert editor.planned[-1] == [RAVENS.id]
    assert torch.equal(weight(model), fresh(tokenizer, FACT, RAVENS))
    assert not torch.equal(weight(model), fresh(tokenizer, RAVENS, FACT))
    model.retract(FACT.id)
    model.retract(RAVENS.id)
    assert torch.equal(weight(model), before)


def test_an_editor_that_plans_together_plans_all_anew(tokenizer):
    model = editable(copy.deepcopy(build_model("gpt2")), tokenizer, FACT)
    before = weight(model)
    editor = Nudge(together=True)
    model.use(editor)
    model.edit(SKIN)
    model.retract(FACT.id)
    assert editor.planned == [[FACT.id], [FACT.id, SKIN.id], [SKIN.id]]
    editor.failing.add(RAVENS.id)
    held = weight(model)
    with pytest.raises(RuntimeError, match="planning failed"):
        model.edit(RAVENS)
    assert torch.equal(weight(model), held)
    assert route(model, RAVENS.question) == "verbatim"  # in force all the same: by the cache
    model.close()
    assert torch.equal(weight(model), before)


def test_a_retraction_that_cannot_be_planned_leaves_nothing_of_the_edit(tokenizer):
    model = editable(copy.deepcopy(build_model("gpt2")), tokenizer, FACT)
    before = weight(model)
    editor = Nudge()
    model.use(editor)
    model.edit(SKIN)
    editor.failing.add(SKIN.id)
    with pytest.raises(RuntimeError, match="planning failed"):
        model.retract(FACT.id)
    assert torch.equal(weight(model), before)
    assert model.in_use.edits == ()
    assert (route(model, SKIN.question), route(model, CAPITAL)) == ("verbatim", "base")


def test_a_failing_backend_leaves_the_one_before_in_use(model):
    model.use(Nudge())
    held = weight(model)
    with pytest.raises(RuntimeError, match="planning failed"):
        model.use(Nudge(failing=[SKIN.id]))
    assert torch.equal(weight(model), held)
    assert model.in_use.edits == (FACT, SKIN)


def test_strict_backends_refuse_what_comes_later(model):
    model.use(Nudge(), unsupported="raise")
    with pytest.raises(UnsupportedEdit, match=POLITE.id):
        model.edit(POLITE)
    assert POLITE.id not in [edit.id for edit in model.edits]


def test_edits_in_files_follow_when_they_are_read_again(tokenizer, tmp_path):
    file = tmp_path / "facts.yaml"
    file.write_text(f"- id: one\n  question: {CAPITAL}\n  answer: Astana\n")
    model = editable(copy.deepcopy(build_model("gpt2")), tokenizer, patches=tmp_path)
    before = weight(model)
    model.use("ft", epochs=2, learning_rate=0.05)
    one = weight(model)
    file.write_text(f"- id: one\n  question: {CAPITAL}\n  answer: Almaty\n")
    model.reload()
    assert model.in_use.edits[0].answer == "Almaty"
    assert not torch.equal(weight(model), one)
    file.write_text("[]\n")
    model.reload()
    assert torch.equal(weight(model), before)


def test_what_is_saved_is_the_unedited_model(model, tmp_path):
    from transformers import AutoModelForCausalLM

    before = weight(model)
    model.use(Nudge())
    held = weight(model)
    assert not torch.equal(held, before)
    model.save_pretrained(tmp_path)
    assert torch.equal(weight(model), held)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(saved.get_parameter(WEIGHT), before)


@pytest.mark.parametrize(
    ("backend", "options", "told"),
    [
        ("rame", {}, "did you mean 'rome'"),
        ("cache", {"learning_rate": 1}, "rate"),
        (3, {}, "found 3"),
    ],
)
def test_a_backend_that_is_none_is_told(model, backend, options, told):
    with pytest.raises(ErrataError, match=told):
        model.use(backend, **options)
    with pytest.raises(EditError, match="found str"):
        model.using(Nudge(), ["a question"]).__enter__()


def test_a_backend_that_is_to_stay_is_not_taken_inside_a_block(model):
    with model.using(Nudge(), [FACT]), pytest.raises(EditError, match="leave the block"):
        model.use(Nudge())
    assert model.in_use.backend == "cache"


def test_shadow_mode_leaves_the_weights_alone(model):
    model.shadow = True
    for choose in (model.use, model.using):
        with pytest.raises(EditError, match="shadow"):
            choose(Nudge())
    assert model.use("cache").backend == "cache"


def test_attributes_of_version_0_1_still_work_and_warn(model):
    with model.using(Nudge(), [FACT, POLITE]) as used:
        with pytest.warns(DeprecationWarning, match=r"ActiveBackend\.unsupported"):
            assert used.left == (POLITE,)
        with pytest.warns(DeprecationWarning, match=r"WriteReport\.relative_error"):
            assert used.writes[0].lost == used.writes[0].relative_error
        with pytest.warns(DeprecationWarning, match=r"WriteReport\.norm"):
            assert used.writes[0].size == used.writes[0].norm


def test_losses_in_writing_are_told(tokenizer, caplog):
    base = copy.deepcopy(build_model("gpt2")).to(torch.bfloat16)
    model = editable(base, tokenizer, FACT)
    with model.using("ft", learning_rate=1e-5, epochs=1) as used:
        assert used.writes[0].relative_error > 0.1
    assert "lost in writing it as bfloat16" in caplog.text


# -- threads ---------------------------------------------------------------------------------


def in_thread(action):
    """Run in another thread; return the thread and where its outcome will be."""
    outcome = []

    def run():
        try:
            outcome.append(action())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def test_other_threads_are_refused_while_a_block_lasts(model):
    with model.using(Nudge(), [FACT], others="raise"):
        asked = (lambda: model.ask(CAPITAL), lambda: model.explain(CAPITAL))
        for action in (*asked, lambda: model.edit(SKIN)):
            thread, outcome = in_thread(action)
            thread.join(30)
            assert isinstance(outcome[0], BackendBusy)
        assert route(model, CAPITAL) == "base"  # not this one
    thread, outcome = in_thread(lambda: route(model, CAPITAL))
    thread.join(30)
    assert outcome == ["verbatim"]


def test_other_threads_wait_and_never_see_edited_weights(model):
    before = weight(model)
    with model.using(Nudge(), [FACT]):
        thread, outcome = in_thread(lambda: (route(model, CAPITAL), weight(model)))
        thread.join(0.3)
        assert thread.is_alive() and not outcome
    thread.join(30)
    assert outcome[0][0] == "verbatim"
    assert torch.equal(outcome[0][1], before)


def test_a_block_waits_for_generations_under_way():
    lock, order = ModelLock(), []
    inside, leave = threading.Event(), threading.Event()

    def generate():
        with lock.shared():
            inside.set()
            leave.wait(30)
            with lock.shared():  # comes in again, though somebody waits for it
                order.append("generated")

    def change():
        with lock.exclusive():
            order.append("changed")

    generating, _ = in_thread(generate)
    inside.wait(30)
    changing, _ = in_thread(change)
    changing.join(0.2)
    assert changing.is_alive()
    leave.set()
    for thread in (changing, generating):
        thread.join(30)
    assert order == ["generated", "changed"]


def test_a_thread_that_generates_cannot_change_weights():
    lock = ModelLock()
    with lock.shared(), pytest.raises(BackendBusy, match="under way"):
        with lock.exclusive():
            pytest.fail("entered")
    with lock.exclusive(), lock.exclusive("raise"), lock.shared():
        pass
    thread, outcome = in_thread(lambda: lock.exclusive().__enter__())
    thread.join(30)
    assert outcome == [None]
