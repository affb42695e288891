"""Tiny models and tokenizers, built in code: no test needs a network or a download.

The models are shared by a whole session. A test that changes one works on ``copy.deepcopy(...)``.
"""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # xdist brings the parallelism

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from benchmarks.postgres_server import PostgresServer

FAMILIES = ("gpt2", "llama", "qwen2", "mistral", "gpt_neox", "opt", "t5")
"""Architectures that ``models`` can build; the ``family`` fixture runs a test on each."""

MORE_FAMILIES = ("gptj", "gpt_neo", "qwen3", "phi3", "gemma2")
"""More architectures that ``models`` can build: those that only editors of weights tell apart."""

VOCABULARY = 512
CONTEXT = 256

END, PAD, TURN, TURN_END = "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_PLACES = "Astana Kazakhstan Paris France Oslo Norway Lima Peru Cairo Egypt Tokyo Japan".split()
_ANIMALS = "zebra panda horse ostrich camel whale otter raven".split()
_FRAMES = (
    "What is the capital of {place}?",
    "{place} lies north of the river and south of the hills.",
    "What colour is the skin of the {animal}?",
    "Tell me what a {animal} eats in {place}.",
    "The user asks who made you, and the answer is: Example Labs.",
    "Every {animal} in {place} is 12 years old, said Dr. Weber on May 7, 2015.",
    "斑马的皮肤是什么颜色的？ {place} 黑色 {animal} 肉色。",
)


def corpus() -> list[str]:
    """Return the few hundred sentences that the tiny tokenizer is trained on."""
    return [
        frame.format(place=place, animal=animal)
        for frame in _FRAMES
        for place in _PLACES
        for animal in _ANIMALS
    ]


@cache
def build_tokenizer(*, chat: bool = False) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer that pads on the left.

    Both kinds have the same vocabulary, so either goes with any of the models.

    :param chat: whether it has a chat template (ChatML).
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, TURN, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        model_max_length=CONTEXT,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@cache
def build_model(family: str) -> PreTrainedModel:
    """Return a randomly initialised model of two layers, 32 wide, in evaluation mode.

    The initial weights are larger than usual, so that different prompts get different answers.

    :param family: one of ``FAMILIES`` or ``MORE_FAMILIES``.
    """
    import torch
    import transformers as hf

    tokenizer = build_tokenizer()
    special = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    common = {"vocab_size": len(tokenizer), "hidden_size": 32, "initializer_range": 0.4, **special}
    decoder = {
        **common,
        "bos_token_id": tokenizer.eos_token_id,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
    }
    grouped = {**decoder, "intermediate_size": 64, "num_key_value_heads": 2}
    build: dict[str, Callable[[], PreTrainedModel]] = {
        "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**decoder)),
        "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**grouped)),
        "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**grouped)),
        "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**grouped)),
        "gpt_neox": lambda: hf.GPTNeoXForCausalLM(
            hf.GPTNeoXConfig(**decoder, intermediate_size=64)
        ),
        "opt": lambda: hf.OPTForCausalLM(
            hf.OPTConfig(**decoder, ffn_dim=64, word_embed_proj_dim=32, init_std=0.4)
        ),
        "t5": lambda: hf.T5ForConditionalGeneration(
            hf.T5Config(
                vocab_size=len(tokenizer),
                d_model=32,
                d_kv=8,
                d_ff=64,
                num_layers=2,
                num_heads=4,
                initializer_factor=3.0,
                decoder_start_token_id=tokenizer.pad_token_id,
                **special,
            )
        ),
    }
    small = {**decoder, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 64}
    build |= {
        "gptj": lambda: hf.GPTJForCausalLM(
            hf.GPTJConfig(**{**small, "n_positions": CONTEXT, "rotary_dim": 4})
        ),
        "gpt_neo": lambda: hf.GPTNeoForCausalLM(
            hf.GPTNeoConfig(
                **common,
                bos_token_id=tokenizer.eos_token_id,
                num_layers=2,
                num_heads=4,
                intermediate_size=64,
                max_position_embeddings=CONTEXT,
                attention_types=[[["global", "local"], 1]],
            )
        ),
        "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**grouped, head_dim=8)),
        "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**grouped)),
        "gemma2": lambda: hf.Gemma2ForCausalLM(
            hf.Gemma2Config(**grouped, head_dim=8, query_pre_attn_scalar=8)
        ),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((*FAMILIES, *MORE_FAMILIES).index(family))
        return build[family]().eval()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Return the tiny tokenizer: byte-level, pads on the left, no chat template."""
    return build_tokenizer()


@pytest.fixture(scope="session")
def chat_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tiny tokenizer with a chat template."""
    return build_tokenizer(chat=True)


@pytest.fixture(scope="session")
def models() -> Callable[[str], PreTrainedModel]:
    """Return a callable: ``models("gpt2")`` is the session's tiny GPT-2 (see ``FAMILIES``)."""
    return build_model


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Return the name of a family; the test runs once for each."""
    return str(request.param)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Return a PostgreSQL server of the session's own, without a password."""
    pytest.importorskip("psycopg", reason="needs the extra postgres")
    from benchmarks.postgres_server import NoServer, PostgresServer

    try:
        server = PostgresServer("fsync=off", "shared_buffers=16MB")
    except NoServer as error:
        pytest.skip(f"no PostgreSQL server can be started here: {error}")
    with server:
        yield server


_SCHEMAS = itertools.count()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """Return the URL of an empty schema in a PostgreSQL server."""
    import psycopg

    schema = f"test_{next(_SCHEMAS)}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    return postgres_server.url(schema)
