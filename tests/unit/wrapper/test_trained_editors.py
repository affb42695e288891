"""MEND, KE and ENN: what their papers' equations say, in float64, and how they are trained."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import pytest
import torch
from torch.func import functional_call
from typer.testing import CliRunner

from errata import Fact
from errata.cache.errors import ErrataError, ModelError
from errata.cli import app
from errata.editing.base import Trainable, TrainingEdit
from errata.editing.changes import applied
from errata.editing.stack import ChangeStack
from errata.editor_training.data import EditGenerator
from errata.editor_training.train import CHECKPOINT, EditorTrainer, EditorTrainingConfig
from errata.editors.enn import Enn
from errata.editors.ke import KnowledgeEditor
from errata.editors.mend import Mend
from errata.editors.shared.learner import Batch, batch_of
from errata.editors.shared.per_edit import TokenGradients, logits_with
from errata.editors.shared.trained_state import CARD, STATE
from errata.facts import FactSource
from errata.module_paths import matrix
from tests.conftest import build_model
from tests.contracts.test_editor import bits
from tests.small_facts import write_facts

EDITS = (
    TrainingEdit(
        Fact("What is the capital of Kazakhstan?", "Astana", subject="Kazakhstan"),
        ("Tell me the capital of Kazakhstan.",),
        (("What is the capital of Norway?", "Oslo"),),
    ),
    TrainingEdit(
        Fact("What colour is the skin of the zebra?", "black", subject="zebra"),
        ("The zebra's skin?",),
        (("How old is the raven?", "Lima"),),
    ),
)
FACTS = tuple(edit.fact for edit in EDITS)
TRAINED = {"mend": Mend, "ke": KnowledgeEditor, "enn": Enn}
SMALL = {
    "mend": {"rank": 4},
    "ke": {"state_size": 4, "condition_size": 6, "hidden_size": 5, "answer_tokens": 3},
    "enn": {"steps": 2, "step_size": 0.01},
}


def learner_of(name, tokenizer, family="gpt2", **options):
    """Return a learner of all layers of a tiny model, in float64, before training."""
    model = copy.deepcopy(build_model(family)).double()
    editor = TRAINED[name](layers=(0, 1), **{**SMALL[name], **options})
    return editor.learner(model, tokenizer, trained=False)


def scramble(learner):
    """Move every parameter away from where training begins, where some gradients are 0."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in learner.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        parameter.data += (0.01 if name.startswith(("changes", "log_")) else 0.05) * noise
    return learner


def gradients_by_autograd(learner, request):
    """Return the gradients of an edit's loss with respect to the weights, [d_out, d_in]."""
    model, batch = learner.model, batch_of(learner.model, [request])
    weights = {
        f"{name}.weight": model.get_submodule(name).weight.detach().clone().requires_grad_()
        for name in learner.names
    }
    logits = functional_call(model, weights, kwargs={**batch.inputs, "use_cache": False}).logits
    found = torch.autograd.grad(batch.losses(logits.double()).sum(), list(weights.values()))
    turned = [model.get_submodule(name) for name in learner.names]
    return [
        grad.T if matrix(module).shape != module.weight.shape or _turned(module) else grad
        for module, grad in zip(turned, found, strict=True)
    ]


def _turned(module):
    return type(module).__name__ == "Conv1D"


def check_by_finite_differences(learner, batch, least=1e-5):
    """Compare the gradient of the training loss with differences along random directions."""
    parameters = [p for n, p in learner.named_parameters() if n != "multiplier"]
    found = torch.autograd.grad(learner.loss(batch), parameters, allow_unused=True)
    assert sum(grad is not None and bool(grad.abs().max() > 0) for grad in found) > 1
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        ways = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
        slope = sum(
            float((g * w).sum().detach()) for g, w in zip(found, ways, strict=True) if g is not None
        )
        values = []
        for sign in (1, -1):
            for parameter, way in zip(parameters, ways, strict=True):
                parameter.data += sign * 1e-7 * way
            values.append(float(learner.loss(batch).detach()))
            for parameter, way in zip(parameters, ways, strict=True):
                parameter.data -= sign * 1e-7 * way
        assert slope == pytest.approx((values[0] - values[1]) / 2e-7, rel=1e-3, abs=least)


