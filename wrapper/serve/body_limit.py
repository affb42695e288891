"""Requests whose body is too large or too slow are refused before the application sees them."""

from __future__ import annotations

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errata.serve.config import ServeConfig
from errata.serve.errors import ApiError


class BodyLimit:
    """ASGI middleware that reads the whole body within limits of size and time.

    :param app: gets the request with its body in one piece.
    :param config: the limits.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self.app, self.config = app, config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except ApiError as error:
            error.headers["Connection"] = "close"  # the rest of the body stays unread
            await error.response()(scope, receive, send)
            return
        if body is None:
            return
        given = False

        async def replayed() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replayed, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body; None where the client has gone.

        :raises ApiError: it is too large or too slow.
        """
        limit = self.config.max_body_bytes
        too_large = ApiError(
            413, f"expected a request of at most {limit:,} bytes, found a larger one",
            "request_too_large",
        )  # fmt: skip
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > limit:
                raise too_large
        parts, size = [], 0
        try:
            with anyio.fail_after(self.config.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    part = message.get("body", b"")
                    size += len(part)
                    if size > limit:
                        raise too_large
                    parts.append(part)
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            raise ApiError(
                408, f"expected the whole request within {self.config.body_seconds:g} seconds",
                "request_too_slow",
            ) from None  # fmt: skip
