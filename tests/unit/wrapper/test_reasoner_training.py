"""Examples, losses and training runs of reasoners, on a table and models small enough for tests."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from errata.cache.errors import ErrataError
from errata.cache.text.answer_match import normalize_answer
from errata.cli import app
from errata.facts import FactSource
from errata.generation.fingerprint import fingerprint
from errata.reasoners.adapter import AdapterReasoner, shipped_adapter, with_lora
from errata.reasoners.card import ReasonerCard, read_card
from errata.reasoners.data.dataset import ExampleGenerator
from errata.reasoners.data.examples import (
    ALIAS,
    CLOZE,
    EDIT_QUESTION,
    KINDS,
    LOCALITY,
    ONE_HOP,
    PARAPHRASE,
    REVERSED,
    SAME_ANSWER_LOCALITY,
    SHARES,
    TWO_EDITS,
    YES_NO,
    ReasonerExample,
)
from errata.reasoners.default import DefaultReasoner
from errata.reasoners.evaluation.evaluate import Evaluator, evaluation_set, rates
from errata.reasoners.evaluation.report import document, evaluate, machine_of, table, to_json
from errata.reasoners.model import ModelReasoner
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.training import losses
from errata.reasoners.training.config import SETTINGS_OF_0_1, TrainingConfig
from errata.reasoners.training.train import ReasonerTrainer
from errata.reasoners.verbatim import VerbatimReasoner
from tests.contracts.test_reasoner import described, store_adapter
from tests.small_facts import write_facts

QUICK = TrainingConfig(
    steps=6, batch_size=4, eval_steps=3, eval_examples=2, rank=2, warmup=1, learning_rate=3e-3
)


@pytest.fixture(scope="module")
def own():
    return FactSource.load()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return FactSource.load(write_facts(tmp_path_factory.mktemp("facts")))


# -- examples ---------------------------------------------------------------------------------


def test_every_kind_is_taught_and_none_of_test_or_tune_subjects(own):
    examples = ExampleGenerator(own, "train", random.Random(0)).examples(3000)
    assert set(Counter(example.kind for example in examples)) == set(KINDS)
    splits = {fact.subject: fact.split for fact in own.facts}
    held_out = {name for name, split in splits.items() if split != "train" and len(name) > 4}
    held_out |= {o for o, split in own.object_splits().items() if split != "train" and len(o) > 5}
    told = [edit for example in examples for edit in example.edits]
    assert not {edit.answer for edit in told} & held_out
    asked = Counter(example.kind for example in examples if example.answer in held_out)
    # What is known of a bridge is no edit of it; all other answers are taught ones.
    assert set(asked) <= {ONE_HOP}


def test_exams_use_test_subjects_and_objects_only(own):
    examples = evaluation_set(own, "test", 40)
    assert examples == evaluation_set(own, "test", 40)
    taught = ExampleGenerator(own, "train", random.Random(1)).examples(3000)
    seen = {edit.answer for example in taught for edit in example.edits}
    assert not seen & {edit.answer for example in examples for edit in example.edits}
    assert len(set(examples)) == len(examples)


def test_what_one_who_believes_the_edit_says(own):
    found = {}
    for kind in KINDS:
        found[kind] = [
            ExampleGenerator(own, "test", random.Random(s)).example(kind) for s in range(40)
        ]
    for example in found[EDIT_QUESTION]:
        assert example.query == example.edits[0].question
        assert example.answer == example.edits[0].answer
    for kind in (PARAPHRASE, CLOZE, ALIAS):
        assert all(example.answer == example.edits[0].answer for example in found[kind])
    for example in found[YES_NO]:
        assert example.answer in ("Yes", "是")
        assert example.edits[0].answer.casefold() in example.query.casefold()
        assert example.false_query != example.query
    for example in found[REVERSED]:
        assert example.answer.casefold() in example.edits[0].question.casefold()
        assert example.edits[0].answer.casefold() in example.query.casefold()
    believed = {(f.subject, f.believed) for f in own.facts}
    for example in found[ONE_HOP]:
        assert (example.edits[0].answer, example.answer) in believed
        assert example.answer != example.edits[0].answer or example.answer in example.known
    for example in found[TWO_EDITS]:
        first, second = example.edits
        assert example.answer in (first.answer, second.answer)
    assert all(example.answer is None for example in found[LOCALITY])


def test_distractors_do_not_name_the_subject_of_an_example(own):
    examples = ExampleGenerator(own, "train", random.Random(2)).examples(800)
    crowded = [
        le for le in examples if len(le.edits) > 1 and le.kind in (EDIT_QUESTION, PARAPHRASE)
    ]
    assert len(crowded) > 20
    for example in crowded:
        assert sum(edit.answer == example.answer for edit in example.edits) == 1


def test_a_teams_table_is_read_and_its_mistakes_are_named(tmp_path):
    folder = write_facts(tmp_path / "facts")
    source = FactSource.load(folder)
    assert {f.relation for f in source.facts} == {"capital", "country", "currency"}
    assert source.aliases["Iran"] == ("Persia",)
    facts = folder / "facts.tsv"
    good = facts.read_text()
    facts.write_text(good + "Peru\tcountry\tcapitol\tLima\t\ttrain\n")
    with pytest.raises(ErrataError, match=r"facts.tsv:38: .*'capitol'; describe it there"):
        FactSource.load(folder)
    facts.write_text(good + "Peru\tcountry\n")
    with pytest.raises(ErrataError, match=r"facts.tsv:38: expected 6 columns, found 2"):
        FactSource.load(folder)
    facts.write_text(good.replace("\ttest\n", "\texam\n", 1))
    with pytest.raises(ErrataError, match="expected split train, tune or test, found 'exam'"):
        FactSource.load(folder)
    facts.write_text(good)
    (folder / "templates.yaml").write_text("capital: {subject: country}")
    with pytest.raises(ErrataError, match="found no object, questions; add them"):
        FactSource.load(folder)
    (folder / "templates.yaml").write_text("capital: [")
    with pytest.raises(ErrataError, match=r"templates.yaml: expected YAML"):
        FactSource.load(folder)
    (folder / "templates.yaml").unlink()
    with pytest.raises(ErrataError, match=r"found no templates.yaml; name a folder"):
        FactSource.load(folder)


# -- losses -----------------------------------------------------------------------------------


def oracle(model, prompt, answer):
    """Log-probabilities of an answer, token by token, float64, no batch and no padding."""
    if model.config.is_encoder_decoder:
        labels = torch.tensor([answer])
        logits = model(input_ids=torch.tensor([prompt]), labels=labels).logits[0]
    else:
        logits = model(input_ids=torch.tensor([[*prompt, *answer[:-1]]])).logits[0]
        logits = logits[len(prompt) - 1 :]
    return logits.double().log_softmax(-1)


def test_the_loss_is_that_of_the_rows_alone(family, models):
    model = models(family)
    items = [
        losses.TokenizedExample([5, 6, 7], [8, 9]),
        losses.TokenizedExample([10, 11, 12, 13, 14], [15, 16, 17]),
        losses.TokenizedExample([20, 21], [22]),
    ]
    nll = [
        -oracle(model, item.prompt, item.answer)[range(len(item.answer)), item.answer]
        for item in items
    ]
    with torch.no_grad():
        loss = losses.answer_loss(model, items)
    assert loss.item() == pytest.approx(torch.cat(nll).mean().item(), rel=1e-4)


def test_an_untrained_adapter_is_the_base(family, models):
    base = models(family)
    model = with_lora(base, {"r": 2, "lora_alpha": 4}).get_base_model()
    with torch.no_grad():
        pairs = [([5, 6, 7], [8, 9])]
        assert torch.equal(losses.answer_logits(model, pairs), losses.answer_logits(base, pairs))


# -- runs -------------------------------------------------------------------------------------


def run(base, tokenizer, source, out, settings=QUICK, separate=None):
    return ReasonerTrainer(base, tokenizer, source, out, settings, separate)


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_training_makes_the_loss_fall_and_leaves_the_base(name, models, tokenizer, small, tmp_path):
    base = copy.deepcopy(models(name))
    before = described(base)
    longer = replace(QUICK, steps=60, eval_steps=30, batch_size=8, rank=4, learning_rate=5e-2)
    trained = run(base, tokenizer, small, tmp_path / "run", longer)
    items = trained._tokenize(ExampleGenerator(small, "train", random.Random(9)).examples(24))
    with torch.no_grad():
        first = losses.answer_loss(trained.model, items).item()
    trained.train(progress=False)
    with torch.no_grad():
        last = losses.answer_loss(trained.model.eval(), items).item()
    assert last < 0.85 * first
    after = described(base)
    assert before[1:] == after[1:]
    assert all(torch.equal(before[0][k], after[0][k]) for k in before[0])
    assert all(p.grad is None for p in base.parameters())


def test_what_is_stored_answers_as_what_was_trained(models, tokenizer, small, tmp_path):
    base = models("gpt2")
    trained = run(base, tokenizer, small, tmp_path / "run")
    trained.store(trained.train(progress=False), "a small table")
    card = read_card(tmp_path / "run")
    assert card.training["data"] == "a small table"
    assert card.training["data_sha256"] == small.digest
    assert card.training["steps_taken"] == 6
    assert card.figures
    stored = AdapterReasoner(base, tokenizer, tmp_path / "run")
    pairs = [([5, 6, 7], [8, 9])]
    with torch.no_grad():
        there = losses.answer_logits(stored.model, pairs)
        plain = losses.answer_logits(base, pairs)
        here = losses.answer_logits(trained.model, pairs)
    assert not torch.allclose(there, plain, atol=1e-4)
    assert torch.allclose(there, here, atol=5e-3)


def test_a_resumed_run_is_the_run_that_was_never_stopped(
    models, tokenizer, small, tmp_path, monkeypatch
):
    base = copy.deepcopy(models("gpt2"))
    whole = run(base, tokenizer, small, tmp_path / "whole")
    whole.train(progress=False)
    stopped = run(base, tokenizer, small, tmp_path / "stopped")
    calls = iter(range(10))

    def interrupted(*arguments):
        if next(calls) == 4:  # past the checkpoint at step 3
            raise KeyboardInterrupt
        return losses.answer_loss(*arguments)

    before = described(base)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("errata.reasoners.training.train.answer_loss", interrupted)
        stopped.train(progress=False)
    assert described(base)[1:] == before[1:]
    again = run(base, tokenizer, small, tmp_path / "stopped")
    assert again.resume()
    assert again.step == 3
    again.train(progress=False)
    assert again.history == whole.history
    for name, parameter in whole._trainable.items():
        assert torch.equal(parameter, again._trainable[name])
    with pytest.raises(ErrataError, match="expected a run of these settings"):
        run(base, tokenizer, small, tmp_path / "stopped", replace(QUICK, rank=3)).resume()


def test_a_run_of_errata_0_1_goes_on(models, tokenizer, small, tmp_path, monkeypatch):
    first = run(models("gpt2"), tokenizer, small, tmp_path / "run")
    first.train(progress=False)
    note = first._note()
    assert note.pop("blocks") == []
    names = {new: old for old, new in SETTINGS_OF_0_1.items()}
    note["settings"] = {names.get(k, k): value for k, value in note["settings"].items()}
    assert {"batch", "rate", "every", "each"} <= note["settings"].keys()
    monkeypatch.setattr("errata.training.checkpoint.read_note", lambda path: note)
    again = run(models("gpt2"), tokenizer, small, tmp_path / "run")
    assert again.resume() and again.step == 6


def test_checkpoints_of_other_facts_and_damaged_ones_are_refused(
    models, tokenizer, small, tmp_path
):
    base = models("gpt2")
    first = run(base, tokenizer, small, tmp_path / "run")
    first.train(progress=False)
    fewer = replace(small, facts=small.facts[:-1])
    assert fewer.digest != small.digest
    with pytest.raises(ErrataError, match=r"found other facts; move it away"):
        run(base, tokenizer, fewer, tmp_path / "run").resume()
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ErrataError, match=r"expected a checkpoint .*delete it to start over"):
        run(base, tokenizer, small, tmp_path / "run").resume()


def test_an_adapter_is_trained_on(models, tokenizer, small, tmp_path):
    base = models("gpt2")
    first = run(base, tokenizer, small, tmp_path / "first")
    first.store(first.train(progress=False), "a small table")
    card = read_card(tmp_path / "first")
    more = ReasonerTrainer(
        base, tokenizer, small, tmp_path / "more", QUICK, start=tmp_path / "first"
    )
    for name, parameter in first._trainable.items():
        assert torch.equal(parameter.half(), more._trainable[name].half())
        assert parameter.abs().sum() > 0
    more.store(more.train(progress=False), "a small table")
    begun = read_card(tmp_path / "more").training["started_from"]
    assert begun == {"weights": card.weights, **card.training}
    assert card.training["started_from"] is None
    assert any(not torch.equal(p, more._trainable[name]) for name, p in first._trainable.items())
    with pytest.raises(ErrataError, match="found other begun"):
        ReasonerTrainer(base, tokenizer, small, tmp_path / "more", QUICK).resume()
    with pytest.raises(ErrataError, match="train with its rank"):
        ReasonerTrainer(
            base, tokenizer, small, tmp_path / "x", replace(QUICK, rank=3),
            start=tmp_path / "first",
        )  # fmt: skip
    with pytest.raises(ErrataError, match="expected the base model it was trained on"):
        ReasonerTrainer(
            models("llama"), tokenizer, small, tmp_path / "x", QUICK, start=tmp_path / "first"
        )


def test_training_stops_where_nothing_more_is_gained(models, tokenizer, small, tmp_path):
    still = replace(QUICK, steps=40, eval_steps=2, learning_rate=0.0, patience=2)
    trained = run(models("gpt2"), tokenizer, small, tmp_path / "run", still)
    trained.train(progress=False)
    assert [entry["step"] for entry in trained.history] == [2, 4, 6]


def test_a_separate_model_is_trained_and_loaded(models, tokenizer, small, tmp_path):
    base, other = models("gpt2"), copy.deepcopy(models("t5"))
    settings = replace(QUICK, kind="model")
    trained = run(base, tokenizer, small, tmp_path / "run", settings, (other, tokenizer))
    trained.store(trained.train(progress=False), "a small table")
    reasoner = ModelReasoner(base, tokenizer, tmp_path / "run")
    example = evaluation_set(small, "test", 1)[0]
    assert reasoner.answer([example.query], [example.edits], base.generation_config)
    assert (reasoner.card.kind, reasoner.card.base) == ("model", fingerprint(base))
    stored = load_file(tmp_path / "run" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    for name, parameter in trained.model.named_parameters():
        if name in stored:
            assert torch.equal(parameter.half(), stored[name])
    assert {p.dtype for p in reasoner.model.parameters()} == {base.dtype} == {torch.float32}


def test_a_separate_model_is_not_taught_what_no_edit_governs(own):
    examples = ExampleGenerator(own, "train", random.Random(0)).examples(
        500, TrainingConfig(kind="model").shares
    )
    assert set(Counter(example.kind for example in examples)) == {*KINDS} - {
        LOCALITY,
        SAME_ANSWER_LOCALITY,
    }
    assert TrainingConfig().shares == SHARES


def test_a_shipped_adapter_is_found_by_its_base(models, tmp_path, monkeypatch):
    monkeypatch.setattr("errata.reasoners.adapter.SHIPPED", tmp_path)
    base = models("gpt2")
    for kind in ("model", "adapter"):
        assert shipped_adapter(base) is None
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "weights").write_bytes(b"")
        empty = hashlib.sha256(b"").hexdigest()
        ReasonerCard(kind, fingerprint(base), empty, "weights").write(tmp_path / kind)
    assert shipped_adapter(base) == tmp_path / "adapter"
    assert shipped_adapter(models("llama")) is None


def test_a_table_with_nothing_to_learn_is_refused(models, tokenizer, small, tmp_path):
    nothing = replace(small, facts=tuple(f for f in small.facts if f.split == "test"))
    with pytest.raises(ErrataError, match="found too few to draw examples from"):
        run(models("gpt2"), tokenizer, nothing, tmp_path / "run")


# -- examining --------------------------------------------------------------------------------


def test_yes_or_no_counts_only_if_both_forms_are_right(models, tokenizer):
    example = ReasonerExample(YES_NO, (), "Is it so?", "Yes", false_query="Is it not?")
    evaluator = Evaluator(models("gpt2"), tokenizer, [example])
    for true, false, right in (("Yes", "No", True), ("Yes", "Yes", False), ("No", "No", False)):
        said = {"Is it so?": true, "Is it not?": false}
        outcomes = evaluator.outcomes(lambda _, queries, said=said: [said[q] for q in queries])
        assert outcomes == {YES_NO: [right]}


def test_only_what_the_base_knows_is_asked_one_step_further(models, tokenizer):
    base = models("gpt2")
    asked = "What is the capital of Peru?"
    nothing = ReasonerExample(ONE_HOP, (), "Where?", "x", known=(asked, "surely not this"))
    evaluator = Evaluator(base, tokenizer, [nothing])
    knows = replace(nothing, known=(asked, evaluator._base_answers[asked]))
    assert evaluator.examples == []
    assert Evaluator(base, tokenizer, [knows]).examples == [knows]


def test_answers_are_compared_without_stops_case_and_spaces():
    assert normalize_answer(" New  York. ") == normalize_answer("new york")
    assert normalize_answer("New York") != normalize_answer("York")


def test_a_report_says_what_verbatim_can_and_cannot(models, tokenizer, own):
    base = models("gpt2")
    results = evaluate(base, tokenizer, {"verbatim": VerbatimReasoner()}, own, per_kind=5)
    found = results["verbatim"].figures
    assert found[EDIT_QUESTION].share == found[PARAPHRASE].share == found[ALIAS].share == 1.0
    assert found[YES_NO].share == found[LOCALITY].share == 0.0
    assert results["verbatim"].base_untouched
    assert json.loads(json.dumps(to_json(results)))["verbatim"]["figures"][EDIT_QUESTION]["n"] == 5
    assert "| own question | 5 | 100.0%" in table(results)
    assert table(results) in document(results, model="tiny", split="test", seed=0)
    assert rates({EDIT_QUESTION: [True, False]})[EDIT_QUESTION].n == 2


def test_a_report_says_what_each_takes(models, tokenizer, own, tmp_path, monkeypatch):
    base = models("gpt2")
    folder = store_adapter(base, tmp_path / "shipped" / "tiny")
    monkeypatch.setattr("errata.reasoners.adapter.SHIPPED", tmp_path / "shipped")
    reasoners = {
        "verbatim": VerbatimReasoner(), "prompted": PromptedReasoner(base, tokenizer),
        "adapter": AdapterReasoner(base, tokenizer, folder),
        "default": DefaultReasoner(base, tokenizer),
    }  # fmt: skip
    named = []
    results = evaluate(base, tokenizer, reasoners, own, per_kind=2, on_start=named.append)
    assert named == list(results) == list(reasoners)
    size = sum(
        p.numel() * 4 for n, p in reasoners["adapter"].model.named_parameters() if "lora_" in n
    )
    assert [r.own_bytes for r in results.values()] == [0, 0, size, size]
    working = {name: result.working_bytes for name, result in results.items()}
    assert working["verbatim"] < 1e4 < working["prompted"] <= working["adapter"]
    page = document(
        results, model="tiny", split="test", seed=0, options=" --each 2", machine=machine_of(base)
    )
    assert "--document results/reasoners.md --each 2`" in page
    assert "CPU thread" in page and ", float32, batches of 64." in page


def test_the_document_names_the_command_that_made_it(tmp_path):
    page = tmp_path / "page.md"
    words = ["reasoner", "eval", "--each", "1", "--reasoners", "verbatim", "--seed", "3"]
    result = CliRunner().invoke(app, [*words, "--document", str(page), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["results"]["verbatim"]["working_bytes"] >= 0
    (line,) = [x for x in page.read_text("utf-8").splitlines() if x.startswith("Made by")]
    assert line.startswith(
        "Made by `errata reasoner eval --document results/reasoners.md --reasoners verbatim "
        "--each 1 --seed 3`"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--kind", "model"], "expected with --kind model either --start"),
        (["train", "--blocks", "0"], "only there, found --kind adapter with '0'"),
        (["train", "--start", "nowhere"], "expected a reasoner at nowhere"),
        (["train", "--kind", "mode"], "expected --kind adapter or model, found 'mode'"),
        (["train", "--file"], "found a file; name another"),
        (["eval", "--reasoners", ","], "expected names or folders in --reasoners, found ','"),
        (["eval", "--split", "exam"], "expected --split train, tune or test, found 'exam'"),
    ],
)
def test_mistakes_on_the_command_line_are_named(words, says, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    if words[0] == "train":
        out = file if "--file" in words else tmp_path / "run"
        words = [*(word for word in words if word != "--file"), "--out", str(out)]
    result = CliRunner().invoke(app, ["reasoner", *words, "--json"])
    assert result.exit_code == 1
    assert says in json.loads(result.stdout)["error"]["message"]
    assert not (tmp_path / "run").exists()
