"""Generation by a reasoner's model under the caller's generation config."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError
from errata.generation.chat import pad_ids
from errata.generation.request import AskConfig
from errata.generation.shared_prefix import is_worth_sharing, read_prefix, shared_length
from errata.reasoners.abstention import AbstentionLogitsProcessor
from errata.reasoners.logits_processors import repetition_processors
from errata.reasoners.stopping import StopAtNewline

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

_OPTIONS_WITH_TOKEN_IDS = (
    "bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id",
    "forced_eos_token_id", "sequence_bias", "force_words_ids",
)  # fmt: skip


def max_new_tokens(generation: GenerationConfig) -> int:
    """Return how many tokens an answer may have: as ``ask`` where the caller's config says none."""
    return int(generation.max_new_tokens or AskConfig().max_new_tokens)


def decode(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    generation: GenerationConfig,
    *,
    single_line: bool,
    separate_vocabulary: bool = False,
    abstention_penalty: float = 0.0,
) -> list[list[str]]:
    """Return a model's answers to each prompt, ``num_return_sequences`` texts each.

    Repetition penalties of the config apply to the answer's tokens only, since the answer has to
    repeat the edits in the prompt. What most of a batch's tokens repeat, such as demonstrations, is
    read once.

    :param model: a causal or encoder-decoder model.
    :param tokenizer: its tokenizer.
    :param prompts: ids of each prompt.
    :param generation: the caller's config.
    :param single_line: cut the answer at a newline (for prompts without a chat template).
    :param separate_vocabulary: the model's token ids differ from those in the caller's config.
    :param abstention_penalty: log-odds subtracted from an empty answer.
    :raises GenerationError: the config asks for something not supported here.
    """
    import torch
    from transformers import StoppingCriteriaList

    config = _model_config(model, tokenizer, generation, separate_vocabulary)
    causal = not model.config.is_encoder_decoder
    shared = _shared_length(prompts, config) if causal else 0
    ids, mask = pad_ids(prompts, config.pad_token_id, left=causal, shared=shared)
    start = ids.shape[1] if causal else 1
    stops = [StopAtNewline(tokenizer, start)] if single_line else []
    options: dict[str, Any] = {
        "generation_config": config, "tokenizer": tokenizer,
        "logits_processor": _processors(config, start, abstention_penalty),
        "stopping_criteria": StoppingCriteriaList(stops),
    }  # fmt: skip
    if shared:
        options["past_key_values"] = read_prefix(model, prompts[0][:shared], len(prompts))
    with torch.no_grad():
        try:
            output = model.generate(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), **options
            )
        except ValueError as error:
            raise GenerationError(
                f"the reasoner cannot answer under this generation config: {error}"
            ) from error
    texts = tokenizer.batch_decode(output[:, start:].tolist(), skip_special_tokens=True)
    texts = [text.strip() for text in texts]
    if single_line:
        texts = [text.split("\n")[0].strip() for text in texts]
    per_prompt = len(texts) // len(prompts)
    return [texts[i * per_prompt : (i + 1) * per_prompt] for i in range(len(prompts))]


def _shared_length(prompts: Sequence[Sequence[int]], config: GenerationConfig) -> int:
    """Return how many tokens of the prompts' beginning are read once for all."""
    if (config.num_beams or 1) > 1 or (config.num_return_sequences or 1) > 1:
        return 0
    if config.use_cache is False or config.cache_implementation not in (None, "dynamic"):
        return 0
    length = shared_length(prompts)
    return length if is_worth_sharing(prompts, length) else 0


def _processors(config: GenerationConfig, start: int, abstention_penalty: float) -> Any:
    processors = repetition_processors(config, start)
    ends = config.eos_token_id
    if abstention_penalty and ends is not None:
        ids = ends if isinstance(ends, list) else [ends]
        processors.append(AbstentionLogitsProcessor(ids, start, abstention_penalty))
    return processors


def _model_config(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    generation: GenerationConfig,
    separate_vocabulary: bool,
) -> GenerationConfig:
    """Return the caller's config as the reasoner's model is to generate by it."""
    config = copy.deepcopy(generation)
    config.max_new_tokens = max_new_tokens(generation)
    config.max_length, config.min_length = None, 0
    config.return_dict_in_generate = False
    config.output_scores = config.output_logits = False
    config.output_attentions = config.output_hidden_states = False
    config.prompt_lookup_num_tokens = None  # an optimisation for single rows
    if separate_vocabulary:
        given = [
            name for name in _OPTIONS_WITH_TOKEN_IDS if getattr(config, name, None) is not None
        ]
        if given:
            raise GenerationError(
                f"{', '.join(given)} name ids of the base model's tokens, and the reasoner's model "
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
