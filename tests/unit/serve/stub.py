"""A small OpenAI-compatible server that keeps what it got, and servers in threads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time

import uvicorn

STUB_MODEL = "stub-1"


class StubUpstream:
    """Answers "stub: " and the last message, in bytes that no JSON library would write.

    :param delay: seconds until it answers.
    :param keep: keep what was asked and answered.
    """

    def __init__(self, delay: float = 0.0, keep: bool = True) -> None:
        self.delay, self.keep = delay, keep
        self.got: list[bytes] = []
        self.sent: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answer = "stub: {}"

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        if scope["path"].endswith("/models"):
            data = {"object": "list", "data": [{"id": STUB_MODEL, "object": "model"}]}
            await self._respond(send, json.dumps(data).encode())
            return
        if self.keep:
            self.got.append(body)
            self.headers.append(headers)
        await asyncio.sleep(self.delay)
        asked = json.loads(body)
        text = self.answer.format(_last_text(asked))
        if asked.get("stream"):
            await self._stream(send, asked, text)
            return
        number = len(self.got)
        message = (
            f'"text": {json.dumps(text)}'
            if "prompt" in asked
            else f'"message":  {{"role":"assistant", "content" : {json.dumps(text)}}}'
        )
        made = (
            f'{{"id":"stub-{number}" ,  "object":"chat.completion","created":1,\t"model":"stub-1",'
            f'"choices":[{{"index":0, {message},"finish_reason":"stop"}}],'
            f'"usage":{{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}},"é":1.50}}'
        ).encode()
        if self.keep:
            self.sent.append(made)
        await self._respond(send, made)

    async def _respond(self, send, body: bytes) -> None:
        headers = [(b"content-type", b"application/json"), (b"x-stub", b"yes"),
                   (b"content-length", str(len(body)).encode())]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send, asked, text: str) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        whole = b""
        words = [f"{word} " for word in text.split(" ")]
        for at, word in enumerate([*words, None]):
            delta = {"content": word} if word is not None else {}
            piece = {"text": word or ""} if "prompt" in asked else {"delta": delta}
            chunk = {"id": "stub", "object": "chat.completion.chunk", "created": 1,
                     "model": STUB_MODEL, "choices": [{"index": 0, **piece,
                     "finish_reason": None if at < len(words) else "stop"}]}  # fmt: skip
            part = f"data:  {json.dumps(chunk)}\n\n".encode()
            whole += part
            await send({"type": "http.response.body", "body": part, "more_body": True})
        whole += b"data: [DONE]\n\n"
        if self.keep:
            self.sent.append(whole)
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


def _last_text(asked) -> str:
    if "prompt" in asked:
        return str(asked["prompt"])
    content = asked["messages"][-1].get("content")
    if isinstance(content, list):
        return " ".join(part.get("text", "") for part in content)
    return str(content)


@contextlib.contextmanager
def served(app, **options):
    """Run an application on a free port of the loopback address; give its URL."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", access_log=False,
        timeout_graceful_shutdown=2, **options,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive() and time.monotonic() < end, "the server did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
