"""What a caller of ``generate`` asked for, read once and never changed."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from errata.cache.errors import GenerationError

if TYPE_CHECKING:
    import torch
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerBase,
        StoppingCriteriaList,
    )
    from transformers.generation.streamers import BaseStreamer

    from errata.base import GenerativeModel

DEFAULT_NEW_TOKENS = 20
"""What `transformers` generates when neither max_new_tokens nor max_length is set."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of ``generate``.

    :param arguments: everything the caller passed, for the base model, untouched.
    :param ids: the caller's prompt (causal) or encoder input, int64 [rows, tokens], or None.
    :param mask: the caller's attention mask, the shape of ``ids``, or None.
    :param config: the generation config in effect: the caller's arguments, then the caller's
        config, then the model's.
    :param encoder_decoder: whether the answer starts a sequence of its own.
    :param budget: most new tokens a row may get.
    """

    arguments: Mapping[str, Any]
    ids: torch.Tensor | None
    mask: torch.Tensor | None
    config: GenerationConfig
    encoder_decoder: bool
    budget: int

    @property
    def prompt(self) -> torch.Tensor | None:
        """What was passed as the prompt: ids, or embeddings [rows, tokens, width], or None."""
        embeddings: torch.Tensor | None = self.arguments.get("inputs_embeds")
        return embeddings if self.ids is None else self.ids

    @property
    def rows(self) -> int:
        """Number of prompts."""
        return 0 if self.prompt is None else int(self.prompt.shape[0])

    @property
    def wordless(self) -> bool:
        """Whether the base model is to start from nothing, or from what is not text."""
        return self.prompt is None

    @property
    def sequences(self) -> int:
        """Sequences returned for each prompt."""
        return self.config.num_return_sequences or 1

    @property
    def streamer(self) -> BaseStreamer | None:
        """The caller's streamer, if any."""
        return self.arguments.get("streamer")

    @property
    def end_ids(self) -> tuple[int, ...]:
        """The ids that end a sequence."""
        return _ids(self.config.eos_token_id)

    @property
    def pad_id(self) -> int:
        """The id that pads finished rows: the pad token, else the first end token."""
        return (*_ids(self.config.pad_token_id), *self.end_ids, 0)[0]

    def stopping_criteria(self, tokenizer: PreTrainedTokenizerBase) -> StoppingCriteriaList:
        """Return the caller's own stopping criteria and stop strings (not lengths and ends)."""
        from transformers import StoppingCriteriaList, StopStringCriteria

        criteria = StoppingCriteriaList(self.arguments.get("stopping_criteria") or [])
        if self.config.stop_strings:
            criteria.append(StopStringCriteria(tokenizer, self.config.stop_strings))
        return criteria

    def heads(self) -> torch.Tensor:
        """Return what each row of the output starts with, [rows, tokens].

        The prompt for a causal model, the decoder start for an encoder-decoder model, nothing
        where the prompt was passed as embeddings.
        """
        import torch

        if self.prompt is None:
            raise GenerationError(
                "expected input_ids or inputs_embeds, found neither: a corrected row needs a prompt"
            )
        if not self.encoder_decoder:
            if self.ids is not None:
                return self.ids
            return torch.empty((self.rows, 0), dtype=torch.long, device=self.prompt.device)
        given = self.arguments.get("decoder_input_ids")
        if given is not None:
            return cast("torch.Tensor", given)
        start = (*_ids(self.config.decoder_start_token_id), *_ids(self.config.bos_token_id))
        if not start:
            raise GenerationError(
                "an encoder-decoder model needs decoder_start_token_id in its generation config; "
                "found none"
            )
        return torch.full((self.rows, 1), start[0], dtype=torch.long, device=self.prompt.device)


def read_call(base: GenerativeModel, inputs: Any, arguments: Mapping[str, Any]) -> Call:
    """Read what was passed to ``generate``.

    :param base: the model.
    :param inputs: its first argument: ids, a mapping such as a BatchEncoding, or None.
    :param arguments: its keyword arguments.
    """
    given = dict(arguments)
    if isinstance(inputs, Mapping):
        given = {**inputs, **given}
    elif inputs is not None:
        given["inputs"] = inputs
    ids = given.get("input_ids", given.get("inputs"))
    config = effective_config(base, given)
    encoder_decoder = bool(base.config.is_encoder_decoder)
    if not _is_ids(ids):
        ids = None
    return Call(
        arguments=given,
        ids=ids,
        mask=given.get("attention_mask"),
        config=config,
        encoder_decoder=encoder_decoder,
        budget=_budget(base, config, ids, encoder_decoder),
    )


def effective_config(base: GenerativeModel, arguments: Mapping[str, Any]) -> GenerationConfig:
    """Return the generation config in effect, as `transformers` resolves it."""
    own = base.generation_config
    passed = arguments.get("generation_config")
    config = copy.deepcopy(own if passed is None else passed)
    for name, value in own.to_dict().items():
        if getattr(config, name, None) is None and value is not None:
            setattr(config, name, value)
    for name, value in arguments.items():
        if value is not None and name != "generation_config" and hasattr(config, name):
            setattr(config, name, value)
    return config


def positional(base: GenerativeModel, rest: tuple[Any, ...]) -> dict[str, Any]:
    """Name the positional arguments that follow ``inputs`` in `transformers`' generate."""
    names = [n for n in inspect.signature(base.generate).parameters if n != "inputs"]
    if len(rest) > len(names):
        raise TypeError(f"generate() takes at most {len(names) + 1} positional arguments")
    return dict(zip(names, rest, strict=False))


def _budget(
    base: GenerativeModel, config: GenerationConfig, ids: torch.Tensor | None, encoder_decoder: bool
) -> int:
    if config.max_new_tokens is not None:
        return int(config.max_new_tokens)
    if config.max_length is None:
        return DEFAULT_NEW_TOKENS
    before = 1 if encoder_decoder or ids is None else int(ids.shape[1])
    return max(0, int(config.max_length) - before)


def _is_ids(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.dim() == 2 and not value.is_floating_point()


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else (int(value),)
