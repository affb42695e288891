"""What clients send: the bodies of the OpenAI API, and errata's own header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from errata.generation.request import Selection
from errata.generation.template import content_text
from errata.serve.errors import ApiError

Endpoint = Literal["chat/completions", "completions"]
EDITS_HEADER = "x-errata-edits"


class StreamOptions(BaseModel):
    """How an answer is streamed."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = Field(None, description="Count tokens in a last event.")


class _Body(BaseModel):
    """What both endpoints take. Other fields are allowed, and reach an upstream as they are."""

    model_config = ConfigDict(extra="allow")

    model: str | None = Field(None, description="The model's name.")
    stream: bool | None = Field(None, description="Send the answer as server-sent events.")
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, description="How many answers.")
    max_tokens: int | None = Field(None, ge=1, description="Most tokens of an answer.")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: str | list[str] | None = None
    user: str | None = Field(None, description="What the rollouts of patches draw by.")


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="allow")

    role: str
    content: str | list[dict[str, Any]] | None = None


class ChatBody(_Body):
    """The body of ``/v1/chat/completions``."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)


class CompletionBody(_Body):
    """The body of ``/v1/completions``."""

    prompt: str | list[str] | list[int] | list[list[int]] = Field(
        description="A text, texts, or ids of tokens (which pass an upstream uncorrected)."
    )


@dataclass(frozen=True, slots=True)
class EditMode:
    """What ``X-Errata-Edits`` asks for; all edits, unless given.

    :param off: no edits.
    :param shadow: decide and log, but let the model answer.
    :param tags: edits with one of these tags.
    :param ids: edits of these ids.
    """

    off: bool = False
    shadow: bool = False
    tags: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    @property
    def selection(self) -> Selection:
        """The same as the ``edits=`` argument."""
        named = {"tags": self.tags, "ids": self.ids}
        return {k: v for k, v in named.items() if v} or not self.off


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A request to be answered.

    :param endpoint: which of the two.
    :param raw: the body as it was sent.
    :param body: the same, parsed.
    :param fields: the same, checked.
    :param headers: of the request.
    :param mode: which edits are in force.
    :param keyed: the server has keys of its own, so that the caller's is not the upstream's.
    """

    endpoint: Endpoint
    raw: bytes
    body: dict[str, Any]
    fields: ChatBody | CompletionBody
    headers: Mapping[str, str]
    mode: EditMode
    keyed: bool = False

    @property
    def streamed(self) -> bool:
        """Whether the answer is to be streamed."""
        return bool(self.fields.stream)

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        options = self.fields.stream_options
        return options is not None and bool(options.include_usage)

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return self.fields.n or 1

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation of a chat."""
        return list(self.body.get("messages", ()))

    @property
    def before(self) -> list[str]:
        """What the answer goes on from: the last message, or the prompts."""
        prompts = self.body.get("prompt") or ()
        if self.messages:
            return [content_text(self.messages[-1].get("content"))]
        some = [prompts] if isinstance(prompts, str) else list(prompts)
        return [prompt for prompt in some if isinstance(prompt, str)]


async def read_call(request: Request, endpoint: Endpoint, *, keyed: bool, max_choices: int) -> Call:
    """Return a request, checked.

    :param request: its body is within the limits.
    :param endpoint: which of the two.
    :param keyed: the server has keys of its own.
    :param max_choices: ``n`` at most.
    :raises ApiError: the body or the header is wrong.
    """
    raw = await request.body()
    body = parse_json(raw)
    shape = ChatBody if endpoint == "chat/completions" else CompletionBody
    try:
        fields = shape.model_validate(body)
    except ValidationError as error:
        raise invalid(error) from None
    if (fields.n or 1) > max_choices:
        raise ApiError(400, f"expected n of at most {max_choices}, found {fields.n}", param="n")
    mode = edit_mode(request.headers.get(EDITS_HEADER))
    return Call(endpoint, raw, body, fields, request.headers, mode, keyed)


def parse_json(raw: bytes) -> dict[str, Any]:
    """Return a JSON object.

    :raises ApiError: it is none.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"expected a JSON object, found broken JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, f"expected a JSON object, found {type(body).__name__}")
    return body


def invalid(error: ValidationError) -> ApiError:
    """Return a validation error, naming the first field that is wrong."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    param = ".".join(map(str, first["loc"]))
    return ApiError(400, f"{param}: {first['msg']}", "invalid_value", param)


def edit_mode(header: str | None) -> EditMode:
    """Return what a header asks for: ``off``, ``shadow``, ``tag=a,b``, ``id=x``, joined by ``;``.

    :raises ApiError: it is none of these.
    """
    if header is None or not header.strip():
        return EditMode()
    found = EditMode()
    for part in filter(None, (piece.strip() for piece in header.split(";"))):
        name, _, values = (piece.strip() for piece in part.partition("="))
        listed = tuple(value.strip() for value in values.split(",") if value.strip())
        if part == "off":
            found = replace(found, off=True)
        elif part == "shadow":
            found = replace(found, shadow=True)
        elif name in ("tag", "id") and listed:
            found = replace(found, **{f"{name}s": listed})  # type: ignore[arg-type]
        else:
            raise ApiError(
                400, "expected X-Errata-Edits: off, shadow, tag=NAME or id=NAME, joined by ';'",
                "invalid_value", "X-Errata-Edits",
            )  # fmt: skip
    return EditMode(off=True) if found.off else found
