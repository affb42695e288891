"""A batch whose prompts begin alike gives what its prompts give one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GenerationConfig

from errata.generation.chat import pad_ids
from errata.generation.free_generation import AnswerGenerator
from errata.generation.shared_prefix import is_worth_sharing, read_prefix, shared_length
from errata.reasoners import decoding
from errata.reasoners.decoding import decode

BEGINNING = "The capital of Palau is Ngerulmud. The capital of Peru is Lima. "
ENDS = ("What do zebras eat?", "The capital of Palau is", "Who?", "Where is the north of Peru?")
GREEDY = GenerationConfig(do_sample=False, max_new_tokens=12, min_new_tokens=4)

ROWS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5)


@given(ROWS)
def test_shared_length_equals_a_loop_over_columns(rows):
    length = 0
    while len(rows) > 1 and all(
        length + 1 < len(row) and row[length] == rows[0][length] for row in rows
    ):
        length += 1
    assert shared_length(rows) == length


@given(ROWS, st.integers(0, 3))
def test_padding_stands_behind_the_beginning(rows, shared):
    rows = [[*[7] * shared, *row] for row in rows]
    ids, mask = pad_ids(rows, 9, left=True, shared=shared)
    assert [r[m.bool()].tolist() for r, m in zip(ids, mask, strict=True)] == rows
    assert mask[:, :shared].all() and mask[:, -1].all()
    assert (ids[mask == 0] == 9).all()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_one_batch_equals_one_by_one(models, tokenizer, family, monkeypatch):
    model = models(family)
    prompts = [tokenizer(BEGINNING + end)["input_ids"] for end in ENDS]
    length = shared_length(prompts)
    assert length > 5 and is_worth_sharing(prompts, length)
    read = []
    monkeypatch.setattr(
        decoding, "read_prefix", lambda *each: read.append(each) or read_prefix(*each)
    )
    config = GenerationConfig(**{**GREEDY.to_dict(), "eos_token_id": None, "pad_token_id": 0})
    single = [decode(model, tokenizer, [each], config, single_line=False) for each in prompts]
    assert not read  # a single prompt shares nothing
    assert decode(model, tokenizer, prompts, config, single_line=False) == [
        each for (each,) in single
    ]
    assert len(read) == 1


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_logits_behind_the_beginning_equal_those_of_whole_prompts(models, tokenizer, family):
    model = models(family)
    prompts = [tokenizer(BEGINNING + end)["input_ids"] for end in ENDS]
    shared = shared_length(prompts)
    ids, mask = pad_ids(prompts, 0, left=True, shared=shared)
    past = read_prefix(model, prompts[0][:shared], len(prompts))
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]
    with torch.no_grad():
        found = model(ids[:, shared:], attention_mask=mask, position_ids=positions,
                      past_key_values=past).logits[:, -1]  # fmt: skip
        wanted = [model(torch.tensor([each])).logits[0, -1] for each in prompts]
    assert torch.allclose(found, torch.stack(wanted), atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_questions_in_one_batch_get_the_answers_they_get_alone(models, chat_tokenizer, family):
    generator = AnswerGenerator(models(family), chat_tokenizer, 12, 64)
    questions = [BEGINNING, *ENDS]  # of different lengths
    together = generator.answer(questions)
    assert together == [generator.answer([each])[0] for each in questions]
    assert len({each.ids for each in together}) > 1
