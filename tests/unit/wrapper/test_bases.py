"""Bases of every make: adapted, compiled, quantised, in half precision, with their own generate."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from transformers import StoppingCriteria

from errata import EditableModel, Fact
from errata.cache.errors import EditError, GenerationError, ModelError
from errata.gates.cosine import CosineGate
from tests.fakes import StubEncoder
from tests.unit.helpers import CAPITAL, FACT, OTHER, batch, editable

LONG = Fact(CAPITAL, "Astana in Kazakhstan, north of the river and south of the hills")


def lora(model, task=None, **options):
    """Return a PEFT model on a copy, whose adapter changes its answers."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=2, target_modules="all-linear", init_lora_weights=False, task_type=task, **options
    )
    return get_peft_model(model, config).eval()


def prompt_tuned(model):
    from peft import PromptTuningConfig, get_peft_model

    return get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))


def with_own_generate(model):
    """A model whose generate takes ids under another name and no `inputs`."""

    class Own(type(model)):
        def generate(self, input_ids=None, attention_mask=None, max_new_tokens=3, **options):
            return torch.cat([input_ids, input_ids[:, :max_new_tokens]], dim=1)

    model.__class__ = Own
    return model


def compiled_in_place(model):
    model.compile(backend="eager", dynamic=True)
    return model


MAKES = {
    "peft": ("llama", lambda m: lora(m, "CAUSAL_LM")),
    "peft without a task": ("gpt2", lambda m: lora(m, fan_in_fan_out=True)),
    "peft encoder-decoder": ("t5", lambda m: lora(m, "SEQ_2_SEQ_LM")),
    "peft prompt tuning": ("llama", prompt_tuned),
    "torch.compile": ("llama", lambda m: torch.compile(m, backend="eager")),
    "torch.compile of peft": ("llama", lambda m: torch.compile(lora(m), backend="eager")),
    "model.compile": ("llama", compiled_in_place),
    "bf16": ("llama", lambda m: m.to(torch.bfloat16)),
    "fp16": ("llama", lambda m: m.to(torch.float16)),
    "own generate": ("gpt2", with_own_generate),
}


@pytest.mark.filterwarnings("ignore:Position ids are not supported")
@pytest.mark.parametrize("make", MAKES)
def test_hits_are_corrected_and_misses_the_bare_models(make, models, tokenizer):
    family, wrap = MAKES[make]
    base = wrap(copy.deepcopy(models(family)))
    model = editable(base, tokenizer)
    assert model.ask(CAPITAL).text == "Astana"
    ids = batch(tokenizer, CAPITAL)["input_ids"]
    positional = model.generate(ids, max_new_tokens=3)
    assert tokenizer.decode(positional[0], skip_special_tokens=True).endswith("Astana")
    both = batch(tokenizer, OTHER, CAPITAL)
    bare = base.generate(**both, max_new_tokens=3)
    out = model.generate(**both, max_new_tokens=3)
    end = bare.shape[1]
    assert torch.equal(out[0, :end], bare[0])
    assert tokenizer.decode(out[1], skip_special_tokens=True).endswith("Astana")
    missed = batch(tokenizer, OTHER)
    expected = base.generate(**missed, max_new_tokens=2)
    assert torch.equal(model.generate(missed["input_ids"], max_new_tokens=2), expected)


@pytest.mark.parametrize("make", ["peft", "torch.compile"])
def test_an_unknown_argument_is_refused_on_a_hit(make, models, tokenizer):
    model = editable(MAKES[make][1](copy.deepcopy(models("llama"))), tokenizer)
    with pytest.raises(GenerationError, match="max_new_tokens"):
        model.generate(**batch(tokenizer, CAPITAL), max_new_token=5)


def test_a_custom_generate_gets_its_own_arguments(models, tokenizer):
    def doubled(model, input_ids, copies=1, **options):
        return torch.cat([input_ids] * copies, dim=1)

    model = editable(models("gpt2"), tokenizer)
    options = {"custom_generate": doubled, "copies": 2, "max_new_tokens": 9}
    missed = batch(tokenizer, OTHER)
    assert model.generate(**missed, **options).shape[1] == 2 * missed["input_ids"].shape[1]
    hit = model.generate(**batch(tokenizer, CAPITAL), **options)
    assert tokenizer.decode(hit[0], skip_special_tokens=True).endswith("Astana")


# -- folders and the hub ---------------------------------------------------------------------


def loaded(folder, **options):
    encoder = StubEncoder()
    return EditableModel.from_pretrained(
        folder, encoder=encoder, gate=CosineGate(encoder, 0.9), **options
    )


def test_a_peft_model_round_trips(models, tokenizer, tmp_path):
    models("llama").save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    named = type(models("llama")).from_pretrained(tmp_path / "base")
    bare = named.generate(**batch(tokenizer, OTHER), max_new_tokens=5)
    model = editable(lora(named, "CAUSAL_LM"), tokenizer)
    model.save_pretrained(tmp_path / "saved")
    again = loaded(tmp_path / "saved")
    assert again.ask(CAPITAL).text == "Astana"
    adapted = model.generate(**batch(tokenizer, OTHER), max_new_tokens=5)
    assert not torch.equal(adapted, bare), "the adapter changes answers"
    assert torch.equal(again.generate(**batch(tokenizer, OTHER), max_new_tokens=5), adapted)
    (tmp_path / "saved" / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="adapter"):
        loaded(tmp_path / "saved")


