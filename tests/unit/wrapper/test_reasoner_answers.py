"""How a reasoner answers under the caller's generation config: repetition, lines, lengths, room."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers as hf
from transformers import GenerationConfig

from errata import Fact, LanguagePatch
from errata.cache.errors import GenerationError, UnsupportedEdit
from errata.generation.memory import peak_bytes
from errata.reasoners.few_shot import DEMONSTRATIONS, FewShotReasoner
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.prompts import Prompter, context_length_of
from errata.reasoners.stopping import StopAtNewline
from tests.unit.helpers import batch
from tests.unit.wrapper.test_reasoners import BORN, HOP, wrapped

LONG = Fact("Where was Dr. Weber born? " * 40, "Oslo")


def config(tokenizer, **options):
    return GenerationConfig(
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        **{"max_new_tokens": 8, **options},
    )  # fmt: skip


def step_by_step(model, prompt, count, forbid):
    """Greedy decoding without generate: the scores of each step pass through ``forbid``."""
    ids, new = list(prompt), []
    for _ in range(count):
        with torch.no_grad():
            scores = model(input_ids=torch.tensor([ids])).logits[0, -1].double()
        token = int(forbid(scores, new).argmax())
        if token == model.generation_config.eos_token_id:
            break
        new.append(token)
        ids.append(token)
    return new


def penalised(scores, new):
    seen = torch.tensor(sorted(set(new)), dtype=torch.long)
    scores[seen] = torch.where(scores[seen] < 0, scores[seen] * 5, scores[seen] / 5)
    return scores


def banned(scores, new):
    scores[torch.tensor(sorted(set(new)), dtype=torch.long)] = -torch.inf
    return scores


@pytest.mark.parametrize(
    ("options", "forbid"),
    [({"repetition_penalty": 5.0}, penalised), ({"no_repeat_ngram_size": 1}, banned)],
)
def test_what_edits_say_may_be_repeated_and_the_answer_may_not(options, forbid, models, tokenizer):
    base = models("gpt2")
    reasoner = PromptedReasoner(base, tokenizer)
    prompt = reasoner.prompter.ids([f"{BORN.question} Oslo"], HOP, 8)
    asked = config(tokenizer, **options)
    expected = step_by_step(base, prompt, 8, forbid)
    assert expected != step_by_step(base, prompt, 8, lambda scores, new: scores)
    whole = base.generate(torch.tensor([prompt]), generation_config=asked, do_sample=False)[0]
    assert whole[len(prompt) :].tolist() != expected, "transformers would forbid the edit's words"
    said = reasoner.answer([HOP], [(BORN,)], asked)[0][0]
    text = tokenizer.decode(expected, skip_special_tokens=True).strip()
    assert text.startswith(said) and said == text.split("\n")[0].strip()


def test_the_models_own_penalty_does_not_come_back(models, tokenizer):
    base = copy.deepcopy(models("gpt2"))
    plain = PromptedReasoner(base, tokenizer).answer([HOP], [(BORN,)], config(tokenizer))
    base.generation_config.no_repeat_ngram_size = 1
    again = PromptedReasoner(base, tokenizer).answer(
        [HOP], [(BORN,)], config(tokenizer, no_repeat_ngram_size=100)
    )
    assert again == plain


def test_a_line_ends_behind_its_first_words(tokenizer):
    rows = [tokenizer(text)["input_ids"] for text in ("Q? a\n", "Q? \n a", "Q? \n\n", "Q?\n a\n")]
    start = len(tokenizer("Q?")["input_ids"])
    ended = StopAtNewline(tokenizer, start)
    done = [bool(ended(torch.tensor([row]), None)) for row in rows]
    assert done == [True, False, False, True]


def test_a_plain_model_stops_at_the_end_of_its_line(models, tokenizer):
    base = copy.deepcopy(models("gpt2"))
    steps = []
    base.register_forward_pre_hook(lambda *_: steps.append(1))
    (word,), (newline,) = (tokenizer(text)["input_ids"] for text in (" Oslo", "\n"))
    bias = {(word,): 500.0, (word, newline): 1000.0}
    asked = config(tokenizer, sequence_bias=bias, max_new_tokens=40)
    said = PromptedReasoner(base, tokenizer).answer([HOP, HOP], [(BORN,), (BORN,)], asked)
    assert said == [["Oslo"], ["Oslo"]]
    assert len(steps) == 2


def test_an_answer_has_the_length_of_the_call(models, tokenizer):
    seen = []

    class Curious:
        def supports(self, edit):
            return True

        def answer(self, queries, edits, generation):
            seen.append((generation.max_new_tokens, generation.max_length))
            return [["Oslo"] for _ in queries]

    model = wrapped(models("gpt2"), tokenizer, Curious(), BORN)
    inputs = batch(tokenizer, HOP)
    length = inputs["input_ids"].shape[1]
    model.generate(**inputs, max_length=length + 5)
    model.generate(**inputs, max_new_tokens=7)
    model.generate(**inputs)
    assert seen == [(5, None), (7, None), (20, None)]
    # so that a long context is refused only where the answer really has no room
    assert wrapped(models("gpt2"), tokenizer, "prompted", BORN).generate(
        **inputs, max_length=length + 5
    ).shape == (1, length + 5)


def test_settings_given_as_a_mapping_and_for_one_row_only(models, tokenizer):
    model = wrapped(models("gpt2"), tokenizer, "prompted", BORN)
    inputs = batch(tokenizer, HOP, HOP)
    plain = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    quick = model.generate(**inputs, max_new_tokens=5, do_sample=False, prompt_lookup_num_tokens=2)
    assert torch.equal(plain, quick)
    marked = {"bias": 20.0, "seeding_scheme": "lefthash"}
    assert not torch.equal(
        plain,
        model.generate(**inputs, max_new_tokens=5, do_sample=False, watermarking_config=marked),
    )


@pytest.mark.parametrize(
    "options", [{"penalty_alpha": 0.6, "top_k": 4}, {"force_words_ids": [[5]], "num_beams": 2}]
)
def test_what_cannot_be_honoured_changes_nothing(options, models, tokenizer):
    model = wrapped(models("gpt2"), tokenizer, "prompted", BORN)
    before = model.ask(HOP, max_new_tokens=5).text
    with pytest.raises(GenerationError, match="cannot answer under this generation config"):
        model.ask(HOP, max_new_tokens=5, **options)
    assert model.last_trace is None
    assert model.ask(HOP, max_new_tokens=5).text == before


# -- room -------------------------------------------------------------------------------------


def test_an_encoder_has_context_length_of_its_own(models, tokenizer):
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    bart = hf.BartForConditionalGeneration(
        hf.BartConfig(
            vocab_size=len(tokenizer), d_model=32, encoder_layers=1, decoder_layers=1,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
            decoder_ffn_dim=32, max_position_embeddings=64, forced_eos_token_id=None,
            bos_token_id=tokenizer.eos_token_id, decoder_start_token_id=tokenizer.eos_token_id,
            **ids,
        )
    ).eval()  # fmt: skip
    assert context_length_of(bart) == 64
    assert context_length_of(models("t5")) is None, "relative positions have no end"
    reasoner = PromptedReasoner(bart, tokenizer)
    assert len(reasoner.answer([HOP], [(BORN,)], config(tokenizer, max_new_tokens=40))) == 1
    with pytest.raises(GenerationError, match="at most 64 tokens, 0 of them for the answer"):
        reasoner.answer([HOP], [(LONG,)], config(tokenizer))


def test_examples_are_left_out_before_edits(models, tokenizer, caplog):
    base = models("gpt2")
    few = FewShotReasoner(base, tokenizer)
    shown = few.prompter.text(["A b"], "Q?")
    assert shown.endswith("Tokyo\nA b\nQ?") and shown.count("\n") == 2 * len(DEMONSTRATIONS) + 1
    plain = Prompter.for_model(base, tokenizer)
    told = [f"{BORN.question} Oslo"] * 12
    assert few.prompter.ids(told, HOP, 4) == plain.ids(told, HOP, 4)
    assert not caplog.text, "no edit was left out"
    assert len(few.prompter.ids(told[:1], HOP, 4)) > len(plain.ids(told[:1], HOP, 4))


def test_examples_change_what_is_said(models, tokenizer):
    base = models("gpt2")
    by_name = wrapped(base, tokenizer, "few-shot", BORN).ask(HOP, max_new_tokens=8)
    assert by_name.decision.route == "reason"
    assert (
        by_name.text != wrapped(base, tokenizer, "prompted", BORN).ask(HOP, max_new_tokens=8).text
    )


def test_an_empty_consequence_is_named(models, tokenizer):
    reasoner = PromptedReasoner(models("gpt2"), tokenizer)
    empty = LanguagePatch("the user asks who made you", " ")
    with pytest.raises(UnsupportedEdit, match="found an empty consequence; write one"):
        reasoner.answer([HOP], [(empty,)], config(tokenizer))


# -- memory -----------------------------------------------------------------------------------


def test_memory_is_that_of_tensors_at_the_peak():
    kept = torch.zeros(1000)

    def work():
        first = kept.repeat(1000)
        second = first + 1
        del first
        return second * 2

    device = torch.device("cpu")
    assert 8_000_000 <= peak_bytes(work, device) < 8_100_000
    assert peak_bytes(lambda: None, device) < 1000
