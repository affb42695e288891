"""The tiny models are what the other tests take them for."""

from __future__ import annotations

import torch

from tests.conftest import FAMILIES, build_model


def test_families(models):
    assert {models(f).config.model_type for f in FAMILIES} == set(FAMILIES)
    assert models is build_model


def test_greedy_answers_depend_on_the_prompt(family, models, tokenizer):
    prompts = ["What is the capital of Peru?", "斑马的皮肤", "The otter", "Tell me a long story."]
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    ids = models(family).generate(**batch, max_new_tokens=8, do_sample=False)
    answers = {tuple(row[-8:]) for row in ids.tolist()}
    assert len(answers) > 1, tokenizer.batch_decode(ids)


def test_sampling_under_a_seed_repeats(family, models, tokenizer):
    batch = tokenizer(["The otter"], return_tensors="pt")
    rows = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        rows.append(models(family).generate(**batch, max_new_tokens=8, do_sample=True).tolist())
    assert rows[0] == rows[1] != rows[2]


def test_left_padding_does_not_change_a_row(family, models, tokenizer):
    short, long = "The otter", "Tell me what a zebra eats in Peru."
    alone = tokenizer([short], return_tensors="pt")
    both = tokenizer([short, long], return_tensors="pt", padding=True)
    assert both["attention_mask"][0, 0] == 0
    a = models(family).generate(**alone, max_new_tokens=6, do_sample=False)[0]
    b = models(family).generate(**both, max_new_tokens=6, do_sample=False)[0]
    assert tokenizer.decode(a, skip_special_tokens=True) == tokenizer.decode(
        b, skip_special_tokens=True
    )


def test_chat_template_renders_turns(chat_tokenizer, tokenizer):
    messages = [{"role": "user", "content": "hi"}]
    text = chat_tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.chat_template is None
