"""The connection to an OpenAI-compatible server."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from fastapi.responses import Response, StreamingResponse
from starlette.background import BackgroundTask

from errata.cache.errors import ErrataError
from errata.cache.filters.text_filter import Filter
from errata.generation.chat import Messages
from errata.serve.bodies import ASKER_FIELDS, text_of
from errata.serve.config import ServeConfig
from errata.serve.errors import ApiError
from errata.serve.event_filter import EventFilter, filter_body
from errata.serve.metrics import Metrics
from errata.serve.requests import Call
from errata.serve.responses import EVENTS, Usage

KEY_VARIABLE = "ERRATA_UPSTREAM_KEY"
"""The environment variable with the key that the upstream gets."""

_NOT_FORWARDED = frozenset(
    "connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding "
    "upgrade host content-length expect x-errata-edits".split()
)
"""Headers of one connection (RFC 9110, 7.6.1), and errata's own."""
_NOT_RETURNED = _NOT_FORWARDED - {"content-length"} | {"date", "server"}


class Upstream:
    """Sends calls to an OpenAI-compatible server.

    :param url: such as ``http://127.0.0.1:8001/v1``.
    :param config: limits.
    :param metrics: counts failures.
    :raises ErrataError: the address is none.
    """

    def __init__(self, url: str, config: ServeConfig, metrics: Metrics) -> None:
        self.url, self._metrics = url.rstrip("/"), metrics
        if not self.url.startswith(("http://", "https://")):
            raise ErrataError(
                "expected an address such as http://127.0.0.1:8001/v1 for --upstream, "
                f"found {url!r}"
            )
        self._key = os.environ.get(KEY_VARIABLE, "")
        timeout = httpx.Timeout(config.upstream_seconds, connect=10.0)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
        self._client = httpx.AsyncClient(timeout=timeout, limits=limits)
        self._blocking = httpx.Client(timeout=timeout, limits=limits)

    async def forward(
        self,
        call: Call,
        raw: bytes,
        headers: Mapping[str, str],
        output_filter: Filter | None = None,
    ) -> Response:
        """Return the upstream's response to a body, filtered where a filter is in force."""
        filtering = bool(output_filter)
        response = await self.send(call, raw, plain=filtering)
        returned = [
            (name, value) for name, value in response.headers.multi_items()
            if name not in _NOT_RETURNED and not (filtering and name == "content-length")
        ]  # fmt: skip
        kind = response.headers.get("content-type", "")
        if call.streamed and kind.startswith(EVENTS):
            parts = response.aiter_raw()
            if output_filter:
                parts = EventFilter(output_filter, call.before).filtered(response.aiter_bytes())
            made: Response = StreamingResponse(
                parts, response.status_code, background=BackgroundTask(response.aclose)
            )
        else:
            try:
                body = b"".join([part async for part in response.aiter_raw()])
            except httpx.HTTPError as error:
                raise self._failed(error) from error
            finally:
                await response.aclose()
            if output_filter:
                body = filter_body(body, output_filter, call.before)
            made = Response(body)
            made.status_code = response.status_code
            if filtering:
                returned.append(("content-length", str(len(made.body))))
            elif "content-length" not in response.headers:
                returned.append(("content-length", str(len(body))))
        made.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in (*returned, *((n.lower(), v) for n, v in headers.items()))
        ]
        return made

    async def send(self, call: Call, raw: bytes, *, plain: bool = False) -> httpx.Response:
        """Send a body upstream; return the response, unread.

        :param plain: ask for a body that is not compressed.
        :raises ApiError: the upstream is not to be reached.
        """
        request = httpx.Request(
            "POST", f"{self.url}/{call.endpoint}", content=raw,
            headers=self.headers(call.headers, call.keyed, plain=plain),
            extensions={"timeout": self._client.timeout.as_dict()},
        )  # fmt: skip
        try:
            return await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise self._failed(error) from error

    def headers(
        self, caller: Mapping[str, str], keyed: bool = False, *, plain: bool = False
    ) -> list[tuple[str, str]]:
        """Return the caller's headers for the upstream, with the upstream's key."""
        kept = [
            (name, value) for name, value in caller.items()
            if name not in _NOT_FORWARDED and not (plain and name == "accept-encoding")
        ]  # fmt: skip
        if plain:
            kept.append(("accept-encoding", "identity"))
        if self._key or keyed:
            kept = [(name, value) for name, value in kept if name != "authorization"]
        if self._key:
            kept.append(("authorization", f"Bearer {self._key}"))
        return kept

    def _failed(self, error: httpx.HTTPError) -> ApiError:
        self._metrics.upstream_errors.inc()
        if isinstance(error, httpx.TimeoutException):
            return ApiError(504, "the upstream did not answer in time", "upstream_timeout")
        return ApiError(502, "the upstream cannot be reached", "upstream_unreachable")

    def ask(self, headers: Sequence[tuple[str, str]], body: Mapping[str, Any]) -> httpx.Response:
        """Send a chat upstream and return the response; blocks.

        :raises ApiError: the upstream is not to be reached.
        """
        try:
            return self._blocking.post(
                f"{self.url}/chat/completions", json=dict(body), headers=list(headers)
            )
        except httpx.HTTPError as error:
            raise self._failed(error) from error

    async def models(self, headers: Mapping[str, str], keyed: bool) -> httpx.Response:
        """Return the list of models.

        :raises ApiError: the upstream is not to be reached.
        """
        try:
            return await self._client.get(
                f"{self.url}/models", headers=self.headers(headers, keyed, plain=True)
            )
        except httpx.HTTPError as error:
            raise self._failed(error) from error

    async def ready(self) -> str:
        """Return why it cannot answer now; empty where it can."""
        try:
            response = await self._client.get(
                f"{self.url}/models", headers=self.headers({}), timeout=5.0
            )
        except httpx.HTTPError:
            return "the upstream cannot be reached"
        return "the upstream is failing" if response.status_code >= 500 else ""

    def first_model(self) -> str:
        """Return the name of its first model, ``default`` where it lists none; blocks."""
        try:
            listed = self._blocking.get(f"{self.url}/models", headers=self.headers({})).json()
            return str(listed["data"][0]["id"])
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return "default"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        self._blocking.close()


