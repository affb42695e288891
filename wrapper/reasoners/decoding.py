"""Free generation by a model that a reasoner owns or shares, under the caller's config."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError
from errata.reasoners.abstention import AbstentionPenalty
from errata.reasoners.logits_processors import repetition_of_answer
from errata.reasoners.stopping import LineEnd

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

NEW_TOKENS = 64
"""Tokens an answer has at most where the caller's config does not say."""

_OF_TOKENS = (
    "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id",
    "forced_eos_token_id", "sequence_bias", "force_words_ids",
)  # fmt: skip


def new_tokens(generation: GenerationConfig) -> int:
    """Return how many tokens an answer may have."""
    return int(generation.max_new_tokens or NEW_TOKENS)


def decode(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    generation: GenerationConfig,
    *,
    one_line: bool,
    foreign: bool = False,
    reluctance: float = 0.0,
) -> list[list[str]]:
    """Return what a model says to each prompt, ``num_return_sequences`` texts each.

    What the config says against repetition holds for the answer alone: the prompt is not the
    caller's, and the edits in it are there to be repeated.

    :param model: a causal or encoder-decoder model.
    :param tokenizer: its tokenizer.
    :param prompts: ids of each prompt.
    :param generation: the caller's config.
    :param one_line: cut the answer at a newline (plain prompts, where nothing else ends it).
    :param foreign: the model's tokens are not those the caller's config speaks of.
    :param reluctance: log-odds taken off an answer that ends before it begins.
    :raises GenerationError: the config asks for what cannot be done here.
    """
    import torch
    from transformers import StoppingCriteriaList

    config = _own_config(model, tokenizer, generation, foreign)
    causal = not model.config.is_encoder_decoder
    width = max(len(ids) for ids in prompts)
    pad = config.pad_token_id
    ids = torch.full((len(prompts), width), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        place = slice(width - len(prompt), width) if causal else slice(0, len(prompt))
        ids[row, place] = torch.tensor(prompt)
        mask[row, place] = 1
    start = width if causal else 1
    own: dict[str, Any] = {
        "generation_config": config, "tokenizer": tokenizer,
        "logits_processor": _processors(config, start, reluctance),
        "stopping_criteria": StoppingCriteriaList([LineEnd(tokenizer, start)] if one_line else []),
    }  # fmt: skip
    with torch.no_grad():
        try:
            output = model.generate(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), **own
            )
        except ValueError as error:
            raise GenerationError(
                f"the reasoner cannot answer under this generation config: {error}"
            ) from error
    texts = tokenizer.batch_decode(output[:, start:].tolist(), skip_special_tokens=True)
    texts = [text.strip() for text in texts]
    if one_line:
        texts = [text.split("\n")[0].strip() for text in texts]
    each = len(texts) // len(prompts)
    return [texts[i * each : (i + 1) * each] for i in range(len(prompts))]


def _processors(config: GenerationConfig, start: int, reluctance: float) -> Any:
    made = repetition_of_answer(config, start)
    ends = config.eos_token_id
    if reluctance and ends is not None:
        made.append(
            AbstentionPenalty(ends if isinstance(ends, list) else [ends], start, reluctance)
        )
    return made


def _own_config(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    generation: GenerationConfig,
    foreign: bool,
) -> GenerationConfig:
    config = copy.deepcopy(generation)
    config.max_new_tokens, config.max_length, config.min_length = new_tokens(generation), None, 0
    config.return_dict_in_generate = False
    config.output_scores = config.output_logits = False
    config.output_attentions = config.output_hidden_states = False
    config.prompt_lookup_num_tokens = None  # only quicker, and for one row only
    if foreign:
        asked = [name for name in _OF_TOKENS if getattr(config, name, None) is not None]
        if asked:
            raise GenerationError(
                f"{', '.join(asked)} name ids of the base model's tokens, and the reasoner's model "
                "has others; leave them out, or choose a reasoner that uses the base model"
            )
        for name in ("bos_token_id", "eos_token_id", "decoder_start_token_id", "pad_token_id"):
            setattr(config, name, getattr(model.generation_config, name, None))
    if config.pad_token_id is None:
        ends = config.eos_token_id
        end = ends[0] if isinstance(ends, list) else ends
        config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    if config.pad_token_id is None:
        raise GenerationError(
            "expected a pad or end token in the model's generation config, found neither; "
            "set tokenizer.pad_token"
        )
    return config
