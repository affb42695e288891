"""One call of ``generate``: its arguments, the config in effect, the edits chosen, answer rows."""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ErrataError, GenerationError
from errata.cache.records import Edit
from errata.cache.text.normalize import needs_space
from errata.generation.base_model import unwrapped
from errata.generation.chat import Prompt, decode_ids

if TYPE_CHECKING:
    import torch
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerBase,
    )
    from transformers.generation.streamers import BaseStreamer

    from errata.generation.base_model import GenerativeModel

Selection = bool | Mapping[str, Sequence[str]]
"""The ``edits=`` argument: ``True``, ``False``, ``{"tags": [...]}`` or ``{"ids": [...]}``."""

_ANCHOR = "?"

Queries = str | Sequence[str] | None
"""The ``query=`` argument: the question of each row; None: it is read from the ids."""

DEFAULT_NEW_TOKENS = 20
"""What `transformers` generates when neither max_new_tokens nor max_length is set."""


@dataclass(frozen=True, slots=True)
class AskConfig:
    """How ``ask`` generates, where its options do not say.

    :param max_new_tokens: most tokens of an answer: a paragraph of a chat model; stored answers are
        seldom longer, and what is cut off can be asked for.
    :param do_sample: draw tokens, where the same question is to get other answers.
    """

    max_new_tokens: int = 64
    do_sample: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class GenerateRequest:
    """One call of ``generate``.

    :param arguments: everything the caller passed, for the base model, untouched.
    :param ids: the caller's prompt (causal) or encoder input, int64 [rows, tokens], or None.
    :param prompt: what was passed as the prompt: ids, or embeddings or an encoder's output
        [rows, tokens, width], or None.
    :param mask: the caller's attention mask, the shape of ``ids``, or None.
    :param config: the generation config in effect: the caller's arguments, then the caller's
        config, then the model's.
    :param encoder_decoder: whether the answer is a sequence without the prompt.
    :param rows: number of prompts.
    :param num_return_sequences: sequences returned for each prompt.
    :param streamer: the caller's streamer, if any.
    :param eos_token_ids: the ids that end a sequence.
    :param pad_token_id: pads finished rows: the pad token, else the first end token.
    """

    arguments: Mapping[str, Any]
    ids: torch.Tensor | None
    prompt: torch.Tensor | None
    mask: torch.Tensor | None
    config: GenerationConfig
    encoder_decoder: bool
    rows: int
    num_return_sequences: int
    streamer: BaseStreamer | None
    eos_token_ids: tuple[int, ...]
    pad_token_id: int

    @property
    def max_new_tokens(self) -> int:
        """Most new tokens that a row may get, also where ``max_length`` was given."""
        if self.config.max_new_tokens is not None:
            return int(self.config.max_new_tokens)
        if self.config.max_length is None:
            return DEFAULT_NEW_TOKENS
        counted = self.prefixes() if self.encoder_decoder or self.prompt is None else self.prompt
        return max(0, int(self.config.max_length) - int(counted.shape[1]))

    @property
    def reasoner_config(self) -> GenerationConfig:
        """The config for a reasoner, whose prompt has another length: new tokens are counted."""
        config = copy.copy(self.config)
        config.max_new_tokens, config.max_length = max(1, self.max_new_tokens), None
        return config

    def prefixes(self) -> torch.Tensor:
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
        # `transformers` also adds a missing start token.
        return given if bool((given[:, 0] == start[0]).all()) else torch.cat([first, given], dim=1)


def read_request(
    base: GenerativeModel, inputs: Any, arguments: Mapping[str, Any]
) -> GenerateRequest:
    """Return what was passed to ``generate`` as a request.

    :param base: the model.
    :param inputs: its first argument: ids, a mapping such as a BatchEncoding, or None.
    :param arguments: its keyword arguments.
    """
    import torch

    passed = dict(arguments)
    if isinstance(inputs, Mapping):
        passed = {**inputs, **passed}
    elif inputs is not None:
        passed[next(iter(_parameters(base)), "inputs")] = inputs
    ids = passed.get("input_ids", passed.get("inputs"))
    if not isinstance(ids, torch.Tensor) or ids.dim() != 2 or ids.is_floating_point():
        ids = None
    prompt = passed.get("inputs_embeds") if ids is None else ids
    if prompt is None and passed.get("encoder_outputs") is not None:
        prompt = passed["encoder_outputs"][0]
    config = effective_config(base, passed)
    ends = _ids(config.eos_token_id)
    return GenerateRequest(
        arguments=passed,
        ids=ids,
        prompt=prompt,
        mask=passed.get("attention_mask"),
        config=config,
        encoder_decoder=bool(base.config.is_encoder_decoder),
        rows=0 if prompt is None else int(prompt.shape[0]),
        num_return_sequences=config.num_return_sequences or 1,
        streamer=passed.get("streamer"),
        eos_token_ids=ends,
        pad_token_id=(*_ids(config.pad_token_id), *ends, 0)[0],
    )


