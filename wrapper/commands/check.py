"""``errata check``."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from errata.commands import opening
from errata.commands.options import (
    AsJson,
    Encoder,
    Gate,
    Model,
    Patches,
    Resolvers,
    patches_folder,
    resolver_names,
)
from errata.commands.output import counted, print_json, print_line, reports_errors
from errata.commands.progress import progress, working

if TYPE_CHECKING:
    from errata.cache.records import Edit
    from errata.model import EditableModel
    from errata.patch_tests import Problem


@reports_errors
def check(
    patches: Patches = None,
    model: Model = opening.ATLAS,
    tests: Annotated[
        bool, typer.Option("--tests/--no-tests", help="Run the tests of the patches.")
    ] = True,
    encoder: Encoder = None,
    gate: Gate = None,
    resolvers: Resolvers = None,
    as_json: AsJson = False,
) -> None:
    """Validate a folder of patches and run the patches' tests; exit code 1 on failure.

    Every problem is printed as file:line. Errors: a patch that cannot be
    read, two patches with different answers to one question, a test that
    fails. Warnings: an expired patch, a pattern that matches ASCII letters
    only, `forget` without a secret, a consequence that needs a reasoner.

    Examples:
        errata check

        errata check --patches patches/ --no-tests

        errata check --model Qwen/Qwen2.5-0.5B-Instruct --json
    """
    from errata.cache.errors import PatchFolderError
    from errata.cache.patches.files import load_folder
    from errata.patch_tests import Problem, count, review

    folder = patches_folder(patches, model)
    edits: tuple[Edit, ...] = ()
    problems: tuple[Problem, ...] = ()
    tests_run = 0
    try:
        edits = load_folder(folder)
    except PatchFolderError as error:
        problems = tuple(
            Problem("error", str(p.where or folder), p.message.removeprefix(f"{folder}: "))
            for p in error.problems
        )
    else:
        problems = review(edits, datetime.date.today())
        if tests:
            tests_run, failures = _run_tests(
                edits,
                lambda: opening.open_model(
                    model, folder, None, encoder, gate, resolvers=resolver_names(resolvers)
                ),
            )
            problems += failures
    _show(folder, len(edits), tests_run, problems, as_json)
    if count(problems, "error"):
        raise typer.Exit(1)


def _run_tests(
    edits: tuple[Edit, ...], open_model: Callable[[], EditableModel]
) -> tuple[int, tuple[Problem, ...]]:
    from errata.cache.view import in_force
    from errata.patch_tests import review_examples, run_tests, test_cases

    cases = test_cases(edits, datetime.date.today())
    if not cases:
        return 0, ()
    editable = open_model()
    editable.rollouts = False  # a patch is tested where it is in force
    live = in_force(edits, datetime.date.today())
    with working("reviewing the examples"):
        notes = review_examples(editable.gate, editable.encoder, live)
    with progress("testing", len(cases)) as advance:
        failures = run_tests(editable, cases, advance)
    return len(cases), (*notes, *failures)


def _show(
    folder: Path, patches: int, tests: int, problems: tuple[Problem, ...], as_json: bool
) -> None:
    from errata.patch_tests import count

    errors, warnings = count(problems, "error"), count(problems, "warning")
    if as_json:
        listed = [
            {"severity": p.severity, "location": p.where, "message": p.message} for p in problems
        ]
        print_json(
            {
                "folder": str(folder),
                "patches": patches,
                "tests": tests,
                "errors": errors,
                "warnings": warnings,
                "problems": listed,
            }
        )
        return
    for problem in problems:
        print_line(
            f"{problem.where}: {problem.severity}: {problem.message}",
            style={"error": "red", "warning": "yellow"}.get(problem.severity, "dim"),
        )
    counts = (
        counted(patches, "patch"), counted(tests, "test"), counted(errors, "error"),
        counted(warnings, "warning"),
    )  # fmt: skip
    print_line(f"{folder}: {', '.join(counts)}", style="bold red" if errors else "bold green")