class Asked:
    """Asks the upstream on a caller's behalf, and counts tokens.

    :param upstream: the server.
    :param call: whose model, settings and key are used.
    """

    def __init__(self, upstream: Upstream, call: Call) -> None:
        self._upstream, self._call, self.usage = upstream, call, Usage()

    def __call__(self, messages: Messages) -> str:
        """Return the upstream's answer to messages."""
        body = {k: v for k, v in self._call.body.items() if k not in ASKER_FIELDS}
        own = self._upstream.headers(self._call.headers, self._call.keyed)
        headers = [
            (name, value) for name, value in own
            if name in ("authorization", "user-agent") or name.startswith("openai-")
        ]  # fmt: skip
        response = self._upstream.ask(headers, {**body, "messages": list(messages)})
        return text_of(self.checked(response.status_code, response.content))

    def checked(self, status: int, raw: bytes) -> dict[str, Any]:
        """Return an answer of the upstream; its tokens are counted.

        :raises ApiError: it is an error.
        """
        made = checked_answer(status, raw)
        usage = made.get("usage") or {}
        prompt, completion = (usage.get(f"{name}_tokens") for name in ("prompt", "completion"))
        self.usage = Usage(
            self.usage.prompt + (prompt or 0), self.usage.completion + (completion or 0)
        )
        return made


def checked_answer(status: int, raw: bytes) -> dict[str, Any]:
    """Return an answer of the upstream.

    :raises ApiError: it is an error.
    """
    try:
        made = json.loads(raw)
    except ValueError:
        made = None
    if status >= 400 or not isinstance(made, dict):
        raise ApiError(
            status if 400 <= status < 500 else 502,
            f"the upstream answered {status} to a question about an edit", "upstream_failed",
        )  # fmt: skip
    return made
