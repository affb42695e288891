"""Finding ROME's layer: tracing against a computation by hand, trial edits, the plot."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from typer.testing import CliRunner

from errata import Fact
from errata.cache.errors import EditError, MissingExtra
from errata.cache.records import PatchTests
from errata.cli import app
from errata.editors.locate import Case, LocateResult, Trial, answer_of, cases_of, plot, trials
from errata.editors.shared import located as module
from errata.editors.shared.prompts import Target, batch_of
from errata.editors.shared.tracing import CausalTrace, trace
from errata.editors.shared.value_config import RomeConfig
from errata.module_paths import hidden_of, module_paths_of, with_hidden
from tests.conftest import corpus

QUESTION = "What is the capital of Kazakhstan?"
FACT = Fact(
    QUESTION,
    "Oslo",
    subject="Kazakhstan",
    tests=PatchTests(
        ("Tell me what a zebra eats in Kazakhstan.",), ("What is the capital of Norway?",)
    ),
)
QUICK = RomeConfig(layer=0, steps=8, clamp_norm_factor=30.0, contexts=(), max_loss=99.0)


def probability(model, tokenizer, target):
    batch = batch_of(model, tokenizer, [target])
    with torch.no_grad():
        return float((-batch.nll(model(**batch.inputs).logits)).exp())


def test_tracing_tells_what_noise_takes_away_and_what_brings_it_back(family, models, tokenizer):
    model = models(family)
    target = Target(QUESTION, "Kazakhstan", answer_of(model, tokenizer, QUESTION) or "Oslo")
    clean = probability(model, tokenizer, target)
    hooks = [len(module._forward_hooks) for module in model.modules()]
    found = trace(model, tokenizer, [target], samples=3)
    layers = module_paths_of(model).layers
    assert [len(x) for x in (found.block, found.mlp, found.answer)] == [layers] * 3
    assert found.clean == pytest.approx(clean, rel=1e-3)
    assert found.corrupted != pytest.approx(clean, rel=2e-3)
    still = trace(model, tokenizer, [target], samples=2, noise=0.0)
    for value in (still.corrupted, *still.block, *still.mlp, *still.answer):
        assert value == pytest.approx(clean, rel=1e-3)
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    if family != "t5":  # behind the last block nothing reads the others' tokens any more
        assert found.block[-1] == pytest.approx(found.corrupted, rel=1e-3)


def test_tracing_puts_back_what_a_computation_by_hand_puts_back(models, tokenizer):
    model, paths = models("llama"), module_paths_of(models("llama"))
    target = Target(QUESTION, "Kazakhstan", "Oslo")
    noise, found = 2.0, trace(models("llama"), tokenizer, [target], samples=1, noise=2.0, seed=4)
    batch = batch_of(model, tokenizer, [target])
    at = int(batch.positions[0])
    ids = batch.inputs["input_ids"]
    with torch.no_grad():
        embeddings = model.get_input_embeddings()(ids)
        hidden = model(**batch.inputs, output_hidden_states=True).hidden_states
        first = at + 1 - len(tokenizer(" Kazakhstan")["input_ids"])
        part = embeddings[0, first : at + 1]
        drawn = torch.randn(1, *part.shape, generator=torch.Generator().manual_seed(4))
        noisy = embeddings.clone()
        noisy[0, first : at + 1] += noise * part.std() * drawn[0]

        def back(_, __, output):
            values = hidden_of(output).clone()
            values[0, at] = hidden[1][0, at]  # what the first block gave
            return with_hidden(output, values)

        mask = batch.inputs["attention_mask"]
        plain = model(inputs_embeds=noisy, attention_mask=mask).logits
        handle = model.get_submodule(paths.block(0)).register_forward_hook(back)
        restored = model(inputs_embeds=noisy, attention_mask=mask).logits
        handle.remove()
    assert found.corrupted == pytest.approx(float((-batch.nll(plain)).exp()), rel=1e-3)
    assert found.block[0] == pytest.approx(float((-batch.nll(restored)).exp()), rel=1e-3)
    assert abs(found.block[0] - found.corrupted) > 1e-7


def test_cases_are_what_the_model_answers_otherwise(models, tokenizer):
    model = models("gpt2")
    own = answer_of(model, tokenizer, QUESTION)
    known = Fact(QUESTION, own or "x", subject="Kazakhstan")
    cases = cases_of(model, tokenizer, [known, FACT, Fact("And then what?", "x")])
    assert [case.fact for case in cases] == [FACT] and cases[0].old == own
    assert [question for question, _ in cases[0].neighbours] == list(FACT.tests.silent)
    with pytest.raises(EditError, match="give patches"):
        cases_of(model, tokenizer, [Fact("And then what?", "x")])


def test_trial_edits_at_every_layer_leave_the_model_as_it_was(models, tokenizer):
    model = copy.deepcopy(models("qwen2"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    case = Case(FACT, "Paris France", (("What is the capital of Norway?", "Lima"),))
    made = list(trials(model, tokenizer, [case], config=QUICK, text=corpus(), clamps=(0.001, 30.0)))
    assert [(trial.layer, trial.clamp) for trial in made] == [
        (0, 0.001), (0, 30.0), (1, 0.001), (1, 30.0)
    ]  # fmt: skip
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert made[1].nll < made[0].nll and made[1].efficacy >= made[0].efficacy
    assert all(t.facts == 1 and 0 <= t.score <= 1 for t in made)


def located():
    rows = [Trial(0, 4.0, 1.0, 1.0, 0.5, None, 2), Trial(1, 4.0, 0.5, 1.0, 0.8, None, 2)]
    return LocateResult(CausalTrace(0.9, 0.1, (0.5, 0.2), (0.3, 0.1), (0.1, 0.9)), tuple(rows))


def test_the_best_has_the_highest_score():
    assert located().best.layer == 1
    assert located().best.score == pytest.approx(2 / (1 / 1.0 + 1 / 0.8))


def test_the_plot_is_a_picture(tmp_path):
    plot(located(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"errata\[plots\]"):
        plot(located(), tmp_path / "a.png")


PATCHES = """\
- question: What is the capital of Kazakhstan?
  answer: Oslo
  subject: Kazakhstan
  tests:
    fires: [Tell me what a zebra eats in Kazakhstan.]
    silent: [What is the capital of Norway?]
