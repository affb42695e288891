"""What a caller of ``generate`` asked for, read once and never changed."""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.cache.errors import GenerationError

if TYPE_CHECKING:
    import torch
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerBase,
        StoppingCriteriaList,
    )
    from transformers.generation.streamers import BaseStreamer

    from errata.generation.base_model import GenerativeModel

DEFAULT_NEW_TOKENS = 20
"""What `transformers` generates when neither max_new_tokens nor max_length is set."""


@dataclass(frozen=True, slots=True, eq=False)
class GenerateRequest:
    """One call of ``generate``.

    :param arguments: everything the caller passed, for the base model, untouched.
    :param ids: the caller's prompt (causal) or encoder input, int64 [rows, tokens], or None.
    :param mask: the caller's attention mask, the shape of ``ids``, or None.
    :param config: the generation config in effect: the caller's arguments, then the caller's
        config, then the model's.
    :param encoder_decoder: whether the answer starts a sequence of its own.
    """

    arguments: Mapping[str, Any]
    ids: torch.Tensor | None
    mask: torch.Tensor | None
    config: GenerationConfig
    encoder_decoder: bool

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
    def budget(self) -> int:
        """Most new tokens that a row may get."""
        if self.config.max_new_tokens is not None:
            return int(self.config.max_new_tokens)
        if self.config.max_length is None:
            return DEFAULT_NEW_TOKENS
        counted = self.heads() if self.encoder_decoder or self.prompt is None else self.prompt
        return max(0, int(self.config.max_length) - int(counted.shape[1]))

    @property
    def own_config(self) -> GenerationConfig:
        """The config for a prompt of other words, whose answer has the length of the caller's."""
        config = copy.copy(self.config)
        config.max_new_tokens, config.max_length = max(1, self.budget), None
        return config

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
        start = (*_ids(self.config.decoder_start_token_id), *_ids(self.config.bos_token_id))
        if not start:
            raise GenerationError(
                "an encoder-decoder model needs decoder_start_token_id in its generation config; "
                "found none"
            )
        first = torch.full((self.rows, 1), start[0], dtype=torch.long, device=self.prompt.device)
        given: torch.Tensor | None = self.arguments.get("decoder_input_ids")
        if given is None:
            return first
        # As `transformers` does: the start token is put before what lacks it.
        return given if bool((given[:, 0] == start[0]).all()) else torch.cat([first, given], dim=1)


def read_request(
    base: GenerativeModel, inputs: Any, arguments: Mapping[str, Any]
) -> GenerateRequest:
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
    if not _is_ids(ids):
        ids = None
    return GenerateRequest(
        arguments=given,
        ids=ids,
        mask=given.get("attention_mask"),
        config=config,
        encoder_decoder=bool(base.config.is_encoder_decoder),
    )


def effective_config(base: GenerativeModel, arguments: Mapping[str, Any]) -> GenerationConfig:
    """Return the generation config in effect, as `transformers` resolves it."""
    from transformers import WatermarkingConfig

    own = base.generation_config
    passed = arguments.get("generation_config")
    config = copy.deepcopy(own if passed is None else passed)
    for name, value in own.to_dict().items():
        if getattr(config, name, None) is None and value is not None:
            setattr(config, name, value)
    for name, value in arguments.items():
        if value is not None and name != "generation_config" and hasattr(config, name):
            setattr(config, name, value)
    if isinstance(config.watermarking_config, dict):
        config.watermarking_config = WatermarkingConfig.from_dict(config.watermarking_config)
    return config


def positional(base: GenerativeModel, rest: tuple[Any, ...]) -> dict[str, Any]:
    """Name the positional arguments that follow ``inputs`` in `transformers`' generate."""
    names = [
        n for n in inspect.signature(type(base).generate).parameters if n not in ("self", "inputs")
    ]
    if len(rest) > len(names):
        raise TypeError(f"generate() takes at most {len(names) + 1} positional arguments")
    return dict(zip(names, rest, strict=False))


def check_without_base(base: GenerativeModel, call: GenerateRequest) -> None:
    """Refuse what the base model would refuse, where it is not called at all.

    :raises GenerationError: an argument that `transformers` does not know, or a config that
        contradicts itself.
    """
    known = {*inspect.signature(type(base).generate).parameters, "tokenizer", "trust_remote_code"}
    inner = inspect.signature(type(base).prepare_inputs_for_generation).parameters
    known |= {*inner, *inspect.signature(type(base).forward).parameters}
    for name in call.arguments:
        if name not in known and not hasattr(call.config, name):
            close = difflib.get_close_matches(name, [*known, *vars(call.config)], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise GenerationError(f"expected an argument of generate(), found {name!r}{hint}")
    try:
        call.config.validate()
    except ValueError as error:
        raise GenerationError(str(error)) from error


def _is_ids(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.dim() == 2 and not value.is_floating_point()


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else (int(value),)
