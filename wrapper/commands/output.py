"""Print the results of commands: text for people, JSON for programs, errors without tracebacks."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import typer

from errata.cache.errors import ErrataError, PatchFolderError
from errata.json_forms import candidate_json as candidate_json
from errata.json_forms import decision_json as decision_json
from errata.json_forms import edit_json as edit_json
from errata.json_forms import location_of as location_of

if TYPE_CHECKING:
    from rich.console import Console

    from errata.cache.filters.text_filter import Replacement
    from errata.output import Answer

P = ParamSpec("P")
R = TypeVar("R")


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints texts literally: no markup, no highlighting."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def print_line(text: str, *, style: str | None = None, stderr: bool = False) -> None:
    """Print a line without wrapping it, so that ``file:line`` can be clicked and copied."""
    console(stderr=stderr).print(printable(text), style=style, soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(printable(json.dumps(value, ensure_ascii=False, indent=2)))


_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text with what no terminal should get as ``\u001b``: controls, half characters."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return " ".join(text.split())


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 patch", "2 patches"."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn every :class:`ErrataError` of a command into a message and exit code 1.

    :param command: a command; with ``as_json`` it prints ``{"error": ...}`` on stdout.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from errata.commands.progress import quiet

        try:
            with quiet(bool(kwargs.get("as_json"))):
                return command(*args, **kwargs)
        except ErrataError as error:
            if kwargs.get("as_json"):
                print_json({"error": error_json(error)})
            else:
                print_line(f"error: {error}", style="red", stderr=True)
            raise typer.Exit(1) from None

    return run


def error_json(error: ErrataError) -> dict[str, Any]:
    """Return an error's type and message, and for a folder of patches every problem in it."""
    fields: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, PatchFolderError):
        fields["problems"] = [
            {"location": str(p.where) if p.where else None, "message": p.message}
            for p in error.problems
        ]
    return fields


def replacements(answer: Answer) -> tuple[Replacement, ...]:
    """Return the replacements that regex patches and secrets made in an answer."""
    return tuple(r for row in answer.trace.replacements for r in row)


def answer_json(question: str, answer: Answer) -> dict[str, Any]:
    """Return an answer's fields."""
    return {
        "question": question,
        "answer": answer.text,
        **decision_json(answer.decision),
        "replacements": [
            {"id": r.edit_id, "target": r.target, "count": r.count, "location": location_of(r)}
            for r in replacements(answer)
        ],
        "verification": next(iter(answer.trace.outcomes), "") or None,
        "seconds": {step.stage: round(step.seconds, 6) for step in answer.trace.steps},
    }


def fired_locations(answer: Answer) -> list[str]:
    """Return ``file:line`` (or the id) of every patch that fired or replaced text, each once."""
    locations = [location_of(edit) or edit.id for edit in answer.decision.fired]
    locations += [location_of(r) or r.edit_id for r in replacements(answer)]
    return list(dict.fromkeys(locations))
