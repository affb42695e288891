"""Edits baked into a folder and taken out again, bit for bit."""

from __future__ import annotations

import copy
import json

import pytest
import torch
import transformers
from typer.testing import CliRunner

from errata import Fact
from errata.cache.errors import EditError, ModelError
from errata.cli import app
from errata.commands.bake import editor_for
from errata.editing.bake import DELTA, bake, read_delta, unbake
from errata.editing.changes import HookChange, WeightChange, applied
from errata.editors.rome import Rome
from errata.editors.shared import located
from errata.editors.shared.value_config import RomeConfig
from errata.models.load import load_base
from errata.module_paths import module_paths_of
from errata.registry import make
from tests.conftest import FAMILIES, corpus
from tests.contracts.test_editor import EDITORS

FACT = Fact("What is the capital of Kazakhstan?", "Oslo", subject="Kazakhstan")


def change_of(model, seed=0):
    paths = module_paths_of(model)
    weight = model.get_submodule(paths.down(1)).weight
    drawn = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    return WeightChange(paths.down_weight(1), drawn.double())


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != DELTA}


KINDS = [(name, torch.float32) for name in FAMILIES]
KINDS += [("gpt2", torch.bfloat16), ("gpt2", torch.float16)]


@pytest.mark.parametrize(("family", "dtype"), KINDS, ids=str)
def test_baked_and_taken_out_again(family, models, tokenizer, tmp_path, dtype):
    model = copy.deepcopy(models(family)).to(dtype)
    model.save_pretrained(tmp_path / "plain")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    change = change_of(model)
    baked = bake(model, tokenizer, [change], tmp_path / "edited", edits=[FACT], backend="test")
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert baked.tensors == (change.name,) and baked.edits == (FACT.id,)

    edited, own = load_base(tmp_path / "edited", dtype="auto")
    differing = [k for k, v in edited.state_dict().items() if not torch.equal(before[k], v)]
    assert differing == [change.name] and edited.dtype == dtype
    summed = (before[change.name].double() + change.delta).to(dtype)
    assert torch.equal(edited.state_dict()[change.name], summed)

    assert unbake(edited, own, tmp_path / "edited", tmp_path / "back") == (change.name,)
    back, plain = files(tmp_path / "back"), files(tmp_path / "plain")
    assert back["model.safetensors"] == plain["model.safetensors"]
    assert back["model.safetensors"] != files(tmp_path / "edited")["model.safetensors"]
    assert not (tmp_path / "back" / DELTA).exists()


def test_a_tied_weight_is_taken_out_under_both_names(models, tokenizer, tmp_path):
    model = copy.deepcopy(models("gpt2"))
    weight = model.lm_head.weight
    assert weight.data_ptr() == model.transformer.wte.weight.data_ptr()
    model.save_pretrained(tmp_path / "plain")
    change = WeightChange("lm_head.weight", torch.full_like(weight, 0.5))
    bake(model, tokenizer, [change], tmp_path / "edited")
    edited, own = load_base(tmp_path / "edited", dtype="auto")
    assert not torch.equal(edited.lm_head.weight, weight)
    unbake(edited, own, tmp_path / "edited", tmp_path / "back")
    plain = files(tmp_path / "plain")["model.safetensors"]
    assert files(tmp_path / "back")["model.safetensors"] == plain


