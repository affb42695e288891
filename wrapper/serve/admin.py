"""The admin API and its page: see what is decided, and correct it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from errata.cache.errors import (
    EditError,
    ErrataError,
    PatchError,
    PatchFolderError,
    UnknownEdit,
)
from errata.cache.patches.kinds import dump_edit
from errata.cache.records import Edit
from errata.json_forms import decision_json, edit_json, replayed_json
from errata.patch_tests.records import Problem, TestResult
from errata.serve.access import Access
from errata.serve.corrections import Correction, Corrections, ReadOnly
from errata.serve.engine import Engine
from errata.serve.errors import ApiError, errors

T = TypeVar("T")
PAGE = Path(__file__).with_name("page.html")
MOST_EDITS = 1000
"""Edits of one answer."""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Draft(_Shape):
    """A patch, as an entry of a patch file, and where it goes."""

    entry: dict[str, Any] = Field(description="question and answer, if and then, or regex, …")
    file: str | None = Field(None, description="A patch file; without, the server's own cache.")
    id: str = Field("", description="The edit that it replaces, in a trial.")
    days: float = Field(7, gt=0, le=3650, description="How far a preview looks back.")


class Entry(_Shape):
    """A patch, as an entry of a patch file."""

    entry: dict[str, Any]


class Example(_Shape):
    """A query that a patch should have answered, or should not have."""

    id: str
    list: Literal["fires", "silent"]
    query: str = Field(min_length=1)


class Proposal(_Shape):
    """A correction to be shown as a diff."""

    action: Literal["add", "change", "retract", "example"]
    entry: dict[str, Any] | None = None
    id: str = ""
    file: str | None = None
    list: Literal["fires", "silent"] = "fires"
    query: str = ""


class Question(_Shape):
    """A question to be asked with and without edits."""

    question: str = Field(min_length=1)


def add_admin(app: FastAPI, engine: Engine, access: Access, *, writable: bool) -> None:
    """Add the admin API, and the page that uses it.

    :param app: the application.
    :param engine: has the edits.
    :param access: the administrators' keys.
    :param writable: whether patch files may be written.
    """
    corrections = Corrections(engine, writable=writable)
    api = APIRouter(
        prefix="/admin/api", dependencies=[Depends(access.admin)], tags=["admin"],
        responses=errors(400, 401, 403, 404, 408, 409, 413, 422, 500, 502, 504),
    )  # fmt: skip
    _add_looking(api, engine, corrections)
    _add_changing(api, corrections)
    _add_trying(api, corrections)
    app.include_router(api)
    page = PAGE.read_text(encoding="utf-8")
    headers = {"Content-Security-Policy": content_policy(page), "Cache-Control": "no-store",
               "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}  # fmt: skip

    @app.get("/admin", tags=["admin"], response_class=HTMLResponse)
    async def admin_page() -> HTMLResponse:
        """Return the page; it asks for an admin key."""
        return HTMLResponse(page, headers=headers)


def _add_looking(api: APIRouter, engine: Engine, corrections: Corrections) -> None:
    @api.get("/status")
    async def status() -> dict[str, Any]:
        """Return what the server serves, and what keeps newer patch files out of force."""
        router = engine.router
        return {
            "model": engine.name, "patches": str(router.patches or ""), "edits": len(router.edits),
            "writable": corrections.writable, "audit": router.audit is not None,
            "patch_errors": [str(error) for error in router.patch_errors],
        }  # fmt: skip

    @api.get("/edits")
    async def edits(query: str = "") -> dict[str, Any]:
        """List the edits, those that contain a text."""
        wanted = query.casefold()
        live = {edit.id for edit in engine.router.edits}
        found = [
            _edit(edit, live) for edit in engine.router.cache.all_edits
            if wanted in f"{edit.id} {edit.scope} {dump_edit(edit)} {edit.location}".casefold()
        ]  # fmt: skip
        return {"total": len(found), "edits": found[:MOST_EDITS]}

    @api.get("/conflicts")
    async def conflicts() -> dict[str, Any]:
        """List the conflicts among the edits."""
        found = await _run(corrections.conflicts)
        return {"conflicts": [_problem(one) for one in found]}

    @api.get("/triage")
    async def triage(days: float = 7) -> dict[str, Any]:
        """List near misses and narrow hits of the audit log, the most doubtful first."""
        found = await _run(lambda: corrections.triage(max(0.0, days)))
        return {
            "cases": [
                {
                    "query": one.query, "count": one.count, "outcome": one.outcome,
                    "probability": one.probability, "threshold": one.threshold,
                    "edit": edit_json(one.edit),
                }
                for one in found
            ]
        }  # fmt: skip

    @api.post("/ask")
    async def ask(body: Question) -> dict[str, Any]:
        """Ask with and without edits; say what was decided, and why."""
        both = await engine.both(body.question)
        return {
            "corrected": both.corrected, "base": both.base,
            "milliseconds": round(both.seconds * 1000, 1),
            "decision": decision_json(both.decision),
        }  # fmt: skip


def _add_changing(api: APIRouter, corrections: Corrections) -> None:
    async def apply(correction: Correction) -> dict[str, Any]:
        edit = await _run(lambda: corrections.apply(correction))
        live = {one.id for one in corrections.router.edits}
        return {"edit": _edit(edit, live)}

    @api.post("/edits", status_code=201)
    async def add(body: Draft) -> dict[str, Any]:
        """Put a patch in force: in a file, or in the server's own cache."""
        return await apply(Correction("add", body.entry, file=body.file))

    @api.put("/edits/{edit_id}")
    async def change(edit_id: str, body: Entry) -> dict[str, Any]:
        """Put another patch in an edit's place."""
        return await apply(Correction("change", body.entry, edit_id))

    @api.delete("/edits/{edit_id}")
    async def retract(edit_id: str) -> dict[str, Any]:
        """Take an edit out of force, and out of its file."""
        return await apply(Correction("retract", id=edit_id))

    @api.post("/examples", status_code=201)
    async def example(body: Example) -> dict[str, Any]:
        """Write a query into a patch's list of those that fire it, or that do not."""
        return await apply(Correction("example", id=body.id, listed=body.list, query=body.query))

    @api.post("/propose")
    async def propose(body: Proposal) -> dict[str, Any]:
        """Return a correction of a patch file as a diff; nothing is written."""
        correction = Correction(body.action, body.entry, body.id, body.file, body.list, body.query)
        made = await _run(lambda: corrections.plan(correction))
        return {"file": str(made.path), "diff": made.diff()}