def test_a_peft_model_on_a_nameless_base_is_refused_before_anything_is_written(
    models, tokenizer, tmp_path
):
    model = editable(lora(copy.deepcopy(models("llama"))), tokenizer)
    with pytest.raises(ModelError, match="merge_and_unload"):
        model.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_what_is_pushed_to_the_hub_holds_the_edits(models, tokenizer, monkeypatch):
    import huggingface_hub

    pushed = {}

    class Api:
        def __init__(self, token=None):
            pushed["token"] = token

        def create_repo(self, repo_id, *, private, exist_ok):
            pushed["private"] = private
            return type("Url", (), {"repo_id": f"me/{repo_id}"})

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            pushed["edited"] = loaded(folder_path).ask(CAPITAL).text
            return f"https://hub/{repo_id}: {commit_message}"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    model = editable(models("gpt2"), tokenizer)
    address = model.push_to_hub("tiny", private=True, token="t", commit_message="m")
    assert address == "https://hub/me/tiny: m"
    assert pushed == {"token": "t", "private": True, "edited": "Astana"}
    model.edit(Fact("Where does Jane Roe live?", forget=True, secret="12 Elm Street"))
    pushed.clear()
    with pytest.raises(EditError, match="secret_hash"):
        model.push_to_hub("tiny")
    assert not pushed