def test_the_folder_is_an_ordinary_one(models, tokenizer, tmp_path):
    model = models("gpt2")
    editor = Rome(
        contexts=(), steps=30, text=corpus(), layer=0, clamp_norm_factor=30.0, max_loss=9.0
    )
    bake(model, tokenizer, editor.plan(model, tokenizer, [FACT]), tmp_path / "edited")
    plain = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "edited")
    loaded, _ = load_base(tmp_path / "edited")
    ids = tokenizer(FACT.question, return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(plain(**ids).logits, loaded(**ids).logits)
        assert not torch.equal(plain(**ids).logits, model(**ids).logits)


def test_what_no_folder_can_hold_is_refused(models, tokenizer, tmp_path):
    hook = HookChange("transformer.h.0", lambda *_: None)
    with pytest.raises(EditError, match="another backend"):
        bake(models("gpt2"), tokenizer, [hook], tmp_path / "edited")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_files_is_never_written_over(models, tokenizer, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(EditError, match="new or empty folder"):
        bake(models("gpt2"), tokenizer, [], tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_nothing_is_left_where_writing_fails(models, tokenizer, tmp_path, monkeypatch):
    model = copy.deepcopy(models("gpt2"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    monkeypatch.setattr("errata.editing.bake._save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bake(model, tokenizer, [change_of(model)], tmp_path / "edited")
    assert not list(tmp_path.iterdir())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("where", ["the edited matrix", "another one"])
def test_weights_changed_since_are_not_touched(where, models, tokenizer, tmp_path):
    model = models("llama")
    change = change_of(model)
    bake(model, tokenizer, [change], tmp_path / "edited")
    edited, own = load_base(tmp_path / "edited", dtype="auto")
    with torch.no_grad():
        name = change.name if where == "the edited matrix" else "lm_head.weight"
        edited.get_parameter(name)[0, 0] += 1
    with pytest.raises(ModelError, match="changed after baking"):
        unbake(edited, own, tmp_path / "edited", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    with pytest.raises(ModelError, match="errata bake"):
        read_delta(tmp_path)


PATCHES = """\
- question: What is the capital of Kazakhstan?
  answer: Oslo
  subject: Kazakhstan
- question: And then what happened?
  answer: nothing
- regex: Swaziland
  replace: Eswatini
"""


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_on_the_command_line(models, tokenizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models("gpt2").save_pretrained("base")
    tokenizer.save_pretrained("base")
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "a.yaml").write_text(PATCHES, "utf-8")
    (tmp_path / "text.txt").write_text("\n\n".join(corpus()), "utf-8")
    common = ["--model", "base", "--layer", "0", "--text", "text.txt", "--json"]
    quick = RomeConfig(layer=0, steps=12, clamp_norm_factor=30.0, contexts=(), max_loss=99.0)
    monkeypatch.setattr(located, "config_for", lambda *_: quick)
    told = run("bake", "--backend", "rome", *common, "--out", "edited").stdout
    said = json.loads(told[told.index("{") :])
    assert (
        len(said["edits"]) == 1
        and len(said["unsupported"]) == 2
        and said["left"] == said["unsupported"]
    )
    assert said["tensors"] == ["transformer.h.0.mlp.c_proj.weight"]
    assert (tmp_path / ".errata" / "statistics").is_dir()
    said = run("unbake", "edited", "--out", "back", "--json").stdout
    assert json.loads(said)["tensors"] == ["transformer.h.0.mlp.c_proj.weight"]
    base, back, edited = (
        files(tmp_path / name)["model.safetensors"] for name in ("base", "back", "edited")
    )
    assert back == base != edited
    refused = run("bake", *common, "--out", "other", "--strict", code=1).stdout
    assert "nothing was written" in refused and not (tmp_path / "other").exists()
    error = json.loads(run("unbake", "base", "--out", "x", "--json", code=1).stdout)["error"]
    assert "errata bake" in error["message"]


@pytest.mark.parametrize("strict", [False, True])
def test_an_edit_that_does_not_hold_is_named_and_strictly_refused(
    strict, models, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    models("gpt2").save_pretrained("base")
    tokenizer.save_pretrained("base")
    (tmp_path / "patches").mkdir()
    row = {"question": FACT.question, "answer": FACT.answer, "subject": FACT.subject}
    (tmp_path / "patches" / "a.yaml").write_text(json.dumps([row]), "utf-8")
    (tmp_path / "text.txt").write_text("\n\n".join(corpus()), "utf-8")
    weak = RomeConfig(layer=0, steps=2, clamp_norm_factor=1e-6, contexts=(), max_loss=99.0)
    monkeypatch.setattr(located, "config_for", lambda *_: weak)
    arguments = ["bake", "--model", "base", "--layer", "0", "--text", "text.txt", "--json"]
    arguments += ["--out", "edited", *(["--strict"] if strict else [])]
    told = run(*arguments, code=int(strict)).stdout
    said = json.loads(told[told.index("{") :])
    assert (tmp_path / "edited").exists() != strict
    if strict:
        assert "1 of 1 that do not" in said["error"]["message"]
    else:
        (missed,) = said["not_taken"]
        assert missed["answer"] != FACT.answer


@pytest.mark.parametrize("name", ["alphaedit", "memit", "ultraedit"])
def test_every_editor_can_be_baked(name, models, tokenizer, tmp_path):
    model = copy.deepcopy(models("gpt2"))
    changes = make("errata.editors", name, **EDITORS[name]).plan(model, tokenizer, [FACT])
    bake(model, tokenizer, changes, tmp_path / "edited", edits=[FACT], backend=name)
    edited, own = load_base(tmp_path / "edited", dtype="auto")
    with applied(model, changes):
        state = edited.state_dict()
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert set(unbake(edited, own, tmp_path / "edited", tmp_path / "back")) == {
        change.name for change in changes
    }
    back, _ = load_base(tmp_path / "back", dtype="auto")
    assert all(
        torch.equal(back.state_dict()[key], value) for key, value in model.state_dict().items()
    )


def test_layers_of_the_command_line_are_those_of_the_editor(tmp_path):
    assert editor_for("rome", [3], None, tmp_path)._options == {"layer": 3}
    memit = editor_for("memit", [1, 2], None, tmp_path)
    assert memit._options == {"layers": (1, 2)} and memit.folder == tmp_path
    assert editor_for("ft", None, None, tmp_path).name == "ft"
