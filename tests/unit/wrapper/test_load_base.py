"""Loading a base model by name: the shipped ones, folders, hub ids."""

from __future__ import annotations

import pytest
import torch

import errata
from errata.cache.errors import ModelError
from errata.generation import base_model
from errata.models import atlas, load
from errata.models.load import SHIPPED, load_base


def load_stand_in():
    return "the shipped model", "its tokenizer"


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """Ship a model named `small`, in an empty working directory."""
    monkeypatch.setitem(SHIPPED, "small", load_stand_in)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def passed_on(monkeypatch):
    """Record what is passed on to `transformers`."""
    calls = []

    def record(name, **options):
        calls.append((name, options))
        return "another model", "its tokenizer"

    monkeypatch.setattr(base_model, "load_base", record)
    return calls


def test_a_shipped_model_is_loaded_by_name(shipped, passed_on):
    assert load_base("small") == ("the shipped model", "its tokenizer")
    assert passed_on == []


def test_a_folder_takes_precedence_and_a_file_does_not(shipped, passed_on):
    (shipped / "small").write_text("no folder")
    assert load_base("small")[0] == "the shipped model"
    (shipped / "small").unlink()
    (shipped / "small").mkdir()
    assert load_base("small", dtype="auto")[0] == "another model"
    assert passed_on == [("small", {"dtype": "auto"})]


def test_options_for_a_shipped_model_are_refused(shipped, passed_on):
    with pytest.raises(ModelError, match=r"found \['dtype'\]; wrap what load_stand_in\(\) returns"):
        load_base("small", dtype="auto")
    assert passed_on == []


def test_a_hub_id_is_passed_on_with_its_options(shipped, passed_on):
    assert load_base("org/model", revision="main", dtype="auto")[0] == "another model"
    assert passed_on == [("org/model", {"revision": "main", "dtype": "auto"})]


def test_an_unknown_name_is_refused_with_what_would_be_found(shipped):
    with pytest.raises(
        ModelError, match=r"(?s)expected a model .* at 'no-such-model', found: .*errata"
    ):
        load_base("no-such-model", local_files_only=True)


def test_a_folder_is_loaded_in_evaluation_mode(models, tokenizer, tmp_path):
    models("gpt2").save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, own = load_base(tmp_path)
    assert not model.training
    assert own("Paris")["input_ids"] == tokenizer("Paris")["input_ids"]
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(model(ids).logits, models("gpt2")(ids).logits)


def test_atlas_is_shipped_and_public(monkeypatch, tmp_path):
    assert SHIPPED["atlas"] is errata.load_atlas is atlas.load_atlas is load.load_atlas
    monkeypatch.setattr(atlas, "WEIGHTS", tmp_path)
    with pytest.raises(ModelError, match=r"expected atlas' weights at .*make atlas"):
        load_base("atlas")
