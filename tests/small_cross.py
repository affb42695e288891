"""A second stage built in seconds: the stub encoder with a tiny BERT, and a gate that uses it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from errata.facts import load_relations
from errata.gates.artifact import GateArtifact, SecondStage
from errata.gates.cross_encoder import CrossEncoderDelta
from errata.gates.features import NAMES
from errata.gates.layers import Network, Platt
from tests.conftest import corpus
from tests.fakes import StubEncoder
from tests.small_gate import small_gate

RERANK_THRESHOLD = 0.03


class ReadingEncoder(StubEncoder):
    """The stub encoder, with access to a transformer."""

    def transformer(self) -> tuple[Any, Any]:
        return tiny_bert(), bert_tokenizer()


@cache
def bert_tokenizer() -> Any:
    """Return a WordPiece tokenizer that writes pairs as BERT's does."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    questions = [form for relation in load_relations().values() for form in relation.questions]
    made.train_from_iterator([*corpus(), *questions, "if the"], trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", made.token_to_id("[CLS]")), ("[SEP]", made.token_to_id("[SEP]"))],
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=256,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **names,
    )


@cache
def tiny_bert(hidden: int = 32, layers: int = 2) -> Any:
    """Return a randomly initialised BERT; nobody changes it."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=len(bert_tokenizer()),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=256,
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hidden + layers)
        return BertModel(config).eval()


def random_cross(
    hidden: int = 32, layers: int = 2, rank: int = 4, seed: int = 0
) -> CrossEncoderDelta:
    """Return an untrained cross-encoder with large changes."""
    from torch.nn import Linear

    rng = np.random.default_rng(seed)
    tensors = {"head.weight": rng.normal(size=(3, 2 * hidden)) * 0.4, "head.bias": np.zeros(3)}
    for name, module in tiny_bert(hidden, layers).named_modules():
        if isinstance(module, Linear) and "pooler" not in name:
            tensors[f"{name}.weight.A"] = rng.normal(size=(rank, module.in_features)) * 0.2
            tensors[f"{name}.weight.B"] = rng.normal(size=(module.out_features, rank)) * 0.2
    return CrossEncoderDelta({name: one.astype(np.float16) for name, one in tensors.items()}, 2.0)


def linear(classes: int, *terms: tuple[int, int, float, float]) -> Network:
    """Return a network of one layer: (class, column of the second stage, weight, offset), added up.

    :param classes: how many classes there are.
    """
    width = len(NAMES) + 2
    products = width * (width + 1) // 2 if classes == 3 else 0  # a condition's has two classes
    weights = np.zeros((width + products, classes))
    biases = np.zeros(classes)
    for label, column, weight, offset in terms:
        weights[column, label] += weight
        biases[label] += offset
    return Network(np.zeros(len(weights)), np.ones(len(weights)), (((weights, biases),),))


COSINE, SAME, FOLLOWS = NAMES.index("cosine"), len(NAMES), len(NAMES) + 1
"""Inputs of the second stage: a feature, and the cross-encoder's log-odds, a tenth of them."""
BY_COSINE = tuple((label, COSINE, 6.0, -2.7) for label in (1, 2))
BY_LOGITS = ((1, SAME, 12.0, 0.0), (2, FOLLOWS, 12.0, 0.0))


@cache
def two_stage_gate() -> GateArtifact:
    """Return the small gate with a second stage, of the cosine and the cross-encoder."""
    both = (*BY_COSINE, *BY_LOGITS)
    second = SecondStage(
        random_cross(),
        scope=linear(3, *both),
        condition=linear(2, *(one for one in both if one[0] == 1)),
        rerank_threshold=RERANK_THRESHOLD,
    )
    plain = Platt()
    return replace(
        small_gate(), second=second, scope_calibration=plain, condition_calibration=plain
    )
