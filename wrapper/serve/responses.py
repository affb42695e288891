"""What clients get: answers in the form of the OpenAI API, whole or as events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from fastapi.responses import JSONResponse, Response, StreamingResponse

from errata.cache.filters.text_filter import Replacement
from errata.gates.base import Decision
from errata.serve.requests import Call

Finish = Literal["stop", "length"]
EVENTS = "text/event-stream"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request; none were spent where a stored answer was given.

    :param prompt: of prompts.
    :param completion: of answers.
    """

    prompt: int = 0
    completion: int = 0

    def json(self) -> dict[str, int]:
        """Return the usage as clients read it."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """Answers to one request.

    :param model: the model's name.
    :param texts: one a choice.
    :param finishes: why each ended.
    :param usage: tokens.
    :param refusal: the texts are refusals of an answer that was to keep a form.
    :param headers: of the response.
    :param id: of the answer.
    :param created: seconds since 1970.
    """

    model: str
    texts: Sequence[str]
    finishes: Sequence[Finish]
    usage: Usage = field(default_factory=Usage)
    refusal: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def response(self, call: Call) -> Response:
        """Return the reply as a call wants it: whole, or as a stream."""
        if call.streamed:
            events = iter(list(self.events(call)))
            return StreamingResponse(events, media_type=EVENTS, headers=self.headers)
        return JSONResponse(self.body(call), headers=self.headers)

    def body(self, call: Call) -> dict[str, Any]:
        """Return the whole answer."""
        chat = call.endpoint == "chat/completions"
        choices = [
            {
                "index": at,
                **({"message": self._message(text)} if chat else {"text": text}),
                "logprobs": None,
                "finish_reason": finish,
            }
            for at, (text, finish) in enumerate(zip(self.texts, self.finishes, strict=True))
        ]
        kind = "chat.completion" if chat else "text_completion"
        return {**self._head(call, kind), "choices": choices, "usage": self.usage.json()}

    def events(self, call: Call) -> Iterator[bytes]:
        """Yield the answer as events."""
        for at, text in enumerate(self.texts):
            yield self.event(call, at, text, first=True)
        for at, finish in enumerate(self.finishes):
            yield self.event(call, at, "", finish=finish)
        yield from self.last_events(call, self.usage)

    def event(
        self, call: Call, at: int, text: str, *, first: bool = False, finish: Finish | None = None
    ) -> bytes:
        """Return one piece of a stream.

        :param at: the choice.
        :param text: what is new; empty in the last one.
        :param first: it is the first of its choice.
        :param finish: why the choice has ended.
        """
        chat = call.endpoint == "chat/completions"
        piece: dict[str, Any] = {"text": text}
        if chat:
            delta: dict[str, Any] = self._message(text) if first else {"content": text}
            piece = {"delta": {} if finish else delta}
        choice = {"index": at, **piece, "logprobs": None, "finish_reason": finish}
        kind = "chat.completion.chunk" if chat else "text_completion"
        return sse({**self._head(call, kind), "choices": [choice]})

    def last_events(self, call: Call, usage: Usage) -> Iterator[bytes]:
        """Yield what ends a stream: the usage, if it was asked for, and the mark of the end."""
        if call.include_usage:
            kind = (
                "chat.completion.chunk"
                if call.endpoint == "chat/completions"
                else "text_completion"
            )
            yield sse({**self._head(call, kind), "choices": [], "usage": usage.json()})
        yield DONE

    def _head(self, call: Call, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if call.endpoint == "chat/completions" else "cmpl"
        return {
            "id": f"{prefix}-{self.id}", "object": kind, "created": self.created,
            "model": self.model,
        }  # fmt: skip

    def _message(self, text: str) -> dict[str, Any]:
        if self.refusal:
            return {"role": "assistant", "content": None, "refusal": text}
        return {"role": "assistant", "content": text, "refusal": None}


def sse(value: object) -> bytes:
    """Return a value as a server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def decision_headers(
    decision: Decision | None,
    seconds: float,
    replaced: Sequence[Replacement] = (),
    *,
    shadow: bool = False,
    kept_form: bool = False,
) -> dict[str, str]:
    """Return the headers that say what was decided; never a patch's text.

    :param decision: None: the edits were off, or no question was found.
    :param seconds: until it was decided.
    :param replaced: patterns that changed query or answer, as far as they are known.
    :param shadow: the model answered all the same.
    :param kept_form: the model was asked with the edits in its prompt, to keep a form.
    """
    if decision is None:
        return {"X-Errata-Route": "off"}
    headers = {
        "X-Errata-Route": decision.route,
        "X-Errata-Decision-Ms": f"{seconds * 1000:.1f}",
    }
    if shadow:
        headers["X-Errata-Shadow"] = "true"
    if kept_form:
        headers["X-Errata-Form"] = "kept"
    patches = {edit.id: edit.location for edit in decision.fired}
    patches |= {one.edit_id: one.location for one in replaced}
    if patches:
        headers["X-Errata-Patch"] = ",".join(quote(name, safe="") for name in patches)
        places = [quote(str(at), safe="/:") for at in patches.values() if at is not None]
        if places:
            headers["X-Errata-Location"] = ",".join(places)
    first = next(
        (one for one in decision.candidates if any(e.id == one.edit_id for e in decision.fired)),
        next(iter(decision.candidates), None),
    )
    if first is not None:
        headers["X-Errata-Probability"] = f"{first.probability:.3f}"
        headers["X-Errata-Threshold"] = f"{first.threshold:.3f}"
    return headers
