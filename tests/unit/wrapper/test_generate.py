"""EditableModel.generate keeps transformers' contract; misses are the base's, hits the edits'."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList, set_seed

from errata import Fact, RegexPatch
from errata.cache.errors import GenerationError
from tests.unit.helpers import CAPITAL, FACT, OTHER, THIRD, Collected, batch, editable


def same_row(row, bare, pad):
    """Equal up to trailing padding."""
    n = min(len(row), len(bare))
    rest = torch.cat([row[n:], bare[n:]])
    return torch.equal(row[:n], bare[:n]) and bool((rest == pad).all())


SAMPLINGS = {
    "greedy": {"do_sample": False},
    "sampled": {"do_sample": True, "temperature": 1.5},
    "beams": {"num_beams": 3, "do_sample": False},
    "several": {"do_sample": True, "num_return_sequences": 3},
}


@pytest.mark.parametrize("way", SAMPLINGS)
def test_misses_are_the_bare_models_and_hits_the_edits(family, way, models, tokenizer):
    base = models(family)
    model = editable(base, tokenizer)
    inputs = batch(tokenizer, OTHER, CAPITAL, THIRD)
    options = {**SAMPLINGS[way], "max_new_tokens": 9}
    set_seed(5)
    bare = base.generate(**inputs, **options)
    after_bare = torch.get_rng_state()
    set_seed(5)
    out = model.generate(**inputs, **options)
    assert torch.equal(torch.get_rng_state(), after_bare)
    assert [d.hit for d in model.last_trace.decisions] == [False, True, False]
    n = options.get("num_return_sequences", 1)
    assert len(out) == len(bare) == 3 * n
    for row in range(3 * n):
        if row // n != 1:
            assert same_row(out[row], bare[row], tokenizer.pad_token_id)
        else:
            assert not torch.equal(out[row][: len(bare[row])], bare[row])
            assert tokenizer.decode(out[row], skip_special_tokens=True).endswith("Astana")


@pytest.mark.parametrize("texts", [(OTHER,), (THIRD, OTHER)])
def test_a_batch_of_misses_is_the_bare_output_itself(family, texts, models, tokenizer):
    base = models(family)
    inputs = batch(tokenizer, *texts)
    bare = base.generate(**inputs, max_new_tokens=7)
    model = editable(base, tokenizer)
    assert torch.equal(model.generate(**inputs, max_new_tokens=7), bare)
    assert model.last_trace.steps[2].stage == "gate", "the gate has run"


def test_the_row_of_a_hit_is_prompt_answer_end_padding(models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    inputs = batch(tokenizer, CAPITAL, THIRD)
    out = model.generate(**inputs, max_new_tokens=20)
    width = inputs["input_ids"].shape[1]
    answer = tokenizer(" Astana")["input_ids"]
    assert torch.equal(out[0, :width], inputs["input_ids"][0])
    tail = out[0, width:].tolist()
    assert tail[: len(answer) + 1] == [*answer, tokenizer.eos_token_id]
    assert set(tail[len(answer) + 1 :]) <= {tokenizer.pad_token_id}


def test_the_row_of_a_hit_of_an_encoder_decoder_begins_at_its_start(models, tokenizer):
    base = models("t5")
    out = editable(base, tokenizer).generate(**batch(tokenizer, CAPITAL), max_new_tokens=20)
    start = base.config.decoder_start_token_id
    answer = tokenizer("Astana")["input_ids"]
    assert out[0].tolist() == [start, *answer, tokenizer.eos_token_id]


def test_a_hit_alone_never_calls_the_base(models, tokenizer, monkeypatch):
    base = models("gpt2")
    model = editable(base, tokenizer)
    monkeypatch.setattr(base, "generate", lambda **_: pytest.fail("the base was called"))
    assert model.ask(CAPITAL).text == "Astana"


@pytest.mark.parametrize("budget", [1, 2])
def test_an_answer_is_cut_at_the_budget(budget, models, tokenizer):
    model = editable(models("gpt2"), tokenizer, Fact(CAPITAL, "Astana in Kazakhstan, of course"))
    inputs = batch(tokenizer, CAPITAL)
    width = inputs["input_ids"].shape[1]
    assert model.generate(**inputs, max_new_tokens=budget).shape[1] == width + budget
    assert model.generate(**inputs, max_length=width + budget).shape[1] == width + budget


def test_generation_configs_count(models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    inputs = batch(tokenizer, CAPITAL)
    width = inputs["input_ids"].shape[1]
    config = GenerationConfig(max_new_tokens=1)
    assert model.generate(**inputs, generation_config=config).shape[1] == width + 1
    assert model.generate(inputs["input_ids"], config).shape[1] == width + 1
    other = GenerationConfig(max_new_tokens=30, eos_token_id=7, pad_token_id=3)
    assert model.generate(**inputs, generation_config=other)[0, -1] == 7


def test_tensors_and_batch_encodings_are_taken(models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    inputs = batch(tokenizer, CAPITAL, OTHER)
    named = model.generate(**inputs, max_new_tokens=8)
    assert torch.equal(model.generate(inputs, max_new_tokens=8), named)
    mask = inputs["attention_mask"]
    assert torch.equal(
        model.generate(inputs["input_ids"], attention_mask=mask, max_new_tokens=8), named
    )


class StopAfter(StoppingCriteria):
    def __init__(self, length):
        self.length = length

    def __call__(self, input_ids, scores, **kwargs):
        done = input_ids.shape[1] >= self.length
        return torch.full((len(input_ids),), done)


def test_stopping_criteria_and_stop_strings_act_on_answers(models, tokenizer):
    model = editable(models("gpt2"), tokenizer, Fact(CAPITAL, "Astana. Not Paris"))
    inputs = batch(tokenizer, CAPITAL)
    width = inputs["input_ids"].shape[1]
    stop = StoppingCriteriaList([StopAfter(width + 2)])
    assert model.generate(**inputs, stopping_criteria=stop, max_new_tokens=20).shape[1] == width + 2
    out = model.generate(**inputs, stop_strings=["Not"], tokenizer=tokenizer, max_new_tokens=20)
    assert tokenizer.decode(out[0], skip_special_tokens=True).endswith("Astana. Not")


def test_a_criterion_that_needs_scores_is_a_clear_error(models, tokenizer):
    class NeedsScores(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return scores.sum(-1) > 0

    model = editable(models("gpt2"), tokenizer)
    stop = StoppingCriteriaList([NeedsScores()])
    with pytest.raises(GenerationError, match="scores"):
        model.generate(**batch(tokenizer, CAPITAL), stopping_criteria=stop)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
@pytest.mark.parametrize("beams", [1, 2])
def test_dict_outputs_never_carry_scores_of_corrected_rows(family, beams, models, tokenizer):
    base = models(family)
    model = editable(base, tokenizer)
    options = {
        "return_dict_in_generate": True,
        "output_scores": True,
        "max_new_tokens": 4,
        "num_beams": beams,
    }
    missed = model.generate(**batch(tokenizer, OTHER), **options)
    assert missed.scores is not None
    for texts in ((CAPITAL,), (OTHER, CAPITAL)):
        out = model.generate(**batch(tokenizer, *texts), **options)
        assert type(out) is type(missed)
        assert out.scores is None
        assert out.sequences.shape[0] == len(texts)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
@pytest.mark.parametrize("text", [CAPITAL, OTHER])
def test_streamers_get_what_is_returned(family, text, models, tokenizer):
    model = editable(models(family), tokenizer)
    streamer = Collected()
    out = model.generate(**batch(tokenizer, text), streamer=streamer, max_new_tokens=8)
    assert streamer.ids == out[0].tolist()
    assert streamer.ended


def test_embeddings_need_ids_or_are_refused(models, tokenizer):
    base = models("gpt2")
    model = editable(base, tokenizer)
    ids = batch(tokenizer, CAPITAL)["input_ids"]
    embeds = base.get_input_embeddings()(ids)
    with pytest.raises(GenerationError, match="edits=False"):
        model.generate(inputs_embeds=embeds, max_new_tokens=3)
    bare = base.generate(inputs_embeds=embeds, max_new_tokens=3)
    assert torch.equal(model.generate(inputs_embeds=embeds, edits=False, max_new_tokens=3), bare)
    out = model.generate(inputs_embeds=embeds, query=CAPITAL, max_new_tokens=9)
    assert tokenizer.decode(out[0], skip_special_tokens=True) == " Astana"


def test_the_caller_may_name_the_query(models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    inputs = batch(tokenizer, OTHER, OTHER)
    out = model.generate(**inputs, query=[OTHER, CAPITAL], max_new_tokens=9)
    assert [d.hit for d in model.last_trace.decisions] == [False, True]
    assert tokenizer.decode(out[1], skip_special_tokens=True).endswith("Lima. Astana")
    with pytest.raises(GenerationError, match="2 in all, found 1"):
        model.generate(**inputs, query=[OTHER])


def test_the_last_user_turn_of_a_chat_is_the_query(models, chat_tokenizer):
    model = editable(models("qwen2"), chat_tokenizer)
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": OTHER},
        {"role": "assistant", "content": "Grass."},
        {"role": "user", "content": CAPITAL},
    ]
    answer = model.ask(turns)
    assert (answer.text, answer.decision.query) == ("Astana", CAPITAL)
    swapped = [*turns[:1], turns[3], turns[2], turns[1]]
    assert not model.ask(swapped, max_new_tokens=3).decision.hit


def test_a_prompt_longer_than_the_context_behaves_as_the_base_does(models, tokenizer):
    base = models("gpt2")
    model = editable(base, tokenizer)
    inputs = batch(tokenizer, " ".join([THIRD] * 30))
    with pytest.raises(Exception) as bare:
        base.generate(**inputs, max_new_tokens=2)
    with pytest.raises(type(bare.value)):
        model.generate(**inputs, max_new_tokens=2)


def test_edits_can_be_bypassed_and_selected(models, tokenizer):
    base = models("gpt2")
    model = editable(base, tokenizer, Fact(CAPITAL, "Astana", tags=("geo",)))
    inputs = batch(tokenizer, CAPITAL)
    bare = base.generate(**inputs, max_new_tokens=9)
    for miss in (False, {"tags": ["animals"]}, {"ids": ["none"]}):
        assert torch.equal(model.generate(**inputs, edits=miss, max_new_tokens=9), bare)
    for hit in (True, {"tags": ["geo"]}, {"ids": [model.edits[0].id]}):
        out = model.generate(**inputs, edits=hit, max_new_tokens=9)
        assert tokenizer.decode(out[0], skip_special_tokens=True).endswith(" Astana")


def test_shadow_decides_and_answers_from_the_base(models, tokenizer, caplog):
    base = models("gpt2")
    model = editable(base, tokenizer, shadow=True)
    inputs = batch(tokenizer, CAPITAL)
    with caplog.at_level("INFO", logger="errata"):
        out = model.generate(**inputs, max_new_tokens=9)
    assert torch.equal(out, base.generate(**inputs, max_new_tokens=9))
    assert model.last_trace.decisions[0].hit
    assert "verbatim" in caplog.text


def test_hits_and_misses_in_eight_threads(models, tokenizer):
    base = models("llama")
    model = editable(base, tokenizer)
    texts = [CAPITAL, OTHER, THIRD, CAPITAL]
    bare = {t: base.generate(**batch(tokenizer, t), max_new_tokens=6) for t in texts}
    barrier = threading.Barrier(8)

    def work(index):
        barrier.wait()
        for turn in range(6):
            text = texts[(index + turn) % 4]
            out = model.generate(**batch(tokenizer, text), max_new_tokens=6)
            if text == CAPITAL:
                assert tokenizer.decode(out[0], skip_special_tokens=True).endswith(" Astana")
            else:
                assert torch.equal(out, bare[text])
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_the_base_is_untouched(models, tokenizer):
    base = models("mistral")
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in base.modules()]
    model = editable(base, tokenizer, FACT, RegexPatch("f", "g"))
    model.generate(**batch(tokenizer, CAPITAL, OTHER), max_new_tokens=5)
    assert all(torch.equal(before[name], t) for name, t in base.state_dict().items())
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in base.modules()]


def test_bf16_bases_work(models, tokenizer):
    import copy

    base = copy.deepcopy(models("llama")).to(torch.bfloat16)
    model = editable(base, tokenizer)
    inputs = batch(tokenizer, OTHER, CAPITAL)
    bare = base.generate(**inputs, max_new_tokens=6)
    out = model.generate(**inputs, max_new_tokens=6)
    assert same_row(out[0], bare[0], tokenizer.pad_token_id)
    assert tokenizer.decode(out[1], skip_special_tokens=True).endswith(" Astana")


@pytest.mark.parametrize(
    "question",
    ["Who \ud800 leads?", [{"role": "user", "content": "\udc00"}]],
)
def test_half_a_character_is_refused(question, models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    assert model.ask(CAPITAL).text == "Astana"
    with pytest.raises(GenerationError, match="lone surrogate"):
        model.ask(question)
    with pytest.raises(GenerationError, match="lone surrogate"):
        model.explain(question)
