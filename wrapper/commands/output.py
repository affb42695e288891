"""How the commands print: rich text for people, JSON for programs, errors without tracebacks."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer

from errata.cache.errors import ErrataError, PatchFolderError

if TYPE_CHECKING:
    from rich.console import Console

    from errata.cache.filters.text_filter import Replacement
    from errata.cache.records import Edit
    from errata.gates.base import Candidate, Decision
    from errata.trace import Answer

P = ParamSpec("P")
R = TypeVar("R")


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints texts as they are: no markup, no colouring of numbers."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def say(text: str, *, style: str | None = None, stderr: bool = False) -> None:
    """Print a line, never broken, so that ``file:line`` can be clicked and copied."""
    console(stderr=stderr).print(text, style=style, soft_wrap=True)


def say_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn every error of errata into a message and exit code 1.

    :param command: a command; one with ``as_json`` set reports ``{"error": ...}`` on stdout.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ErrataError as error:
            if kwargs.get("as_json"):
                say_json({"error": error_json(error)})
            else:
                say(f"error: {error}", style="red", stderr=True)
            raise typer.Exit(1) from None

    return run


def error_json(error: ErrataError) -> dict[str, Any]:
    """Return what is known of an error; of a refused folder, every problem."""
    known: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, PatchFolderError):
        known["problems"] = [
            {"location": str(p.where) if p.where else None, "message": p.message}
            for p in error.problems
        ]
    return known


def edit_json(edit: Edit) -> dict[str, Any]:
    """Return what names an edit."""
    return {"id": edit.id, "kind": edit.kind, "scope": edit.scope, "location": place(edit)}


def candidate_json(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate's fields."""
    return {
        "id": candidate.edit_id,
        "kind": candidate.kind,
        "scope": candidate.scope,
        "probability": round(candidate.probability, 6),
        "threshold": round(candidate.threshold, 6),
        "relation": candidate.relation,
        "agreed": candidate.base_agreed,
        "location": place(candidate),
    }


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return a decision's fields."""
    return {
        "query": decision.query,
        "route": decision.route,
        "fired": [edit_json(edit) for edit in decision.fired],
        "canonical_query": decision.canonical_query or None,
        "sub_question": decision.sub_question or None,
        "hops": decision.hops,
        "candidates": [candidate_json(c) for c in decision.candidates],
        "near_misses": [candidate_json(c) for c in decision.near_misses],
    }


def replacements(answer: Answer) -> tuple[Replacement, ...]:
    """Return what the regex patches and the guard of secrets changed in an answer."""
    return tuple(r for row in answer.trace.replacements for r in row)


def place(found: Edit | Candidate | Replacement) -> str | None:
    """Return ``file:line``, or None for what came from no file."""
    return str(found.location) if found.location is not None else None


def answer_json(question: str, answer: Answer) -> dict[str, Any]:
    """Return an answer's fields."""
    return {
        "question": question,
        "answer": answer.text,
        **decision_json(answer.decision),
        "replacements": [
            {"id": r.edit_id, "target": r.target, "count": r.count, "location": place(r)}
            for r in replacements(answer)
        ],
        "seconds": {step.stage: round(step.seconds, 6) for step in answer.trace.steps},
    }


def fired_where(answer: Answer) -> list[str]:
    """Return ``file:line`` (or the id) of all that had a part in an answer, each once."""
    places = [str(edit.location or edit.id) for edit in answer.decision.fired]
    places += [place(r) or r.edit_id for r in replacements(answer)]
    return list(dict.fromkeys(places))
