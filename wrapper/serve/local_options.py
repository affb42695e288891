"""What a local model takes of a request, and what it cannot be held to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errata.serve.config import ServeConfig
from errata.serve.errors import ApiError
from errata.serve.requests import Call, ChatBody

_UNSUPPORTED = (
    "tools", "tool_choice", "functions", "function_call", "logprobs", "top_logprobs", "logit_bias",
    "frequency_penalty", "presence_penalty", "audio", "suffix", "echo",
)  # fmt: skip
_DEFAULTS: tuple[object, ...] = (None, False, 0, 0.0, "none", "", [], {})
"""Values of these that ask for nothing."""


def check_supported(call: Call, model: str) -> None:
    """Raise for what a local model cannot do.

    :param call: the request.
    :param model: the model's name.
    :raises ApiError: names the field.
    """
    if call.fields.model not in (None, "", model):
        raise ApiError(
            404, f"expected the model {model!r}, found {call.fields.model!r}",
            "model_not_found", "model",
        )  # fmt: skip
    form = call.body.get("response_format")
    unsupported = [n for n in _UNSUPPORTED if call.body.get(n) not in _DEFAULTS]
    if isinstance(form, Mapping) and form.get("type") not in (None, "text"):
        unsupported.append("response_format")
    if unsupported:
        raise ApiError(
            400, f"expected no {unsupported[0]}: a local model cannot be held to it; serve the "
            "model by a server that can, and name that with --upstream",
            "unsupported_parameter", unsupported[0],
        )  # fmt: skip
    for message in call.messages:
        content = message.get("content")
        if isinstance(content, list) and any("text" not in part for part in content):
            raise ApiError(
                400, "expected texts, found other parts of a message: a local model reads "
                "text only", "unsupported_content", "messages",
            )  # fmt: skip


def generation_options(
    call: Call, longest: int, context: int | None, config: ServeConfig
) -> dict[str, Any]:
    """Return the options of generation.

    :param call: the request.
    :param longest: tokens of its longest prompt.
    :param context: tokens that the model reads; None: without a limit.
    :param config: limits.
    :raises ApiError: prompt and answer do not fit the model's context.
    """
    fields = call.fields
    wanted = fields.max_tokens
    if isinstance(fields, ChatBody):
        wanted = fields.max_completion_tokens or wanted
    room = config.max_tokens if context is None else context - longest
    most = min(config.max_tokens, room) if wanted is None else wanted
    if context is not None and not 0 < most <= room:
        raise ApiError(
            400, f"expected at most {context} tokens in all, found {longest} in the "
            f"prompt and {wanted or 1} asked for", "context_length_exceeded", "messages",
        )  # fmt: skip
    options: dict[str, Any] = {"max_new_tokens": most}
    if fields.temperature is not None:
        options["do_sample"] = fields.temperature > 0
        if fields.temperature > 0:
            options["temperature"] = float(fields.temperature)
    if fields.top_p is not None and fields.temperature != 0:
        options["do_sample"], options["top_p"] = True, float(fields.top_p)
    if call.choices > 1:
        options["num_return_sequences"] = call.choices
        if not options.get("do_sample"):
            options["do_sample"] = True
            options.pop("temperature", None)
    if fields.seed is not None:
        options["seed"] = fields.seed
    stop = (fields.stop,) if isinstance(fields.stop, str) else tuple(fields.stop or ())
    if stop := tuple(filter(None, stop)):
        options["stop_strings"] = stop
    return options