# -- all three ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "t5"])
@pytest.mark.parametrize("name", TRAINED)
def test_an_edit_in_a_batch_is_the_edit_alone(name, family, tokenizer):
    learner = scramble(learner_of(name, tokenizer, family)).eval()
    batch = Batch(learner.model, tokenizer, EDITS)
    together = learner.updates(batch.requests)
    logits = logits_with(learner.model, batch.rows, together, learner.weights())
    for number, request in enumerate(batch.requests):
        alone = learner.updates([request])
        for key in together:
            assert alone[key].abs().max() > 0
            torch.testing.assert_close(together[key][number], alone[key][0], rtol=1e-7, atol=1e-9)
        model = copy.deepcopy(learner.model)
        with torch.no_grad():
            for key, value in learner.weights().items():
                model.get_parameter(key).copy_(value)
            for key, update in alone.items():
                matrix(model.get_submodule(key)).add_(update[0])
        rows = slice(3 * number, 3 * number + 3)
        inputs = {key: value[rows] for key, value in batch.rows.inputs.items()}
        with torch.no_grad():
            told = model(**inputs, use_cache=False).logits
        used = batch.rows.labels[rows] != -100
        torch.testing.assert_close(logits[rows][used], told[used], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", TRAINED)
def test_the_training_gradient_is_that_of_finite_differences(name, tokenizer):
    # the distribution before the edit counts as given in L_loc, so differences leave that out
    options = {"locality_weight": 0.0} if name == "enn" else {}
    learner = scramble(learner_of(name, tokenizer, **options))
    learner.eval()  # running statistics would move between the two sides
    if name == "mend":
        for each in learner.statistics:
            each.count.fill_(10)
            each.squares.fill_(9)
    if name == "enn":
        learner.train()
    batch = Batch(learner.model, tokenizer, EDITS)
    check_by_finite_differences(learner, batch)


@pytest.mark.parametrize("name", TRAINED)
def test_edits_in_a_sequence_are_undone_bit_for_bit(name, tokenizer):
    model = copy.deepcopy(build_model("gpt2"))
    before = bits(model)
    editor = TRAINED[name](trained="initial", layers=(0, 1), **SMALL[name])
    stack = ChangeStack(model, tokenizer, editor)
    for fact in FACTS:
        stack.add([fact])
    edited = bits(model)
    assert any(not torch.equal(edited[key], before[key]) for key in before)
    stack.remove({FACTS[0].id})
    assert stack.edits == FACTS[1:]
    stack.clear()
    assert all(torch.equal(tensor, before[key]) for key, tensor in bits(model).items())


# -- MEND --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "gpt_neox", "t5"])
def test_mend_begins_as_a_step_of_descent(family, tokenizer):
    learner = learner_of("mend", tokenizer, family, normalise=False, step_size=0.5)
    for request in Batch(learner.model, tokenizer, EDITS).requests:
        expected = gradients_by_autograd(learner, request)
        updates = learner.updates([request])
        for grad, update in zip(expected, updates.values(), strict=True):
            assert grad.abs().max() > 0
            torch.testing.assert_close(update[0], -0.5 * grad, rtol=1e-7, atol=1e-12)


def test_mend_standardises_the_parts_of_the_gradient(tokenizer):
    learner = learner_of("mend", tokenizer).train()
    requests = Batch(learner.model, tokenizer, EDITS).requests
    learner.updates(requests)
    tokens = learner.gradients_of(requests)[learner.names[0]]
    rows = torch.cat([tokens.inputs, tokens.deltas], -1)
    used = rows[tokens.used]
    learner.eval()
    seen = learner.statistics[0]
    torch.testing.assert_close(seen.mean, used.mean(0))
    torch.testing.assert_close((seen.squares / (seen.count - 1)).sqrt(), used.std(0))
    scaled = (rows - used.mean(0)) / (used.std(0) + 1e-7) * tokens.used[..., None]
    width = tokens.inputs.shape[-1]
    expected = scaled[..., width:].mT @ scaled[..., :width]
    torch.testing.assert_close(learner.pseudo_gradient(0, tokens), expected)
    frozen = {key: value.clone() for key, value in learner.named_buffers()}
    learner.updates(requests)
    assert all(torch.equal(value, frozen[key]) for key, value in learner.named_buffers())


def test_mends_statistics_are_those_of_all_rows_at_once(tokenizer):
    seen = learner_of("mend", tokenizer).statistics[0].train()
    rows = torch.randn(5, 7, len(seen.mean), dtype=torch.float64) * 3 + 2
    used = torch.rand(5, 7) < 0.7
    for part in range(5):
        seen(rows[part : part + 1], used[part : part + 1])
    torch.testing.assert_close(seen.mean, rows[used].mean(0))
    torch.testing.assert_close(seen.squares / (seen.count - 1), rows[used].var(0))


def test_mends_update_has_the_rank_of_its_tokens_whatever_their_order(tokenizer):
    learner = scramble(learner_of("mend", tokenizer)).eval()
    request = Batch(learner.model, tokenizer, EDITS).requests[0]
    tokens = learner.gradients_of([request])[learner.names[0]]
    found = learner.pseudo_gradient(0, tokens)
    count = int(tokens.used.sum())
    assert torch.linalg.matrix_rank(found[0]) <= count < min(found.shape[1:])
    order = torch.randperm(tokens.inputs.shape[1], generator=torch.Generator().manual_seed(0))
    padding = torch.zeros(1, 3, tokens.inputs.shape[-1], dtype=torch.float64)
    moved = TokenGradients(
        torch.cat([tokens.inputs[:, order], padding + 1], 1),
        torch.cat([tokens.deltas[:, order], padding.new_zeros(1, 3, tokens.deltas.shape[-1])], 1),
    )
    torch.testing.assert_close(learner.pseudo_gradient(0, moved), found)


# -- KE ----------------------------------------------------------------------------------------


def test_kes_gate_closes_and_its_masks_have_rank_one(tokenizer):
    learner = scramble(learner_of("ke", tokenizer)).eval()
    requests = Batch(learner.model, tokenizer, EDITS).requests
    condition = learner.condition_of(requests)
    out, into = learner.shape(learner.names[0])
    ones = torch.ones(2, out, into, dtype=torch.float64)
    shift = learner.shift(0, condition, 0 * ones)
    mask = learner.shift(0, condition, ones) - shift
    for each in (*shift, *mask):
        values = torch.linalg.svdvals(each)
        assert values[0] > 0 and values[1] < 1e-9 * values[0]
    with torch.no_grad():
        bias = learner.heads[0][-1].bias
        bias[-1] = -1e4
        learner.heads[0][-1].parametrizations.weight.original0[-1] = 0.0
    assert float(learner.shift(0, condition, ones).detach().abs().max()) == 0.0


def test_ke_reads_the_new_answer_and_begins_as_descent(tokenizer):
    learner = learner_of("ke", tokenizer, scale=2.0).eval()
    batch = Batch(learner.model, tokenizer, EDITS)
    request = batch.requests[0]
    other = Batch(
        learner.model, tokenizer,
        [TrainingEdit(Fact(FACTS[0].question, "Lima", subject="Kazakhstan"), (), ())],
    ).requests[0]  # fmt: skip
    assert not torch.equal(learner.condition_of([request]), learner.condition_of([other]))
    one, two = learner.updates([request]), learner.updates([other])
    assert all(not torch.equal(one[key], two[key]) for key in one)
    for grad, update in zip(gradients_by_autograd(learner, request), one.values(), strict=True):
        likeness = torch.nn.functional.cosine_similarity(grad.flatten(), -update.flatten(), 0)
        assert likeness > 0.5


def test_kes_multiplier_rises_with_the_divergence_and_is_never_negative(tokenizer):
    learner = learner_of("ke", tokenizer, margin=0.0, scale=20.0)
    batch = Batch(learner.model, tokenizer, EDITS)
    optimizer = learner.optimizer()
    learner.loss(batch).backward()
    assert float(learner.multiplier.grad) < 0  # descent raises it
    optimizer.step()
    assert float(learner.multiplier.detach()) > 1
    learner.margin.fill_(1e9)
    for _ in range(3):
        optimizer.zero_grad()
        learner.loss(batch).backward()
        optimizer.step()
        learner.after_step()
    assert float(learner.multiplier.detach()) == 0.0
    learner.margin.fill_(0.1)
    learner.after_validation(0.95)
    assert float(learner.margin) == pytest.approx(0.08)
    learner.after_validation(0.5)
    assert float(learner.margin) == pytest.approx(0.08)


# -- ENN ---------------------------------------------------------------------------------------


def test_one_step_of_enn_by_likelihood_is_plain_descent(tokenizer):
    learner = learner_of("enn", tokenizer, steps=1, edit_loss="nll", step_size=0.3)
    for request in Batch(learner.model, tokenizer, EDITS).requests:
        updates = learner.updates([request])
        expected = gradients_by_autograd(learner, request)
        for grad, update in zip(expected, updates.values(), strict=True):
            torch.testing.assert_close(update[0], -0.3 * grad, rtol=1e-6, atol=1e-12)


def test_enn_steps_forward_alike_whether_or_not_gradients_flow_through(tokenizer):
    second = learner_of("enn", tokenizer).train()
    first = learner_of("enn", tokenizer, second_order=False).train()
    requests = Batch(second.model, tokenizer, EDITS).requests
    one, two = second.updates(requests), first.updates(requests)
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-9, atol=1e-12)


