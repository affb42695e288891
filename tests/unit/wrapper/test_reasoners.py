"""Reasoners inside EditableModel, their prompts, and what is stored of them."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from errata import EditableModel, Fact, LanguagePatch
from errata.cache.errors import ErrataError, ModelError
from errata.gates.base import Scores, make_decision
from errata.generation.fingerprint import fingerprint
from errata.generation.sharing import sharing_copy
from errata.reasoners.abstention import AbstentionPenalties
from errata.reasoners.adapter import AdapterReasoner
from errata.reasoners.card import read_card
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.prompts import INSTRUCTION, Prompter
from errata.reasoners.verbatim import VerbatimReasoner
from tests.contracts.test_reasoner import described, store_adapter
from tests.fakes import PerQueryGate, StubEncoder
from tests.unit.helpers import batch

BORN = Fact("Where was Dr. Weber born?", "Oslo")
LIES = Fact("In which country does Oslo lie?", "Peru")
MONEY = Fact("What is the money of Peru?", "franc")
HOP = "In which country was Dr. Weber born?"
MISS = "Every raven in Cairo is 12 years old"


class FollowsGate(PerQueryGate):
    """Fires the birthplace for whatever names Dr. Weber, as something that follows from it."""

    def score(self, query, edits):
        import numpy as np

        text, found = getattr(query, "text", query), [getattr(hit, "edit", hit) for hit in edits]
        about = ["Weber" in text and "Weber" in edit.scope for edit in found]
        return Scores(np.array(about, float), np.ones(len(about)))

    def decide(self, query, hits):
        return make_decision(query, hits, self.score(query, hits), threshold=0.5, near=0.8)


def wrapped(model, tokenizer, reasoner=None, *edits):
    made = EditableModel(
        model, tokenizer, encoder=StubEncoder(), gate=FollowsGate(), reasoner=reasoner
    )
    made.edit(list(edits) or [BORN, LIES, MONEY])
    return made


# -- inside EditableModel ---------------------------------------------------------------------


def test_by_default_the_base_itself_reads_the_edits(models, tokenizer):
    base = models("gpt2")
    told = wrapped(base, tokenizer, None, BORN).ask(HOP, max_new_tokens=8)
    assert told.decision.route == "reason"
    prompt = f"{BORN.question} Oslo\n{HOP}"
    ids = tokenizer([prompt], return_tensors="pt")
    new = base.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :]
    expected = tokenizer.decode(new, skip_special_tokens=True).strip().split("\n")[0].strip()
    assert told.text
    assert expected.startswith(told.text)
    assert told.text != wrapped(base, tokenizer, None, LIES).ask(HOP, max_new_tokens=8).text


@pytest.mark.parametrize("name", ["adapter", "prompted"])
def test_rows_that_miss_are_the_bases_beside_rows_that_are_reasoned_about(
    name, family, models, tokenizer, tmp_path
):
    base = copy.deepcopy(models(family))
    folder = store_adapter(base, tmp_path / "adapter")
    model = wrapped(base, tokenizer, folder if name == "adapter" else name, BORN)
    inputs = batch(tokenizer, MISS, HOP, "What is the capital of Peru?")
    alone = base.generate(**inputs, max_new_tokens=7, do_sample=False)
    edited = model.generate(**inputs, max_new_tokens=7, do_sample=False)
    assert [d.hit for d in model.last_trace.decisions] == [False, True, False]
    for row in (0, 2):
        assert torch.equal(edited[row][: alone.shape[1]], alone[row])
    assert not torch.equal(edited[1][: alone.shape[1]], alone[1])


def test_sampled_misses_draw_as_if_nobody_had_reasoned(models, tokenizer, tmp_path):
    base = models("llama")
    model = wrapped(base, tokenizer, store_adapter(base, tmp_path / "adapter"), BORN)
    inputs = batch(tokenizer, MISS, HOP)
    torch.manual_seed(3)
    alone = base.generate(**inputs, max_new_tokens=7, do_sample=True)
    after = torch.rand(1)
    torch.manual_seed(3)
    edited = model.generate(**inputs, max_new_tokens=7, do_sample=True)
    assert torch.equal(torch.rand(1), after)
    assert torch.equal(edited[0][: alone.shape[1]], alone[0])


def test_hits_and_misses_in_eight_threads(models, tokenizer, tmp_path):
    base = models("gpt2")
    model = wrapped(base, tokenizer, store_adapter(base, tmp_path / "adapter"), BORN)
    inputs = batch(tokenizer, MISS)
    alone = base.generate(**inputs, max_new_tokens=7, do_sample=False)
    reasoned = model.ask(HOP).text
    before = described(base)

    def one(number):
        if number % 2:
            return model.ask(HOP).text == reasoned
        return torch.equal(model.generate(**inputs, max_new_tokens=7, do_sample=False), alone)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(48)))
    after = described(base)
    assert before[1:] == after[1:]
    assert all(torch.equal(before[0][k], after[0][k]) for k in before[0])


def test_names_folders_and_mistakes(models, tokenizer, tmp_path):
    base = models("gpt2")
    assert isinstance(wrapped(base, tokenizer, "verbatim").reasoner, VerbatimReasoner)
    assert isinstance(wrapped(base, tokenizer, "prompted").reasoner, PromptedReasoner)
    folder = store_adapter(base, tmp_path / "a")
    assert isinstance(wrapped(base, tokenizer, str(folder)).reasoner, AdapterReasoner)
    with pytest.raises(ErrataError, match="did you mean 'prompted'"):
        wrapped(base, tokenizer, "promted")
    with pytest.raises(ModelError, match="found none shipped; train one"):
        wrapped(base, tokenizer, "adapter")
    for missing in ("runs/none", tmp_path / "none"):
        with pytest.raises(ModelError, match=r"a trained reasoner at .* found none; train"):
            wrapped(base, tokenizer, missing)
    with pytest.raises(ModelError, match=r"expected a reasoner at .*found no reasoner.json"):
        (tmp_path / "empty").mkdir()
        wrapped(base, tokenizer, tmp_path / "empty")


# -- what is stored ---------------------------------------------------------------------------


def test_an_adapter_of_another_base_is_refused(models, tokenizer, tmp_path):
    folder = store_adapter(models("gpt2"), tmp_path / "a")
    other = copy.deepcopy(models("gpt2"))
    with torch.no_grad():
        next(other.parameters()).add_(0.5)
    with pytest.raises(ModelError, match=r"found another .*train an adapter for this model"):
        AdapterReasoner(other, tokenizer, folder)


def test_damaged_adapters_are_refused(models, tokenizer, tmp_path):
    base = models("gpt2")
    folder = store_adapter(base, tmp_path / "a")
    weights = folder / read_card(folder).file
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ModelError, match="not those of the card"):
        AdapterReasoner(base, tokenizer, folder)
    weights.write_bytes(good)
    AdapterReasoner(base, tokenizer, folder)
    card = folder / "reasoner.json"
    body = json.loads(card.read_text())
    wrong = [{"format": 99}, {"colour": "red"}, {"kind": "verbatim"}, {"file": 3}]
    for broken in ("{", *(json.dumps({**body, **each}) for each in wrong)):
        card.write_text(broken)
        with pytest.raises(ModelError, match=r"reasoner.json: expected"):
            AdapterReasoner(base, tokenizer, folder)
    for lora in ({"r": 7, "lora_alpha": 4}, {"r": 2, "colour": 1}, None):
        card.write_text(json.dumps({**body, "lora": lora}))
        with pytest.raises(ModelError, match="weights as the card describes them"):
            AdapterReasoner(base, tokenizer, folder)
    weights.unlink()
    card.write_text(json.dumps(body))
    with pytest.raises(ModelError, match=r"found no adapter\.safetensors"):
        AdapterReasoner(base, tokenizer, folder)


def test_a_card_of_errata_0_1_is_read(models, tokenizer, tmp_path):
    folder = store_adapter(models("gpt2"), tmp_path / "a")
    body = json.loads((folder / "reasoner.json").read_text())
    assert body.pop("abstention") == {"default": 0, "base_agrees": 0, "base_uncertain": 0}
    body["reluctance"] = {"usual": 1.5, "agreeing": 9.75, "unsure": 3.5}
    (folder / "reasoner.json").write_text(json.dumps(body))
    assert read_card(folder).abstention == AbstentionPenalties(1.5, 9.75, 3.5)
    body["reluctance"] = {"colour": 1.5}
    (folder / "reasoner.json").write_text(json.dumps(body))
    with pytest.raises(ModelError, match=r"reasoner.json: expected the card"):
        read_card(folder)


def test_a_fingerprint_is_of_the_weights_and_not_of_their_precision(models):
    base = copy.deepcopy(models("gpt2")).to(torch.bfloat16)
    known = fingerprint(base)
    assert fingerprint(base.to(torch.float32)) == known
    assert fingerprint(models("llama")) != known
    with torch.no_grad():
        base.transformer.h[1].mlp.c_fc.weight.mul_(1.1)
    assert fingerprint(base) != known


def test_a_sharing_copy_has_the_tensors_and_not_the_modules(family, models):
    base = models(family)
    twin = sharing_copy(base, detached=False)
    assert [id(p) for p in twin.parameters()] == [id(p) for p in base.parameters()]
    assert [id(b) for b in twin.buffers()] == [id(b) for b in base.buffers()]
    assert not {id(m) for m in twin.modules()} & {id(m) for m in base.modules()}


# -- prompts ----------------------------------------------------------------------------------


def test_a_plain_prompt_is_lines_and_a_chat_is_a_chat(tokenizer, chat_tokenizer):
    shown = ((("Kenya lies in Peru.",), "Where is Kenya?", "Peru"),)
    plain = Prompter(tokenizer, demonstrations=shown)
    assert plain.text(["A b", "C d"], "Q?") == (
        "Kenya lies in Peru.\nWhere is Kenya? Peru\nA b\nC d\nQ?"
    )
    chat = Prompter(chat_tokenizer, demonstrations=shown).text(["A b"], "Q?")
    assert chat.count("<|im_start|>user") == 2
    assert chat.endswith("- A b\n\nQ?<|im_end|>\n<|im_start|>assistant\n")
    assert INSTRUCTION in chat
    assert Prompter(chat_tokenizer, chat=False).text(["A b"], "Q?") == "A b\nQ?"


def test_a_chat_model_is_asked_in_a_chat(models, chat_tokenizer):
    model = wrapped(models("gpt2"), chat_tokenizer, None, BORN)
    answer = model.ask([{"role": "user", "content": HOP}], max_new_tokens=5)
    assert answer.decision.route == "reason"


def test_language_patches_that_say_nothing_word_for_word_go_to_the_reasoner(models, tokenizer):
    patch = LanguagePatch("the user asks about Dr. Weber", "answer as a pirate would, in one line")
    model = wrapped(models("gpt2"), tokenizer, None, patch)
    answer = model.ask("Tell me about Dr. Weber", max_new_tokens=5)
    assert answer.decision.fired == (patch,)


ASKED = "Tell me about Dr. Weber"


@pytest.mark.parametrize("trained", [False, True])
def test_what_is_to_be_said_is_said_in_the_words_of_a_chat_model(
    trained, models, tokenizer, chat_tokenizer, tmp_path
):
    base = models("gpt2")
    reasoner = store_adapter(base, tmp_path / "a", chat=True) if trained else None
    patch = LanguagePatch("the user asks about Dr. Weber", "say that you were made by Example Labs")
    model = wrapped(base, chat_tokenizer, reasoner, patch)
    overruled = model.ask(ASKED)
    assert (overruled.text, overruled.trace.outcomes) == (
        "I was made by Example Labs.", ("overruled",)
    )  # fmt: skip
    model.pipeline.reasoner = model.reasoner
    own = model.ask(ASKED, max_new_tokens=8)
    assert own.decision.route == "reason"
    assert own.trace.outcomes == ("",)
    asked = copy.deepcopy(base.generation_config)
    asked.max_new_tokens = 8
    said = PromptedReasoner(base, chat_tokenizer).answer([ASKED], [(patch,)], asked)
    assert own.text and said[0][0].startswith(
        own.text.rstrip("�")
    )  # half a character is re-encoded
    assert wrapped(base, chat_tokenizer, "verbatim", patch).ask(ASKED).text == (
        "I was made by Example Labs."
    )
    assert wrapped(base, tokenizer, None, patch).ask(ASKED).decision.route == "verbatim"
    quoted = LanguagePatch("the user asks about Dr. Weber", 'say "Example Labs made me."')
    assert wrapped(base, chat_tokenizer, reasoner, quoted).ask(ASKED).text == (
        "Example Labs made me."
    )


def test_instructions_go_to_the_chat_model_and_facts_to_its_adapter(
    models, chat_tokenizer, tmp_path
):
    base = models("gpt2")
    folder = store_adapter(base, tmp_path / "a", chat=True)
    patch = LanguagePatch("the user asks about Dr. Weber", "answer as a pirate would")
    adapter = AdapterReasoner(base, chat_tokenizer, folder)
    plain = PromptedReasoner(base, chat_tokenizer)
    queries, edits = [ASKED, HOP, ASKED], [(patch, BORN), (BORN,), (patch,)]
    asked = base.generation_config
    both = adapter.answer(queries, edits, asked)
    by_base = plain.answer(queries, edits, asked)
    assert [both[0], both[2]] == [by_base[0], by_base[2]]
    assert both[1] == adapter.answer(queries[1:2], edits[1:2], asked)[0] != by_base[1]
