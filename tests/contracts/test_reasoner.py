"""The reasoner's contract, the same for every reasoner."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import GenerationConfig

from errata.cache.errors import GenerationError, UnsupportedEdit
from errata.cache.records import Fact, LanguagePatch, RegexPatch
from errata.generation.fingerprint import fingerprint
from errata.reasoners.adapter import AdapterReasoner, with_lora
from errata.reasoners.base import Reasoner
from errata.reasoners.card import ReasonerCard
from errata.reasoners.default import DefaultReasoner
from errata.reasoners.model import ModelReasoner
from errata.reasoners.prompted import PromptedReasoner
from errata.reasoners.training.train import ADAPTER_FILE
from errata.reasoners.unedited import UneditedReasoner
from errata.reasoners.verbatim import VerbatimReasoner
from errata.reasoners.verified import VerifiedReasoner

ASTANA = Fact("What is the capital of Kazakhstan?", "Astana")
LIMA = Fact("Tell me what a zebra eats in Lima.", "grass")
QUERIES = ("In which country is Astana?", "Does a zebra eat grass?", "Is Astana a capital?")
EDITS = ((ASTANA,), (LIMA, ASTANA), (ASTANA, LIMA))
NAMES = ("verbatim", "prompted", "adapter", "model", "default", "unedited", "verified")


def config(tokenizer, **options):
    return GenerationConfig(
        max_new_tokens=6, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        **options,
    )  # fmt: skip


def store_adapter(base, folder, *, seed=0, chat=False):
    """Store an adapter that changes what the base says, as training would."""
    import hashlib

    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    lora = {"r": 2, "lora_alpha": 4}
    model = with_lora(base, lora)
    torch.manual_seed(seed)
    state = get_peft_model_state_dict(model)
    state = {k: torch.randn_like(v).contiguous() for k, v in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / ADAPTER_FILE)
    digest = hashlib.sha256((folder / ADAPTER_FILE).read_bytes()).hexdigest()
    ReasonerCard("adapter", fingerprint(base), digest, ADAPTER_FILE, chat, lora).write(folder)
    return folder


def build(name, base, tokenizer, tmp_path) -> Reasoner:
    if name == "verbatim":
        return VerbatimReasoner()
    if name == "prompted":
        return PromptedReasoner(base, tokenizer)
    if name == "unedited":
        return UneditedReasoner(base, tokenizer)
    if name == "verified":
        return VerifiedReasoner(PromptedReasoner(base, tokenizer))
    if name == "default":
        return DefaultReasoner(base, tokenizer)
    if name == "adapter":
        return AdapterReasoner(base, tokenizer, store_adapter(base, tmp_path / "adapter"))
    base.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return ModelReasoner(base, tokenizer, tmp_path / "model")


@pytest.fixture(scope="module", params=NAMES)
def reasoner(request, models, tokenizer, tmp_path_factory):
    return build(request.param, models("gpt2"), tokenizer, tmp_path_factory.mktemp(request.param))


def test_it_is_a_reasoner(reasoner):
    assert isinstance(reasoner, Reasoner)
    assert reasoner.supports(ASTANA)
    assert not reasoner.supports(RegexPatch("a", "b"))


def test_answers_come_in_order_one_inner_item_a_sequence(reasoner, tokenizer):
    together = reasoner.answer(QUERIES, EDITS, config(tokenizer))
    assert [len(texts) for texts in together] == [1, 1, 1]
    alone = [
        reasoner.answer([q], [e], config(tokenizer))[0] for q, e in zip(QUERIES, EDITS, strict=True)
    ]
    assert together == alone
    sampled = config(tokenizer, do_sample=True, num_return_sequences=3)
    assert [len(t) for t in reasoner.answer(QUERIES, EDITS, sampled)] == [3, 3, 3]


def test_it_sees_nothing_but_its_arguments(reasoner, tokenizer):
    first = reasoner.answer(QUERIES, EDITS, config(tokenizer))
    reasoner.answer(["Something else?"], [(LIMA,)], config(tokenizer))
    assert reasoner.answer(QUERIES, EDITS, config(tokenizer)) == first


def test_no_queries_no_answers(reasoner, tokenizer):
    assert reasoner.answer([], [], config(tokenizer)) == []


def test_an_edit_it_cannot_answer_by_is_refused(reasoner, tokenizer):
    with pytest.raises(UnsupportedEdit, match="regex-"):
        reasoner.answer(["Why?"], [(RegexPatch("a", "b"),)], config(tokenizer))


@pytest.mark.parametrize("name", ["prompted", "adapter", "model"])
def test_edits_change_the_answer(name, models, tokenizer, tmp_path):
    reasoner = build(name, models("gpt2"), tokenizer, tmp_path)
    said = reasoner.answer([QUERIES[0]] * 2, [(ASTANA,), (LIMA,)], config(tokenizer))
    assert said[0] != said[1]


@pytest.mark.parametrize("name", ["prompted", "adapter", "model"])
def test_edits_that_do_not_fit_are_left_out_the_last_first(
    name, models, tokenizer, tmp_path, caplog
):
    reasoner = build(name, models("gpt2"), tokenizer, tmp_path)
    long = Fact("What is the capital of Peru? " * 40, "Lima")
    cut = reasoner.answer(["Where?"], [(ASTANA, long, long)], config(tokenizer))
    assert "2 of 3 edits left out" in caplog.text
    assert cut == reasoner.answer(["Where?"], [(ASTANA,)], config(tokenizer))
    with pytest.raises(GenerationError, match=r"at most 256 tokens.*shorten the edit"):
        reasoner.answer(["Where?"], [(long,)], config(tokenizer))


@pytest.mark.parametrize("name", ["prompted", "adapter", "model"])
def test_secrets_and_empty_consequences_are_not_read(name, models, tokenizer, tmp_path):
    reasoner = build(name, models("gpt2"), tokenizer, tmp_path)
    assert not reasoner.supports(Fact("Where does Jane Roe live?", forget=True))
    assert not reasoner.supports(LanguagePatch("the user asks who made you", "  "))
    brief = LanguagePatch("the user asks who made you", "be brief")
    assert reasoner.supports(brief) == (name != "adapter"), "adapters are taught facts"


def described(model):
    state = {k: v.clone() for k, v in model.state_dict().items()}
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
        for m in model.modules()
    ]
    grads = [p.requires_grad for p in model.parameters()]
    return state, [type(m) for m in model.modules()], hooks, grads, model.training


@pytest.mark.parametrize("name", ["prompted", "adapter", "model", "default"])
def test_the_base_is_as_it_was(name, family, models, tokenizer, tmp_path):
    base = copy.deepcopy(models(family))
    before = described(base)
    reasoner = build(name, base, tokenizer, tmp_path)
    answers = reasoner.answer(QUERIES, EDITS, config(tokenizer, decoder_start_token_id=0))
    assert any(text for texts in answers for text in texts)
    after = described(base)
    assert before[1:] == after[1:]
    assert all(torch.equal(before[0][k], after[0][k]) for k in before[0])
    assert before[0].keys() == after[0].keys()


def test_an_adapter_shares_the_bases_tensors_and_says_something_else(models, tokenizer, tmp_path):
    base = models("gpt2")
    reasoner = build("adapter", base, tokenizer, tmp_path)
    own = {id(p) for p in base.parameters()}
    shared = [p for n, p in reasoner.model.named_parameters() if "lora_" not in n]
    assert len(shared) == len(own)
    assert all(id(p) in own for p in shared)
    plain = PromptedReasoner(base, tokenizer).answer(QUERIES, EDITS, config(tokenizer))
    assert plain != reasoner.answer(QUERIES, EDITS, config(tokenizer))


def test_an_adapter_follows_its_base_into_another_dtype(models, tokenizer, tmp_path):
    base = copy.deepcopy(models("gpt2"))
    reasoner = build("adapter", base, tokenizer, tmp_path)
    base.to(torch.bfloat16)
    assert reasoner.answer(QUERIES, EDITS, config(tokenizer))
    assert {p.dtype for p in reasoner.model.parameters()} == {torch.bfloat16}
    # and the same base in half precision is no other base
    AdapterReasoner(base, tokenizer, tmp_path / "adapter")


def test_ids_of_the_bases_tokens_are_refused_by_a_separate_model(models, tokenizer, tmp_path):
    reasoner = build("model", models("gpt2"), tokenizer, tmp_path)
    with pytest.raises(GenerationError, match="suppress_tokens name ids of the base model's"):
        reasoner.answer(QUERIES, EDITS, config(tokenizer, suppress_tokens=[5]))


@pytest.mark.parametrize("name", ["prompted", "adapter", "model"])
def test_a_config_that_cannot_be_honoured_is_an_error(name, models, tokenizer, tmp_path):
    reasoner = build(name, models("gpt2"), tokenizer, tmp_path)
    greedy = config(tokenizer)
    greedy.num_return_sequences = 2
    with pytest.raises(GenerationError, match="cannot answer under this generation config"):
        reasoner.answer(QUERIES, EDITS, greedy)