def test_enn_leaves_an_edit_that_the_model_answers_already(tokenizer):
    learner = learner_of("enn", tokenizer, margin=0.0).eval()
    said = learner_of("enn", tokenizer, steps=400, step_size=0.05, margin=1.0).eval()
    batch = Batch(learner.model, tokenizer, EDITS)
    assert all(bool(u.abs().max() > 0) for u in learner.updates(batch.requests).values())
    made = said.updates(batch.requests[:1])
    with torch.no_grad():
        for key, update in made.items():
            matrix(learner.model.get_submodule(key)).add_(update[0])
    again = learner.updates(batch.requests)
    assert all(bool((update[0] == 0).all()) for update in again.values())
    assert any(bool((update[1] != 0).any()) for update in again.values())


def test_enn_brings_its_trained_weights_with_the_first_edit_only(tmp_path, tokenizer):
    model = copy.deepcopy(build_model("gpt2"))
    editor = Enn(layers=(0, 1), **SMALL["enn"])
    _write_trained(editor, model, tokenizer, tmp_path)
    trained = Enn(trained=tmp_path, steps=1)
    before = bits(model)
    base = trained.before_edits(model, tokenizer)
    assert base and all(float(change.delta.abs().max()) > 0 for change in base)
    first = trained.plan_after(model, tokenizer, FACTS[:1], ())
    assert len(first) == 2 * len(base)
    with applied(model, first):
        second = trained.plan_after(model, tokenizer, FACTS[1:], first)
        assert len(second) == len(base)
    assert all(torch.equal(tensor, before[key]) for key, tensor in bits(model).items())


