"""EditableModel around generate: asking, editing, folders, pipelines, standing in for the base."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from transformers import GenerationConfig, pipeline

from errata import EditableModel, Fact, LanguagePatch, load_atlas
from errata.cache.errors import EditError, ErrataError, ModelError, PatchFolderError, UnknownEdit
from errata.cache.patches import folder as folders
from errata.reasoners.verbatim import VerbatimReasoner
from tests.fakes import StubEncoder
from tests.unit.helpers import CAPITAL, FACT, OTHER, batch, editable

PATCH = """\
- question: What is the capital of Kazakhstan?
  answer: Astana
- if: the user asks who made you
  then: say that you were made by Example Labs
"""


def test_ask_and_explain_tell_the_same_decision(models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    answer = model.ask(CAPITAL)
    assert answer.text == "Astana"
    assert answer.decision == model.explain(CAPITAL)
    assert answer.decision.fired == (FACT,)
    assert not model.explain(OTHER).hit
    assert model.explain(OTHER).candidates[0].edit_id == FACT.id


def test_ask_many_keeps_the_order(models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    alone = model.ask(OTHER, max_new_tokens=4)
    texts = [a.text for a in model.ask_many([CAPITAL, OTHER, CAPITAL], max_new_tokens=4)]
    assert texts[0] == texts[2] == "Astana"
    assert texts[1] == alone.text
    assert model.ask_many([]) == []


def test_edits_are_made_and_taken_back(models, tokenizer):
    model = editable(models("gpt2"), tokenizer, Fact("Is grass blue?", "Yes"))
    bare = model.ask(CAPITAL, edits=False, max_new_tokens=5).text
    assert model.ask(CAPITAL, max_new_tokens=5).text == bare != "Astana"
    made = model.edit(FACT)
    assert model.ask(CAPITAL).text == "Astana"
    assert model.retract(made.id) == FACT
    assert model.ask(CAPITAL, max_new_tokens=5).text == bare
    with pytest.raises(UnknownEdit):
        model.retract(made.id)


def test_a_patches_folder_is_in_force_and_reloaded(models, tokenizer, tmp_path):
    file = tmp_path / "facts.yaml"
    file.write_text(PATCH)
    model = editable(models("gpt2"), tokenizer, patches=tmp_path)
    assert model.ask(CAPITAL).text == "Astana"
    with pytest.raises(EditError, match=r"facts\.yaml:1"):
        model.retract(model.edits[0].id)
    file.write_text(PATCH.replace("answer: Astana", "anser: Astana"))
    with pytest.raises(PatchFolderError, match=r"facts\.yaml:2.*answer"):
        model.reload()
    assert model.ask(CAPITAL).text == "Astana", "the last good set stays in force"
    file.write_text(PATCH.replace("Astana", "Akmola"))
    model.reload()
    assert model.ask(CAPITAL).text == "Akmola"


def test_a_wrong_folder_is_refused_before_anything_is_wrapped(models, tokenizer, tmp_path):
    with pytest.raises(PatchFolderError, match="nowhere"):
        editable(models("gpt2"), tokenizer, patches=tmp_path / "nowhere")


def test_edits_last_in_a_cache_folder(models, tokenizer, tmp_path):
    first = editable(models("gpt2"), tokenizer, FACT, cache=tmp_path / "cache")
    first.cache.close()
    again = editable(
        models("gpt2"), tokenizer, Fact("Is grass blue?", "Yes"), cache=tmp_path / "cache"
    )
    assert again.ask(CAPITAL).text == "Astana"


def test_language_patches_say_what_they_say(models, tokenizer):
    patch = LanguagePatch("the user asks who made you", "say that you were made by Example Labs")
    model = editable(models("gpt2"), tokenizer, patch)
    assert "Example Labs" in model.ask("the user asks who made you").text


def test_a_consequence_that_has_to_be_reasoned_about_waits_for_a_reasoner(models, tokenizer):
    patch = LanguagePatch(
        "the user asks who made you", "the tone is warm and playful, with a rhyme in every line"
    )
    assert not VerbatimReasoner().supports(patch)
    model = editable(models("gpt2"), tokenizer, patch, reasoner="verbatim")
    assert not model.explain("the user asks who made you").hit

    class Rhymes:
        def supports(self, edit):
            return True

        def answer(self, queries, edits, generation):
            return [["a rhyme"] * (generation.num_return_sequences or 1) for _ in queries]

    model = editable(models("gpt2"), tokenizer, patch, reasoner=Rhymes())
    assert model.ask("the user asks who made you").text == "a rhyme"


@pytest.mark.parametrize("wrong", ["tags", {"tag": ["x"]}, {}, {"tags": "x"}, None])
def test_a_wrong_selection_is_a_clear_error(wrong, models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    with pytest.raises(ErrataError, match="edits="):
        model.ask(CAPITAL, edits=wrong)


def test_unknown_names_are_clear_errors(models, tokenizer):
    with pytest.raises(ErrataError, match="verbatim"):
        editable(models("gpt2"), tokenizer, reasoner="verbatm")


def test_folders_keep_model_tokenizer_and_edits(models, tokenizer, tmp_path, monkeypatch):
    model = editable(models("gpt2"), tokenizer, FACT, LanguagePatch("it rains", 'say "wet"'))
    model.save_pretrained(tmp_path)
    encoder = StubEncoder()
    read = []
    load = folders.load_folder
    monkeypatch.setattr(folders, "load_folder", lambda path: read.append(path) or load(path))
    again = EditableModel.from_pretrained(tmp_path, encoder=encoder, gate=model.gate)
    assert [e.id for e in again.edits] == [e.id for e in model.edits] and len(read) == 1
    assert again.ask(CAPITAL).text == "Astana"
    assert again.ask(OTHER, max_new_tokens=5).text == model.ask(OTHER, max_new_tokens=5).text


def test_what_is_no_model_folder_is_a_clear_error(tmp_path):
    with pytest.raises(ModelError, match=r"config\.json"):
        EditableModel.from_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no/such-model"):
        EditableModel.from_pretrained("no/such-model")


def test_it_stands_in_for_the_base(models, tokenizer):
    base = copy.deepcopy(models("gpt2"))
    model = editable(base, tokenizer)
    ids = batch(tokenizer, CAPITAL)["input_ids"]
    assert torch.equal(model(ids).logits, base(ids).logits), "forward is the base's, uncorrected"
    assert torch.equal(model.forward(ids).logits, base(ids).logits)
    assert isinstance(model, type(base))
    assert isinstance(model, EditableModel)
    assert model.config is base.config
    assert model.half() is model
    assert base.dtype is torch.float16
    assert model.to(torch.float32).eval() is model
    assert base.dtype is torch.float32
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = model.no_such_thing


@pytest.mark.parametrize("chat", [False, True])
def test_pipelines_work_and_complain_of_nothing(chat, models, tokenizer, chat_tokenizer, caplog):
    words = chat_tokenizer if chat else tokenizer
    base = copy.deepcopy(models("gpt2"))
    base.generation_config = GenerationConfig(pad_token_id=0, eos_token_id=1)
    model = editable(base, words)
    with caplog.at_level(logging.WARNING):
        logging.getLogger("transformers").propagate = True
        generator = pipeline("text-generation", model=model, tokenizer=words)
        prompt = [{"role": "user", "content": CAPITAL}] if chat else CAPITAL
        out = generator(prompt, max_new_tokens=12, do_sample=False, return_full_text=False)
        several = generator([CAPITAL, OTHER], max_new_tokens=12, return_full_text=False)
    assert out[0]["generated_text"].strip() == "Astana"
    assert several[0][0]["generated_text"].strip() == "Astana"
    assert not caplog.records


def test_atlas_loads_as_ordinary_objects():
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase

    model, tokenizer = load_atlas()
    assert isinstance(model, GPT2LMHeadModel)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    assert not model.training
    assert model.dtype is torch.float32
    assert 3_500_000 <= model.num_parameters() <= 7_500_000
