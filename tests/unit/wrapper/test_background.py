"""Requests that only name the subject of a fact."""

from __future__ import annotations

import pytest
from transformers import GenerationConfig

from errata.cache.errors import ErrataError
from errata.cache.records import Fact
from errata.cache.text.aliases import AliasIndex
from errata.generation.prompt_reader import Prompt
from errata.reasoners.background import BackgroundReasoner
from tests.unit.helpers import editable

ASTANA = Fact(
    "What is the capital of Kazakhstan?", "Astana", subject="Kazakhstan", aliases=("KZ land",)
)
TURKEY = Fact("What is the capital of Turkey?", "Ankara")
SKIN = Fact("What colour is a zebra's skin?", "black")
REQUEST = "Tell me about Kazakhstan."


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (REQUEST, [ASTANA]),
        ("What do people in KZ land eat?", [ASTANA]),
        ("How do I roast a turkey?", []),
        ("What does a zebra's day look like?", [SKIN]),
        ("Tell me about Peru.", []),
        ("What do Turkey and Kazakhstan share?", [ASTANA, TURKEY]),
    ],
)
def test_the_facts_whose_subject_is_named(text, named):
    found = AliasIndex([ASTANA, TURKEY, SKIN]).named(text)
    assert sorted(fact.id for fact in found) == sorted(fact.id for fact in named)


def test_mentions_are_background_only_where_asked_for(models, tokenizer):
    off = editable(models("gpt2"), tokenizer, ASTANA)
    on = editable(models("gpt2"), tokenizer, ASTANA, mentions="context")
    bare = off.ask(REQUEST, edits=False, max_new_tokens=6)
    assert off.ask(REQUEST, max_new_tokens=6).text == bare.text
    assert not off.explain(REQUEST).hit
    answer = on.ask(REQUEST, max_new_tokens=6)
    assert answer.decision.mentioned
    assert answer.decision.fired == (ASTANA,)
    assert answer.text != bare.text
    other = "Tell me about Peru."
    expected = off.ask(other, edits=False, max_new_tokens=6).text
    assert on.ask(other, max_new_tokens=6).text == expected
    assert not on.explain(ASTANA.question).mentioned, "what the gate decides comes first"
    with pytest.raises(ErrataError, match=r"expected mentions=.*, found 'always'"):
        editable(models("gpt2"), tokenizer, ASTANA, mentions="always")


def test_sentences_with_what_the_base_believes_are_left_out(models, chat_tokenizer, monkeypatch):
    reasoner = BackgroundReasoner(models("gpt2"), chat_tokenizer)
    seen = []

    def decode(prompts, generation, penalty):
        seen.extend(chat_tokenizer.decode(ids) for ids in prompts)
        return [["It lies in Asia. Its capital is Almaty. Almaty gave way to Astana."]]

    monkeypatch.setattr(reasoner, "_decode", decode)
    monkeypatch.setattr(reasoner, "_base_answer", lambda question: "The capital is Almaty.")
    text = chat_tokenizer.apply_chat_template(
        [{"role": "user", "content": REQUEST}], tokenize=False, add_generation_prompt=True
    )
    prompt = Prompt(text, REQUEST, chat=True, start=text.index(REQUEST))
    config = GenerationConfig(max_new_tokens=8)
    ((reply,),) = reasoner.answer_prompts([prompt], [(ASTANA,)], config)
    assert reply.text == "It lies in Asia. Almaty gave way to Astana."
    assert "astana" in seen[0].casefold()
    assert seen[0].casefold().index("tell me about") < seen[0].casefold().index("astana")