# -- training ----------------------------------------------------------------------------------


def _trainer(editor, model, tokenizer, folder, **options):
    settings = {"steps": 4, "batch_size": 2, "eval_steps": 2, "eval_edits": 3, **options}
    source = FactSource.load(write_facts(folder.parent / "facts"))
    return EditorTrainer(editor, model, tokenizer, source, folder, EditorTrainingConfig(**settings))


def _write_trained(editor, model, tokenizer, folder):
    trainer = _trainer(editor, model, tokenizer, folder)
    trainer.best = -float("inf")
    trainer._one_step()
    trainer.history = []
    trainer._validate(0.0)
    return trainer


@pytest.mark.parametrize("name", TRAINED)
def test_a_resumed_run_equals_one_that_was_not_interrupted(name, tmp_path, tokenizer):
    model = build_model("gpt2")
    before, state = bits(model), random.getstate()
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    def trainer(folder, steps):
        editor = TRAINED[name](layers=(0, 1), **SMALL[name])
        assert isinstance(editor, Trainable)
        found = _trainer(editor, model, tokenizer, folder, steps=steps)
        return found, found.resume()

    one, there = trainer(whole, 4)
    assert not there
    one.train(shown=False)
    trainer(parts, 2)[0].train(shown=False)
    two, there = trainer(parts, 4)
    assert there and two.step == 2
    two.train(shown=False)
    assert [{**each, "seconds": 0} for each in one.history] == [
        {**each, "seconds": 0} for each in two.history
    ]
    for (key, value), other in zip(
        one.learner.state_dict().items(), two.learner.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(value, other, rtol=1e-6, atol=1e-7, msg=key)
    begun = TRAINED[name](layers=(0, 1), **SMALL[name]).learner(model, tokenizer, trained=False)
    assert any(
        not torch.equal(value, begun.state_dict()[key])
        for key, value in one.learner.state_dict().items()
    )
    assert all(torch.equal(tensor, before[key]) for key, tensor in bits(model).items())
    assert random.getstate() == state
    other = TRAINED[name](layers=(0, 1), **SMALL[name])
    with pytest.raises(ErrataError, match="settings"):
        _trainer(other, model, tokenizer, parts, seed=1).resume()


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_editor_is_for_its_own_base(name, tmp_path, tokenizer):
    model = build_model("gpt2")
    _write_trained(TRAINED[name](layers=(0, 1), **SMALL[name]), model, tokenizer, tmp_path)
    editor = TRAINED[name](trained=tmp_path)
    assert editor.plan(model, tokenizer, FACTS[:1])
    assert editor.trained["editor"] >= 0
    with pytest.raises(ModelError, match="trained for this base model"):
        TRAINED[name](trained=tmp_path).plan(build_model("llama"), tokenizer, FACTS)
    with pytest.raises(ModelError, match=f"editor train {name}"):
        TRAINED[name]().plan(model, tokenizer, FACTS)
    others = [each for each in TRAINED if each != name]
    with pytest.raises(ModelError, match=f"expected a trained {others[0]}, found {name}"):
        TRAINED[others[0]](trained=tmp_path).plan(model, tokenizer, FACTS)
    with pytest.raises(ModelError, match="layers"):
        TRAINED[name](trained=tmp_path, layers=(0,)).plan(model, tokenizer, FACTS)
    (tmp_path / STATE).write_bytes((tmp_path / STATE).read_bytes()[:-1] + b"\1")
    with pytest.raises(ModelError, match="SHA-256"):
        TRAINED[name](trained=tmp_path).plan(model, tokenizer, FACTS)
    (tmp_path / CARD).write_text("{}", "utf-8")
    with pytest.raises(ModelError, match="card"):
        TRAINED[name](trained=tmp_path).plan(model, tokenizer, FACTS)


@pytest.mark.parametrize("split", ["train", "tune"])
def test_edits_to_learn_from_are_of_one_split(split, tmp_path):
    source = FactSource.load(write_facts(tmp_path / "facts"))
    generator = EditGenerator(source, split, [("Who made you?", "Example Labs")])
    rng = random.Random(0)
    drawn = [generator.draw(rng) for _ in range(60)]
    subjects = {fact.subject for fact in source.facts if fact.split == split}
    objects = {name for name, part in source.object_splits().items() if part == split}
    aliases = {name for known in source.aliases.values() for name in known}
    for edit in drawn:
        assert edit.fact.subject in subjects and edit.fact.answer in objects
        assert len(edit.rewordings) == 1 and len(edit.unrelated) == 2
        assert "Name the capital" not in " ".join((edit.fact.question, *edit.rewordings))
        for question, _ in edit.unrelated:
            named = [name for name in (*subjects, *aliases) if name in question]
            assert named or question == "Who made you?"
            assert question != edit.fact.question
    assert any(question == "Who made you?" for e in drawn for question, _ in e.unrelated)


def test_a_table_without_tune_subjects_is_told(tmp_path):
    folder = write_facts(tmp_path / "facts")
    rows = (folder / "facts.tsv").read_text("utf-8").replace("\ttune", "\ttrain")
    (folder / "facts.tsv").write_text(rows, "utf-8")
    with pytest.raises(ErrataError, match="tune subjects"):
        EditGenerator(FactSource.load(folder), "tune")


def test_the_command_trains_and_says_how_well(tmp_path, tokenizer, monkeypatch):
    model = tmp_path / "model"
    build_model("gpt2").save_pretrained(model)
    tokenizer.save_pretrained(model)
    facts = write_facts(tmp_path / "facts")
    words = ["editor", "train", "mend", "--model", str(model), "--facts", str(facts), "--out",
             str(tmp_path / "out"), "--steps", "2", "--every", "2", "--batch", "2",
             "--options", '{"layers": [0, 1], "rank": 4}']  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "unrelated questions change" in result.output
    assert {path.name for path in Path(tmp_path / "out").iterdir()} == {CARD, STATE, CHECKPOINT}
    again = CliRunner().invoke(app, [*words, "--json"])  # resumed: nothing is left to do
    assert again.exit_code == 0 and '"steps": 2' in again.output
    wrong = CliRunner().invoke(app, ["editor", "train", "ft"])
    assert wrong.exit_code == 1 and "mend" in wrong.output