def _add_trying(api: APIRouter, corrections: Corrections) -> None:
    @api.post("/test")
    async def test(body: Draft) -> dict[str, Any]:
        """Run the tests of a draft, and find its conflicts; it is in force nowhere."""
        draft = Correction("add", body.entry, body.id)
        results, problems = await _run(lambda: corrections.test(draft))
        return {
            "results": [_result(one) for one in results],
            "problems": [_problem(one) for one in problems],
        }

    @api.post("/edits/{edit_id}/test")
    async def run(edit_id: str) -> dict[str, Any]:
        """Run the tests of an edit in force."""
        results = await _run(lambda: corrections.run(edit_id))
        return {"results": [_result(one) for one in results]}

    @api.post("/preview")
    async def preview(body: Draft) -> dict[str, Any]:
        """Return the logged queries that a draft would answer otherwise."""
        draft = Correction("add", body.entry, body.id)
        found = await _run(lambda: corrections.preview(draft, body.days))
        return {
            "decisions": found.decisions,
            "different": sum(one.count for one in found.changed),
            "queries": [replayed_json(one) for one in found.changed],
        }


async def _run(function: Callable[[], T]) -> T:
    """Return what a function returns that blocks; its errors are told to the administrator."""
    try:
        return await run_in_threadpool(function)
    except UnknownEdit as error:
        raise ApiError(404, str(error), "unknown_edit") from error
    except ReadOnly as error:
        raise ApiError(403, str(error), "read_only") from error
    except PatchFolderError as error:
        raise ApiError(400, str(error), "wrong_patch") from error
    except (PatchError, EditError) as error:
        raise ApiError(409 if isinstance(error, EditError) else 400, str(error)) from error
    except ErrataError as error:
        raise ApiError(409, str(error), "not_possible") from error
    except OSError as error:
        raise ApiError(409, f"the file cannot be written: {error.strerror}") from error


def _edit(edit: Edit, live: set[str]) -> dict[str, Any]:
    return {**edit_json(edit), "entry": dump_edit(edit), "in_force": edit.id in live}


def _problem(one: Problem) -> dict[str, Any]:
    return {
        "severity": one.severity,
        "where": one.where,
        "message": one.message,
        "advice": one.advice,
    }


def _result(one: TestResult) -> dict[str, Any]:
    return {
        "query": one.case.query, "expected": one.case.expectation, "failure": one.failure,
        "advice": one.advice, "probability": one.probability, "threshold": one.threshold,
        "fired": list(one.fired),
    }  # fmt: skip


def content_policy(page: str) -> str:
    """Return the Content-Security-Policy of a page: its own script and style, nothing else."""

    def digests(tag: str) -> str:
        texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        found = (
            base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts
        )
        return " ".join(f"'sha256-{digest}'" for digest in found)

    return (
        f"default-src 'none'; script-src {digests('script')}; style-src {digests('style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
