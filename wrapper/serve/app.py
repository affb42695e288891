"""The application: endpoints of the OpenAI API, health, metrics, and the admin API and page."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from errata import __version__
from errata.serve.access import Access
from errata.serve.admin import add_admin
from errata.serve.body_limit import BodyLimit
from errata.serve.config import ServeConfig
from errata.serve.engine import Engine
from errata.serve.errors import ApiError, ErrorBody, error_body, errors
from errata.serve.metrics import MetricsMiddleware
from errata.serve.requests import ChatBody, CompletionBody, Endpoint, read_call

log = logging.getLogger("errata")


def create_app(
    engine: Engine,
    access: Access | None = None,
    config: ServeConfig | None = None,
    *,
    writable: bool = False,
) -> FastAPI:
    """Return the application.

    :param engine: answers; closed when the application ends.
    :param access: keys and rates; by default the OpenAI endpoints are open, and no admin is.
    :param config: limits.
    :param writable: whether administrators may write patch files.
    """
    access, config = access or Access(), config or ServeConfig()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await engine.close()

    app = FastAPI(
        title="errata", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Corrections in text files decide what a model says; all else is its own.",
    )  # fmt: skip
    app.add_middleware(BodyLimit, config=config)
    app.add_middleware(MetricsMiddleware, metrics=engine.metrics)
    _add_error_handlers(app)
    _add_openai(app, engine, access, config)
    _add_health(app, engine, access)
    add_admin(app, engine, access, writable=writable)
    return app


def _add_openai(app: FastAPI, engine: Engine, access: Access, config: ServeConfig) -> None:
    """Add the endpoints of the OpenAI API."""
    keyed = access.callers is not None
    shared: dict[str, Any] = {
        "dependencies": [Depends(access.caller)],
        "responses": errors(400, 401, 404, 408, 413, 422, 429, 500, 502, 503, 504),
        "tags": ["OpenAI"],
    }
    answers: dict[int | str, dict[str, Any]] = {
        200: {"content": {"application/json": {}, "text/event-stream": {}}}
    }
    answering = shared | {"responses": shared["responses"] | answers}

    async def answer(request: Request, endpoint: Endpoint) -> Response:
        call = await read_call(request, endpoint, keyed=keyed, max_choices=config.max_choices)
        return await engine.answer(call)

    @app.post("/v1/chat/completions", openapi_extra=_body_of(ChatBody, config), **answering)
    async def chat_completions(request: Request) -> Response:
        """Answer the last user turn of a conversation."""
        return await answer(request, "chat/completions")

    @app.post("/v1/completions", openapi_extra=_body_of(CompletionBody, config), **answering)
    async def completions(request: Request) -> Response:
        """Continue a prompt, or several."""
        return await answer(request, "completions")

    @app.get("/v1/models", **shared)
    async def models(request: Request) -> Response:
        """List the models."""
        return await engine.models(request.headers, keyed=keyed)


def _body_of(shape: type[BaseModel], config: ServeConfig) -> dict[str, Any]:
    """Return the documentation of a body, which is read by hand: its bytes are passed on."""
    schema = shape.model_json_schema()
    definitions = schema.pop("$defs", {})
    schema["properties"]["n"]["anyOf"][0]["maximum"] = config.max_choices
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _inlined(schema, definitions)}},
        },
        "parameters": [
            {
                "name": "X-Errata-Edits",
                "in": "header",
                "required": False,
                "description": "off, shadow, tag=NAME or id=NAME, joined by ';'.",
                "schema": {"type": "string", "pattern": r"^(off|shadow|(tag|id)=[\w,-]+)$"},
            }
        ],
    }


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return a schema with its definitions in their places."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}


def _add_health(app: FastAPI, engine: Engine, access: Access) -> None:
    """Add what says whether the server runs."""

    @app.get("/healthz", tags=["health"], response_class=PlainTextResponse)
    async def healthz() -> str:
        """Return ok as long as the process answers."""
        return "ok"

    @app.get("/readyz", tags=["health"], responses={503: {"model": ErrorBody}})
    async def readyz() -> JSONResponse:
        """Return whether calls can be answered now."""
        reason = await engine.ready()
        problems = len(engine.router.patch_errors)
        state = {"ready": not reason, "reason": reason, "patch_errors": problems}
        if reason:
            return JSONResponse({**error_body(503, reason, "not_ready"), **state}, 503)
        return JSONResponse(state)

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}

    @app.get(
        "/metrics", tags=["health"], dependencies=[Depends(access.any)],
        responses=text | errors(401),
    )  # fmt: skip
    async def metrics() -> Response:
        """Return figures for Prometheus."""
        text = generate_latest(engine.metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _add_error_handlers(app: FastAPI) -> None:
    """Let every error have the form of the OpenAI API."""

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        body = error_body(error.status_code, str(error.detail))
        return JSONResponse(body, error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        param = ".".join(map(str, first["loc"]))
        body = error_body(422, f"{param}: {first['msg']}", "invalid_value", param)
        return JSONResponse(body, 422)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        # no message of ours: it may hold the text of a patch
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse(error_body(500, "the server failed; its log says why"), 500)
