"""Edits saved as a file do on another copy of the base model what they did on the first."""

from __future__ import annotations

import copy

import pytest
import torch

from errata import Fact
from errata.cache.errors import EditError, ModelError
from errata.editing.changes import HookChange
from errata.editing.saved import SavedEdits, save_changes
from errata.editing.stack import ChangeStack
from errata.registry import make
from tests.conftest import build_model
from tests.contracts.test_editor import EDITORS, FORGETS, assert_unedited, bits
from tests.unit.helpers import editable

FACTS = (
    Fact("What is the capital of Kazakhstan?", "Astana", subject="Kazakhstan"),
    Fact("What colour is the skin of the zebra?", "black", subject="zebra"),
)


BESIDE = ("calinet", "grace", "tpatcher", "wise")
"""Editors that leave the weights alone and put a memory beside them."""


@pytest.mark.parametrize("name", BESIDE)
def test_a_saved_memory_gives_the_same_logits_on_another_copy(name, tokenizer, tmp_path):
    model, path = copy.deepcopy(build_model("gpt2")), tmp_path / "edits.safetensors"
    stack = ChangeStack(model, tokenizer, make("errata.editors", name, **EDITORS[name]))
    ids = tokenizer([fact.question for fact in FACTS], return_tensors="pt", padding=True)
    with torch.no_grad():
        plain = model(**ids).logits
        for fact in FACTS:
            stack.add([fact])
        edited, edits, changes = model(**ids).logits, stack.edits, stack.changes
        stack.clear()
    assert not torch.equal(plain, edited)
    save_changes(path, model, changes, edits, name)
    other = copy.deepcopy(build_model("gpt2"))
    saved = SavedEdits(path)
    applied = ChangeStack(other, tokenizer, saved)
    applied.add(saved.edits)
    with torch.no_grad():
        assert torch.equal(other(**ids).logits, edited)
        applied.clear()
        assert torch.equal(other(**ids).logits, plain)
    with torch.no_grad():
        other.get_parameter(f"{changes[0].name}.weight")[0, 0] += 1
    with pytest.raises(ModelError, match="found others"):
        saved.plan(other, tokenizer, FACTS)


@pytest.mark.parametrize("name", sorted(set(EDITORS) - set(FORGETS) - set(BESIDE)))
def test_a_saved_edit_gives_the_same_weights_on_another_copy(name, tokenizer, tmp_path):
    model = copy.deepcopy(build_model("gpt2"))
    before, path = bits(model), tmp_path / "edits.safetensors"
    stack = ChangeStack(model, tokenizer, make("errata.editors", name, **EDITORS[name]))
    for fact in FACTS:
        stack.add([fact])
    edited, edits, changes = bits(model), stack.edits, stack.changes
    assert any(not torch.equal(before[key], edited[key]) for key in before)
    stack.clear()
    save_changes(path, model, changes, edits, name)
    other = copy.deepcopy(build_model("gpt2"))
    saved = SavedEdits(path)
    assert saved.edits == FACTS and saved.backend == name
    applied = ChangeStack(other, tokenizer, saved)
    applied.add(saved.edits)
    assert_unedited(other, edited)  # bit for bit the same edited weights
    for one, again in zip(changes, applied.changes, strict=True):
        assert one.memory.keys() == again.memory.keys()
    applied.clear()
    assert_unedited(other, before)


def test_an_editable_model_saves_what_is_in_its_weights(tokenizer, tmp_path):
    model, other = (editable(copy.deepcopy(build_model("gpt2")), tokenizer) for _ in range(2))
    path = tmp_path / "edits.safetensors"
    with pytest.raises(EditError, match="editor of weights in use"):
        model.save_edits(path)
    with model.using("ft", edits=FACTS, verify=False, **EDITORS["ft"]):
        edited = bits(model.base)
        model.save_edits(path)
        assert_unedited(model.base, edited)  # still in use after saving
    saved, before = SavedEdits(path), bits(other.base)
    with other.using(saved, edits=saved.edits, verify=False) as used:
        assert used.edits == FACTS
        assert_unedited(other.base, edited)
    assert_unedited(other.base, before)


def test_another_model_and_parts_of_a_file_are_refused(tokenizer, tmp_path):
    model, path = copy.deepcopy(build_model("gpt2")), tmp_path / "edits.safetensors"
    editor = make("errata.editors", "ft", **EDITORS["ft"])
    save_changes(path, model, editor.plan(model, tokenizer, FACTS), FACTS, "ft")
    saved = SavedEdits(path)
    with pytest.raises(EditError, match="all of its 2 edits"):
        saved.plan(model, tokenizer, FACTS[:1])
    assert not saved.supports(Fact("Who are you?", "me"))
    (name,) = {change.name for change in saved.plan(model, tokenizer, FACTS)}
    with torch.no_grad():
        model.get_parameter(name)[0, 0] += 1
    with pytest.raises(ModelError, match="found others"):
        saved.plan(model, tokenizer, FACTS)
    with pytest.raises(ModelError, match="expected a parameter"):
        saved.plan(build_model("llama"), tokenizer, FACTS)


def test_what_is_no_file_of_edits_is_told(tmp_path):
    path = tmp_path / "edits.safetensors"
    for content in (b"", b"nothing"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="save_edits"):
            SavedEdits(path)
    with pytest.raises(EditError, match="cannot be saved"):
        hook = HookChange("transformer.h.0", lambda *_: None)
        save_changes(path, build_model("gpt2"), [hook], FACTS)