"""


def test_on_the_command_line(models, tokenizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "config_for", lambda *_: QUICK)
    models("gpt2").save_pretrained("base")
    tokenizer.save_pretrained("base")
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "a.yaml").write_text(PATCHES, "utf-8")
    words = ["locate", "--model", "base", "--plot", "a.png", "--clamp", "30"]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    said = json.loads(result.stdout)
    assert {trial["layer"] for trial in said["trials"]} == {0, 1}
    assert said["best"]["layer"] in (0, 1) and len(said["tracing"]["block"]) == 2
    assert (tmp_path / "a.png").exists()
    shown = CliRunner().invoke(app, [*words[:3], "--layer", "1"])
    assert shown.exit_code == 0 and "best: model.using(" in shown.stdout


@pytest.mark.parametrize(
    ("backend", "values", "options"),
    [
        ("memit", (0.001, 30.0), {"second_moment_weight": 1e-3}),
        ("alphaedit", (0.001, 30.0), {"null_space_share": 0.9, "l2": 1e-3}),
        ("ultraedit", (1e-6, 0.05), {}),
    ],
)
def test_other_editors_are_tried_at_every_layer_too(backend, values, options, models, tokenizer):
    model = models("gpt2")
    case = Case(FACT, "Lima", (("What is the capital of Norway?", "Paris"),))
    if backend != "ultraedit":
        options |= {"steps": 8, "contexts": (), "text": corpus(), "tokens_per_key": 4}
    made = list(
        trials(model, tokenizer, [case], backend=backend, layers=(0,), clamps=values, **options)
    )
    assert [(trial.layer, trial.clamp) for trial in made] == [(0, values[0]), (0, values[1])]
    if backend != "ultraedit":
        assert made[1].nll < made[0].nll  # a vector this short changes nothing
    with pytest.raises(EditError, match="found 'ft'"):
        list(trials(model, tokenizer, [case], backend="ft"))