def effective_config(base: GenerativeModel, arguments: Mapping[str, Any]) -> GenerationConfig:
    """Return the generation config in effect, as `transformers` resolves it."""
    from transformers import WatermarkingConfig

    default = base.generation_config
    passed = arguments.get("generation_config")
    config = copy.deepcopy(default if passed is None else passed)
    for name, value in default.to_dict().items():
        if getattr(config, name, None) is None and value is not None:
            setattr(config, name, value)
    for name, value in arguments.items():
        if value is not None and name != "generation_config" and hasattr(config, name):
            setattr(config, name, value)
    if isinstance(config.watermarking_config, dict):
        config.watermarking_config = WatermarkingConfig.from_dict(config.watermarking_config)
    return config


def name_positional(base: GenerativeModel, args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the positional arguments after ``inputs`` of `transformers`' generate by name."""
    names = _parameters(base)
    if len(args) >= len(names):
        raise TypeError(f"generate() takes at most {len(names)} positional arguments")
    return dict(zip(names[1:], args, strict=False))


def _parameters(base: GenerativeModel) -> list[str]:
    """Return the names of the parameters of a model's ``generate``."""
    parameters = inspect.signature(unwrapped(base).generate).parameters
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, one in parameters.items() if one.kind not in variable]


def validate_request(base: GenerativeModel, request: GenerateRequest) -> None:
    """Check the arguments as ``base.generate`` does, for a batch in which it is not called.

    :raises GenerationError: an argument that the model does not know, a config that contradicts
        itself or cannot be sampled by, stop strings without a tokenizer, or an attention mask that
        does not fit the ids.
    """
    from transformers import GenerationMixin

    model, custom = unwrapped(base), request.arguments.get("custom_generate")
    known = {*_parameters(base), "tokenizer", "trust_remote_code"}
    for part in (model.prepare_inputs_for_generation, model.forward):
        known |= {*inspect.signature(part).parameters}
    own = getattr(model.generate, "__func__", None) is not GenerationMixin.generate
    for name in () if callable(custom) or own else request.arguments:
        if name not in known and not hasattr(request.config, name):
            close = difflib.get_close_matches(name, [*known, *vars(request.config)], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise GenerationError(f"expected an argument of generate(), found {name!r}{hint}")
    _check_mask(request)
    try:
        request.config.validate()
        if request.config.do_sample and request.config.temperature is not None:
            _check_temperature(request.config.temperature)
    except ValueError as error:
        raise GenerationError(str(error)) from error
    if request.config.stop_strings and request.arguments.get("tokenizer") is None:
        raise GenerationError(
            "expected tokenizer= beside stop_strings=, found none; pass the model's tokenizer"
        )


def _check_temperature(temperature: float) -> None:
    """Raise as `transformers` does before it samples.

    :raises ValueError: the temperature is not positive.
    """
    from transformers import TemperatureLogitsWarper

    if temperature != 1.0:
        TemperatureLogitsWarper(temperature)


def _check_mask(request: GenerateRequest) -> None:
    """Raise for an attention mask that a causal model refuses.

    :raises GenerationError: it has two dimensions or fewer and is not of the shape of the ids.
    """
    mask, ids = request.mask, request.ids
    if mask is None or ids is None or request.encoder_decoder or mask.dim() > 2:
        return
    if mask.shape != ids.shape and request.arguments.get("past_key_values") is None:
        raise GenerationError(
            f"expected an attention_mask of the shape of the ids, {list(ids.shape)}, found "
            f"{list(mask.shape)}; pass the mask that the tokenizer returned with them"
        )


def selector(selection: Selection) -> Callable[[Edit], bool]:
    """Return the predicate of a selection: edits with any of the tags or ids.

    :param selection: True for all, or a mapping of ``tags`` and ``ids`` to lists.
    :raises ErrataError: anything else.
    """
    if isinstance(selection, bool):
        return lambda edit: selection
    if not isinstance(selection, Mapping) or not selection or set(selection) - {"tags", "ids"}:
        raise ErrataError(
            'expected edits=True, False, {"tags": [...]} or {"ids": [...]}, '
            f"found {selection!r}"
        )
    if any(isinstance(value, str) for value in selection.values()):
        raise ErrataError(f"expected lists of texts in edits=, found {dict(selection)!r}")
    tags, ids = set(selection.get("tags", ())), set(selection.get("ids", ()))
    return lambda edit: edit.id in ids or bool(tags & set(edit.tags))


class AnswerWriter:
    """Encodes answers as rows of ids.

    A row is its prefix (the prompt, or the decoder start), the answer and the end token, cut at
    ``max_new_tokens``. After plain text in a language with spaces between words, the answer begins
    with a space; in a chat and for an encoder-decoder model it does not.

    :param tokenizer: the base model's tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def answer_row(
        self, request: GenerateRequest, prefix: torch.Tensor, prompt: Prompt, answer: str
    ) -> torch.Tensor:
        """Return the row of an answer, int64 [tokens].

        :param request: the call.
        :param prefix: what the row begins with, int64 [tokens].
        :param prompt: the prompt, for the space before the answer.
        :param answer: the answer's text.
        """
        no_space = request.encoder_decoder or prompt.chat or prompt.text[-1:].isspace()
        space = "" if no_space or not needs_space(prompt.text, answer) else " "
        return self.row(request, prefix, self.encode(space + answer), ended=True)

    def row(
        self, request: GenerateRequest, prefix: torch.Tensor, new: Sequence[int], *, ended: bool
    ) -> torch.Tensor:
        """Return prefix and new ids as a row, within the caller's limits.

        :param ended: add the end token.
        """
        import torch

        ids = [*new, *request.eos_token_ids[:1]] if ended else list(new)
        kept = torch.tensor(ids[: request.max_new_tokens], dtype=prefix.dtype, device=prefix.device)
        return self._stopped(request, torch.cat([prefix, kept]), len(prefix))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text that continues another (no start token, no added space)."""
        # SentencePiece tokenizers add a space before a text: encode it after an anchor, and remove
        # the anchor's ids.
        anchor = self._ids(_ANCHOR)
        whole = self._ids(_ANCHOR + text)
        if whole[: len(anchor)] == anchor:
            return whole[len(anchor) :]
        return self._ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of new ids, special tokens left out."""
        anchored = decode_ids(self.tokenizer, [*self._ids(_ANCHOR), *ids], skip=True)
        # After the anchor, too: the first token of a text loses its space.
        if anchored.startswith(_ANCHOR):
            return anchored[len(_ANCHOR) :]
        return decode_ids(self.tokenizer, ids, skip=True)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _stopped(self, request: GenerateRequest, row: torch.Tensor, start: int) -> torch.Tensor:
        """Return a row up to where the caller's stopping criteria or stop strings end it."""
        import torch
        from transformers import StopStringCriteria

        criteria = list(request.arguments.get("stopping_criteria") or [])
        if request.config.stop_strings:
            criteria.append(StopStringCriteria(self.tokenizer, request.config.stop_strings))
        if not criteria:
            return row
        for end in range(start + 1, len(row)):
            try:
                stop = any(bool(torch.as_tensor(c(row[None, :end], None)).all()) for c in criteria)
            except Exception as error:
                raise GenerationError(
                    "a stopping criterion failed on a corrected row, which has no scores "
                    f"({type(error).__name__}: {error}); let it accept scores=None"
                ) from error
            if stop:
                return row[:end]
        return row


def pad_rows(rows: Sequence[torch.Tensor], pad: int, width: int = 0) -> torch.Tensor:
    """Return rows as one tensor [rows, tokens], padded at the end.

    :param rows: int64 tensors.
    :param pad: the padding id.
    :param width: minimal width in tokens.
    """
    import torch

    width = max([width, *(len(row) for row in rows)])
    out = torch.full((len(rows), width), pad, dtype=rows[0].dtype, device=rows[0].device)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(int(v) for v in value) if isinstance(value, (list, tuple)) else (int(value),)
