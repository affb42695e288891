"""SERAC's two parts: trained by one command, kept in the user's cache, found by the pipeline."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from errata.cache.errors import ErrataError, ModelError
from errata.cache.storage.user_cache import user_cache_folder
from errata.cli import app
from errata.commands import opening
from errata.facts import FactSource
from errata.gates.embedding import EmbeddingGate
from errata.pipelines.serac import Serac, check_trained, serac_folder
from errata.reasoners.card import read_card
from errata.reasoners.training import serac
from errata.reasoners.training.config import TrainingConfig
from tests.fakes import StubEncoder
from tests.small_facts import write_facts
from tests.unit.helpers import FACT, editable

TINY = serac.SeracConfig(
    reasoner=TrainingConfig(
        kind="model",
        steps=4,
        batch_size=4,
        eval_steps=2,
        eval_examples=1,
        warmup=1,
        learning_rate=1e-3,
    ),
    blocks=(1,),
)


def quick_gate(out, *, encoder, config, **_):
    gate = EmbeddingGate(encoder, 1.5 * np.eye(encoder.dimension), card={"seed": config.seed})
    gate.save(out)
    return gate


@pytest.fixture(scope="module")
def trained(models, tokenizer, tmp_path_factory):
    """Return a user's cache folder with the parts of one model, and the facts they learned."""
    cache = tmp_path_factory.mktemp("cache")
    source = FactSource.load(write_facts(tmp_path_factory.mktemp("facts")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ERRATA_CACHE", str(cache))
        folder = serac_folder(models("gpt2"))
        # how it is trained: tests/unit/gates/test_embedding_gate.py
        patch.setattr(serac, "train_serac", quick_gate)
        serac.train_gate(StubEncoder(), folder, TINY, progress=False)
    serac.train_counterfactual(models("gpt2"), tokenizer, source, folder, TINY, progress=False)
    return cache, folder, source


def test_what_was_trained_is_found_without_being_named(trained, models, tokenizer, monkeypatch):
    cache, folder, _ = trained
    monkeypatch.setenv("ERRATA_CACHE", str(cache))
    model = editable(models("gpt2"), tokenizer, FACT)
    with model.using("serac", [FACT]) as used:
        assert used.edits == (FACT,)
        decision = model.ask(FACT.question, max_new_tokens=4).decision
        assert (decision.route, decision.fired) == ("reason", (FACT,))
    assert read_card(folder / "reasoner").kind == "model"
    check_trained({}, "gpt2")
    with pytest.raises(ModelError, match=r"SERAC's gate in .*`errata serac train --model MODEL`"):
        Serac(models("llama"), tokenizer, StubEncoder())  # trained for another base


def test_what_is_there_is_not_trained_again(trained, models, tokenizer, monkeypatch):
    _, folder, source = trained
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert not {"checkpoint.safetensors", "best.safetensors"} & {path.name for path in files}
    base = models("gpt2")
    gate = serac.train_gate(StubEncoder(), folder, TINY, progress=False)
    assert gate.decide is not None
    serac.train_counterfactual(base, tokenizer, source, folder, TINY, progress=False)
    assert files == {path: path.stat().st_mtime_ns for path in files}
    # other settings, another encoder: anew
    calls = []
    monkeypatch.setattr(serac, "train_serac", lambda out, **given: calls.append(out))
    serac.train_gate(StubEncoder(fingerprint="another"), folder, TINY, progress=False)
    serac.train_gate(
        StubEncoder(), folder, replace(TINY, gate=replace(TINY.gate, seed=1)), progress=False
    )
    questions = folder / "questions.jsonl"
    serac.train_gate(StubEncoder(), folder, TINY, open_questions=questions, progress=False)
    assert calls == [folder / "gate"] * 3
    longer = replace(TINY, reasoner=replace(TINY.reasoner, steps=6))
    assert serac._is_trained(folder / "reasoner", base, source, TINY)
    assert not serac._is_trained(folder / "reasoner", base, source, longer)
    assert not serac._is_trained(folder / "reasoner", base, source, replace(TINY, blocks=(0,)))
    assert not serac._is_trained(folder / "reasoner", models("llama"), source, TINY)


def test_an_interrupted_training_goes_on(models, tokenizer, tmp_path, monkeypatch):
    source = FactSource.load(write_facts(tmp_path / "facts"))
    base, losses = models("gpt2"), []
    real = serac.ReasonerTrainer._evaluate_and_save

    def interrupted(self, loss):
        real(self, loss)
        losses.append(self.step)
        if losses == [2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(serac.ReasonerTrainer, "_evaluate_and_save", interrupted)
    train = (base, tokenizer, source, tmp_path / "out", TINY)
    with pytest.raises(KeyboardInterrupt):
        serac.train_counterfactual(*train, progress=False)
    folder = serac.train_counterfactual(*train, progress=False)
    assert losses == [2, 4]
    assert read_card(folder).training["steps_taken"] == 4


def test_the_users_cache_is_the_platforms_unless_named(monkeypatch, tmp_path):
    monkeypatch.delenv("ERRATA_CACHE", raising=False)
    assert user_cache_folder().name == "errata"
    monkeypatch.setenv("ERRATA_CACHE", str(tmp_path))
    assert user_cache_folder() == tmp_path


def test_compare_refuses_before_a_model_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setenv("ERRATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(opening, "open_model", lambda *_: pytest.fail("a model was loaded"))
    data = tmp_path / "cases.jsonl"
    data.write_text("")
    words = ["compare", "--data", str(data), "--backends", "serac", "--model", "some/model"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run"), "--json"])
    assert result.exit_code == 1
    message = json.loads(result.stdout)["error"]["message"]
    assert "expected SERAC's parts in" in message
    assert "`errata serac train --model some/model`" in message


def test_the_command_trains_into_the_cache_or_a_folder(models, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("ERRATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "errata.models.load.load_base", lambda *_, **__: (models("gpt2"), tokenizer)
    )
    monkeypatch.setattr(opening, "open_encoder", lambda name, **_: StubEncoder())
    given = []

    def gate(encoder, out, config, **options):
        given.append((out, config, options["open_questions"]))
        return type("Gate", (), {"card": {"seed": 0}})

    monkeypatch.setattr(serac, "train_gate", gate)
    monkeypatch.setattr(
        serac, "train_counterfactual", lambda base, tokens, source, out, *_, **__: out / "reasoner"
    )
    command = ["serac", "train", "--blocks", "0,1", "--steps", "7"]
    result = CliRunner().invoke(app, [*command, "--json"])
    assert result.exit_code == 0, result.output
    out, config, questions = given.pop()
    assert out == serac_folder(models("gpt2")) and questions is None
    assert (config.blocks, config.reasoner.steps, config.reasoner.kind) == ((0, 1), 7, "model")
    assert json.loads(result.stdout)["reasoner"] == str(out / "reasoner")
    assert "--backend serac finds it there" in CliRunner().invoke(app, command).stdout
    named = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "runs")])
    assert 'gate="' in named.stdout and given[-1][0] == tmp_path / "runs"
    (tmp_path / "file").write_text("")
    wrong = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "file")])
    assert wrong.exit_code == 1 and "found a file" in wrong.stderr


def test_the_defaults_are_those_of_the_published_figures():
    config = serac.SeracConfig()
    assert config.blocks == (0, 1, 5, 6)
    chosen = config.reasoner
    assert (chosen.kind, chosen.steps, chosen.learning_rate, chosen.batch_size) == (
        "model",
        2500,
        1e-3,
        32,
    )
    assert (config.gate.examples, config.gate.seed, config.fit.epochs) == (45_000, 0, 30)


def test_blocks_that_are_not_there_are_named(models, tokenizer, tmp_path):
    source = FactSource.load(write_facts(tmp_path / "facts"))
    wrong = replace(TINY, blocks=(0, 9))
    with pytest.raises(ErrataError, match="expected a layer from 0 to 1, found 9"):
        serac.train_counterfactual(models("gpt2"), tokenizer, source, tmp_path, wrong)
