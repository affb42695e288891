"""What a caller may pass, and what is refused before anything runs."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import GenerationConfig, set_seed

from errata import EditableModel, Fact, RegexPatch
from errata.cache.errors import EditError, ErrataError, GenerationError
from errata.cache.patches.files import load_folder
from errata.gates.base import Scores, make_decision
from errata.gates.cosine import CosineGate
from tests.conftest import build_tokenizer
from tests.fakes import StubEncoder
from tests.unit.helpers import CAPITAL, FACT, OTHER, THIRD, Collected, batch, editable


def with_specials(tokenizer):
    """A tokenizer that ends what it encodes, as those of T5 and BART do."""
    from tokenizers.processors import TemplateProcessing

    made = copy.deepcopy(tokenizer)
    end = made.eos_token
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, made.eos_token_id)]
    )
    return made


def without_pad(tokenizer):
    made = copy.deepcopy(tokenizer)
    made.pad_token = None
    return made


class FollowsGate(CosineGate):
    """Takes every hit for one that only follows from the edit."""

    def decide_batch(self, queries, hits):
        return [self._entailed(query, found) for query, found in zip(queries, hits, strict=True)]

    def _entailed(self, query, hits):
        scores = self.score(query, [hit.edit for hit in hits])
        follows = Scores(scores.probability, scores.probability * 0 + 1)
        return make_decision(query, hits, follows, threshold=0.9, near=0.8)


def test_what_only_follows_is_not_answered_by_what_is_stored(models, tokenizer):
    encoder = StubEncoder()
    base = models("gpt2")
    model = editable(
        base, tokenizer, gate=FollowsGate(encoder, 0.9), encoder=encoder, reasoner="verbatim"
    )
    decision = model.explain(CAPITAL)
    assert not decision.hit
    assert decision.near_misses[0].edit_id == FACT.id
    bare = base.generate(**batch(tokenizer, CAPITAL), max_new_tokens=5)
    assert torch.equal(model.generate(**batch(tokenizer, CAPITAL), max_new_tokens=5), bare)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_batch_without_a_mask_and_one_padded_on_the_right(family, models, tokenizer):
    base = models(family)
    model = editable(base, tokenizer)
    ids = batch(tokenizer, CAPITAL)["input_ids"]
    out = model.generate(ids, max_new_tokens=9)
    assert tokenizer.decode(out[0], skip_special_tokens=True).endswith("Astana")
    right = tokenizer([CAPITAL, THIRD], return_tensors="pt", padding=True, padding_side="right")
    model.generate(**right, max_new_tokens=9)
    assert [d.query for d in model.last_trace.decisions] == [CAPITAL, THIRD]


def test_a_tokenizer_that_adds_specials_rewrites_and_answers(models, tokenizer):
    words = with_specials(tokenizer)
    base = models("t5")
    assert words(OTHER)["input_ids"][-1] == words.eos_token_id
    rewrite = RegexPatch("Qazaqstan", "Lima", "query")
    model = editable(base, words, FACT, rewrite)
    assert model.ask(CAPITAL).text == "Astana"
    out = model.generate(**batch(words, OTHER.replace("Lima", "Qazaqstan")), max_new_tokens=6)
    assert torch.equal(out, base.generate(**batch(words, OTHER), max_new_tokens=6))


def test_asking_needs_no_padding_token(models, tokenizer):
    words = without_pad(tokenizer)
    model = editable(models("gpt2"), words)
    with pytest.raises(ValueError, match="pad"):
        words([CAPITAL, OTHER], padding=True)
    answers = model.ask_many([CAPITAL, OTHER], max_new_tokens=4)
    assert answers[0].text == "Astana"
    assert answers[1].text == model.ask(OTHER, max_new_tokens=4).text


def test_a_chat_without_a_generation_prompt_is_read(models, chat_tokenizer):
    model = editable(models("qwen2"), chat_tokenizer)
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": CAPITAL}]
    inputs = chat_tokenizer.apply_chat_template(
        turns, add_generation_prompt=False, return_tensors="pt", return_dict=True
    )
    model.generate(**inputs, max_new_tokens=12)
    decision = model.last_trace.decisions[0]
    assert (decision.query, decision.hit) == (CAPITAL, True)


def test_the_question_is_rewritten_where_it_stands(models, chat_tokenizer):
    model = editable(models("qwen2"), chat_tokenizer)
    text = "<|im_start|>user\nassistant<|im_end|>\n<|im_start|>assistant\n"
    ids = chat_tokenizer(text, return_tensors="pt")["input_ids"]
    prompt = model._reader.read(ids, None)[0]
    assert prompt.query == "assistant"
    assert prompt.replace_query("X") == text.replace("user\nassistant", "user\nX")
    assert prompt.with_query("Where?").replace_query("X") == text, "the prompt does not hold it"


def test_decoder_inputs_stay_at_the_head_of_a_hit(models, tokenizer):
    base = models("t5")
    model = editable(base, tokenizer)
    start = base.config.decoder_start_token_id
    for given in ([[9, 10]] * 2, [[start, 9, 10]] * 2):
        inputs = {**batch(tokenizer, CAPITAL, OTHER), "decoder_input_ids": torch.tensor(given)}
        bare = base.generate(**inputs, max_new_tokens=6)
        out = model.generate(**inputs, max_new_tokens=6)
        assert out[0, :3].tolist() == bare[0, :3].tolist() == [start, 9, 10]
        n = bare.shape[1]
        assert torch.equal(out[1, :n], bare[1])
        limited = model.generate(**inputs, max_length=5)
        assert limited.shape[1] == base.generate(**inputs, max_length=5).shape[1] == 5


def test_streaming_several_rows_through_an_edit_is_refused_before_anything_runs(models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    for texts in ((OTHER, CAPITAL), (CAPITAL, OTHER)):
        collected = Collected()
        with pytest.raises(GenerationError, match="one row"):
            model.generate(**batch(tokenizer, *texts), streamer=collected, max_new_tokens=4)
        assert not collected.puts
    collected = Collected()
    model.generate(**batch(tokenizer, OTHER, THIRD), streamer=collected, max_new_tokens=4)
    assert collected.ended, "without an edit the base decides"


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.ask(""),
        lambda m: m.ask("  "),
        lambda m: m.explain(""),
        lambda m: m.ask([]),
        lambda m: m.explain([]),
        lambda m: m.ask(None),
        lambda m: m.ask([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]),
        lambda m: m.generate(torch.tensor([[5]]), query=[5]),
    ],
)
def test_what_is_no_question_is_a_clear_error(call, models, tokenizer):
    with pytest.raises(GenerationError, match="expected"):
        call(editable(models("gpt2"), tokenizer))


@pytest.mark.parametrize("wrong", ["x", {"question": "a"}, None, [FACT, "x"]])
def test_what_is_no_edit_changes_nothing(wrong, models, tokenizer):
    model = editable(models("gpt2"), tokenizer, Fact("Is grass blue?", "Yes"))
    before = model.edits
    with pytest.raises(EditError, match="Fact"):
        model.edit(wrong)
    assert model.edits == before


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"max_new_token": 5}, "max_new_tokens"),
        ({"max_new_tokens": -1}, "max_new_tokens"),
        ({"do_sample": False, "num_return_sequences": 2}, "num_return_sequences"),
    ],
)
def test_what_the_base_refuses_is_refused_on_a_hit_too(options, word, models, tokenizer):
    base = models("gpt2")
    model = editable(base, tokenizer)
    with pytest.raises(ValueError, match=r".+"):
        base.generate(**batch(tokenizer, CAPITAL), **options)
    with pytest.raises(GenerationError, match=word):
        model.generate(**batch(tokenizer, CAPITAL), **options)


def test_setting_an_attribute_of_the_base_sets_the_bases(models, tokenizer):
    base = copy.deepcopy(models("gpt2"))
    model = editable(base, tokenizer)
    model.generation_config = GenerationConfig(max_new_tokens=3, pad_token_id=0, eos_token_id=1)
    assert base.generation_config.max_new_tokens == 3
    inputs = batch(tokenizer, OTHER)
    assert model.generate(**inputs).shape[1] <= inputs["input_ids"].shape[1] + 3
    model.shadow = True
    assert not hasattr(base, "shadow")


def test_shadow_answers_from_the_base_whatever_goes_wrong(models, tokenizer, caplog):
    base = models("gpt2")
    model = editable(base, tokenizer, shadow=True)
    embeds = base.get_input_embeddings()(batch(tokenizer, OTHER)["input_ids"])
    bare = base.generate(inputs_embeds=embeds, max_new_tokens=3)
    assert torch.equal(model.generate(inputs_embeds=embeds, max_new_tokens=3), bare)
    assert "nothing was decided" in caplog.text


def test_the_trace_is_of_the_last_call(models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    model.ask(CAPITAL)
    assert model.last_trace.decisions[0].hit
    model.generate(**batch(tokenizer, OTHER), edits=False, max_new_tokens=2)
    assert model.last_trace is None


def test_a_hit_leaves_the_random_state_alone(models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    set_seed(3)
    before = torch.get_rng_state()
    model.generate(**batch(tokenizer, CAPITAL), do_sample=True, max_new_tokens=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_superseded_and_coming_edits_are_saved_too(models, tokenizer, tmp_path):
    import datetime

    coming = datetime.date.today() + datetime.timedelta(days=9)
    edits = [
        Fact(CAPITAL, "Nur-Sultan", id="old"),
        Fact(CAPITAL, "Astana", id="new", supersedes=("old",)),
        Fact("Who leads?", "Somebody", id="coming", valid_from=coming),
    ]
    model = editable(models("gpt2"), tokenizer, *edits)
    assert [e.id for e in model.edits] == ["new"]
    model.save_pretrained(tmp_path)
    assert {e.id for e in load_folder(tmp_path / "errata" / "patches")} == {"old", "new", "coming"}


def test_options_that_do_not_fit_are_told():
    with pytest.raises(ErrataError, match="atlas"):
        EditableModel.from_pretrained("atlas", dtype="bfloat16")
    encoder = StubEncoder()
    with pytest.raises(ErrataError, match="encoder_device"):
        EditableModel(None, build_tokenizer(), encoder=encoder, encoder_device="cpu")


def test_a_with_statement_closes_the_cache(models, tokenizer, tmp_path):
    with editable(models("gpt2"), tokenizer, FACT, cache=tmp_path) as model:
        assert model.ask(CAPITAL).text == "Astana"
    with pytest.raises(ErrataError, match="closed"):
        model.edit(Fact("Is grass blue?", "Yes"))


@pytest.mark.parametrize("processor", [True, False])
def test_logits_processors_act_on_misses_only(processor, models, tokenizer):
    from transformers import LogitsProcessor, LogitsProcessorList

    class Always(LogitsProcessor):
        def __call__(self, input_ids, scores):
            forced = torch.full_like(scores, -1e9)
            forced[:, 77] = 0.0
            return forced

    model = editable(models("gpt2"), tokenizer)
    options = {"logits_processor": LogitsProcessorList([Always()])} if processor else {}
    inputs = batch(tokenizer, OTHER, CAPITAL)
    out = model.generate(**inputs, max_new_tokens=4, **options)
    new = out[:, inputs["input_ids"].shape[1] :]
    assert (new[0] == 77).all() == processor
    assert tokenizer.decode(new[1], skip_special_tokens=True).startswith(" Ast")


def test_a_base_with_a_device_map_works(models, tokenizer, tmp_path):
    models("llama").save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = StubEncoder()
    model = EditableModel.from_pretrained(
        tmp_path, device_map="cpu", encoder=encoder, gate=CosineGate(encoder, 0.9)
    )
    model.edit(FACT)
    assert model.ask(CAPITAL).text == "Astana"
    assert (
        model.ask(OTHER, max_new_tokens=3).text
        == model.ask(OTHER, edits=False, max_new_tokens=3).text
    )