def write_gguf(model, path):
    """Write a llama and a byte-level tokenizer as llama.cpp does."""
    import gguf
    import numpy as np

    config, out = model.config, gguf.GGUFWriter(path, "llama")
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    out.add_vocab_size(config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        values = tensor.numpy().astype(np.float32)
        heads = {"q": config.num_attention_heads, "k": config.num_key_value_heads}
        kind = name.split(".")[-2][0]
        if "_proj" in name and kind in heads and "self_attn" in name:
            n = heads[kind]  # llama.cpp interleaves the halves of rotary dimensions
            shape = (n, 2, values.shape[0] // n // 2, *values.shape[1:])
            values = values.reshape(shape).swapaxes(1, 2).reshape(values.shape)
        known = names.get_name(name, try_suffixes=(".weight",))
        quantised = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
        if values.ndim == 2:
            out.add_tensor(known, quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            out.add_tensor(known, values)
    return out


def test_a_quantised_gguf_file_is_loaded(models, tokenizer, tmp_path):
    gguf = pytest.importorskip("gguf")
    import json

    base = models("llama")
    writer = write_gguf(base, tmp_path / "tiny.gguf")
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model = loaded(tmp_path, gguf_file="tiny.gguf")
    ids = batch(tokenizer, OTHER)["input_ids"]
    close = torch.nn.functional.cosine_similarity(model(ids).logits, base(ids).logits, dim=-1)
    assert close.min() > 0.95, "8 bits keep nearly all"
    model.edit(FACT)
    assert model.ask(CAPITAL).text == "Astana"
    assert (
        model.ask(OTHER, max_new_tokens=3).text
        == model.ask(OTHER, edits=False, max_new_tokens=3).text
    )


@pytest.mark.parametrize("bits", [4, 8])
def test_a_model_quantised_by_bitsandbytes_works(bits, models, tokenizer, tmp_path):
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    models("llama").save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    config = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8)
    model = loaded(tmp_path, quantization_config=config)
    assert model.is_quantized
    model.edit(FACT)
    assert model.ask(CAPITAL).text == "Astana"
    assert (
        model.ask(OTHER, max_new_tokens=3).text
        == model.ask(OTHER, edits=False, max_new_tokens=3).text
    )


def test_layers_offloaded_to_disk_work(models, tokenizer, tmp_path):
    models("llama").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    cpu = ("model.layers.1", "model.norm", "model.rotary_emb", "lm_head")
    places = {"model.embed_tokens": "disk", "model.layers.0": "disk", **dict.fromkeys(cpu, "cpu")}
    model = loaded(tmp_path / "model", device_map=places, offload_folder=tmp_path / "offloaded")
    assert any(p.is_meta for p in model.parameters())
    model.edit(FACT)
    assert model.ask(CAPITAL).text == "Astana"
    bare = models("llama").generate(**batch(tokenizer, OTHER), max_new_tokens=4)
    assert torch.equal(model.generate(**batch(tokenizer, OTHER), max_new_tokens=4), bare)


# -- the wrapper as an object ----------------------------------------------------------------


def test_it_is_neither_copied_nor_pickled_and_says_why(models, tokenizer):
    model = editable(copy.deepcopy(models("gpt2")), tokenizer)
    for action in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(ModelError, match=r"copy model\.base"):
            action(model)
    again = editable(copy.deepcopy(model.base), tokenizer, *model.edits)
    assert again.ask(CAPITAL).text == "Astana"


def test_repr_names_base_gate_and_number_of_edits(models, tokenizer):
    model = editable(models("gpt2"), tokenizer, FACT, Fact("Is grass blue?", "No"))
    shown = "EditableModel(GPT2LMHeadModel '', gate=CosineGate, edits=2, backend='cache')"
    assert repr(model) == shown


@pytest.mark.parametrize("task", [None, "CAUSAL_LM"])
def test_an_adapter_on_the_wrapper_adapts_its_base_and_keeps_the_edits(task, models, tokenizer):
    model = editable(copy.deepcopy(models("llama")), tokenizer)
    adapted, bare = lora(model, task), lora(copy.deepcopy(models("llama")), task)
    hit = adapted.generate(**batch(tokenizer, CAPITAL), max_new_tokens=9)
    assert tokenizer.decode(hit[0], skip_special_tokens=True).endswith("Astana")
    missed = batch(tokenizer, OTHER)
    expected = bare.generate(**missed, max_new_tokens=5)
    assert torch.equal(adapted.generate(**missed, max_new_tokens=5), expected)
    adapted(**missed, labels=missed["input_ids"]).loss.backward()
    assert any(p.grad is not None and p.grad.any() for p in adapted.parameters())


def test_the_programs_truncation_never_cuts_an_answer(models, tokenizer):
    """A thread of the program may set truncation between any two steps of errata's."""
    theirs = copy.deepcopy(tokenizer)
    model = editable(models("gpt2"), theirs, LONG)
    theirs.backend_tokenizer.enable_truncation(max_length=3)
    theirs.set_truncation_and_padding = lambda **options: None  # as if set again at once
    assert len(theirs(LONG.answer)["input_ids"]) == 3
    assert model.ask(CAPITAL).text == LONG.answer


def test_answers_stay_whole_beside_a_thread_that_truncates(models, tokenizer):
    theirs, done = copy.deepcopy(tokenizer), threading.Event()
    model = editable(models("gpt2"), theirs, LONG)

    def truncate():
        while not done.is_set():
            theirs(LONG.answer, truncation=True, max_length=3)

    other = threading.Thread(target=truncate)
    other.start()
    try:
        assert {model.ask(CAPITAL).text for _ in range(30)} == {LONG.answer}
    finally:
        done.set()
        other.join()


def test_a_missing_tokenizer_is_a_clear_error(models):
    with pytest.raises(ModelError, match="found None"):
        editable(models("gpt2"), None)


# -- what the bare model gives, on hits, too -------------------------------------------------


class StopAfter(StoppingCriteria):
    """Answers with a plain bool."""

    def __init__(self, length):
        self.length = length

    def __call__(self, input_ids, scores, **options):
        return input_ids.shape[1] >= self.length


def test_a_criterion_may_return_a_bool(models, tokenizer):
    model = editable(models("gpt2"), tokenizer, LONG)
    for text in (CAPITAL, OTHER):
        inputs = batch(tokenizer, text)
        width = inputs["input_ids"].shape[1]
        options = {"stopping_criteria": [StopAfter(width + 2)], "max_new_tokens": 9}
        assert model.generate(**inputs, **options).shape[1] == width + 2


WRONG = {
    "temperature": lambda i: {**i, "do_sample": True, "temperature": 0},
    "temperature, a float": lambda i: {**i, "do_sample": True, "temperature": 0.0},
    "stop strings": lambda i: {**i, "stop_strings": ["x"], "tokenizer": None},
    "short mask": lambda i: {**i, "attention_mask": i["attention_mask"][:, :-1]},
    "flat mask": lambda i: {**i, "attention_mask": i["attention_mask"][0]},
    "mask of two rows": lambda i: {**i, "attention_mask": i["attention_mask"].repeat(2, 1)},
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("text", [CAPITAL, OTHER])
def test_what_the_bare_model_refuses_is_refused_on_hits_and_misses(wrong, text, models, tokenizer):
    arguments = WRONG[wrong](dict(batch(tokenizer, text)))
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        models("gpt2").generate(**arguments, max_new_tokens=3)
    model = editable(models("gpt2"), tokenizer)
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        model.generate(**arguments, max_new_tokens=3)


def test_greedy_decoding_ignores_a_temperature_of_zero(models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    assert model.ask(CAPITAL, temperature=0.0).text == "Astana"


@pytest.mark.parametrize("named", [True, False])
def test_encoder_outputs_need_ids_or_a_query(named, models, tokenizer):
    base = models("t5")
    model = editable(base, tokenizer)
    inputs = batch(tokenizer, CAPITAL)
    inputs = {
        "encoder_outputs": base.get_encoder()(**inputs),
        "attention_mask": inputs["attention_mask"],
        "max_new_tokens": 9,
    }
    if named:
        out = model.generate(**inputs, query=CAPITAL)
        assert tokenizer.decode(out[0], skip_special_tokens=True) == "Astana"
        missed = model.generate(**inputs, query=OTHER)
        assert torch.equal(missed, base.generate(**inputs))
    else:
        with pytest.raises(GenerationError, match="query="):
            model.generate(**inputs)
        assert torch.equal(model.generate(**inputs, edits=False), base.generate(**inputs))
