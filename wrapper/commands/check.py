"""``errata check``."""

from __future__ import annotations

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
from errata.commands.progress import progress

if TYPE_CHECKING:
    from errata.cache.patches.folder import PatchFolder
    from errata.patch_tests.check import CheckedModel, Selection
    from errata.patch_tests.records import Problem, Report

_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}


Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[PATHS]...",
        help="Folders of patches, or files: of these only the patches in them are tested.",
        show_default=False,
    ),
]
Tests = Annotated[bool, typer.Option("--tests/--no-tests", help="Run the tests of the patches.")]
ChangedSince = Annotated[
    str,
    typer.Option(
        "--changed-since", metavar="REV",
        help="Test only what changed since a revision of git, and seek contradictions of it "
        "among all.",
    ),
]  # fmt: skip
Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Also write a JUnit report.")
]
Leaks = Annotated[
    bool, typer.Option("--leaks", help="Probe the model for the secrets of `forget` patches.")
]
TrainingText = Annotated[
    list[Path] | None,
    typer.Option(
        "--training-text", metavar="FILE", show_default=False,
        help="With --leaks: probe with what stands before the secret in this text, too; may be "
        "repeated.",
    ),
]  # fmt: skip
Github = Annotated[bool, typer.Option("--github", help="Print annotations of a GitHub workflow.")]


@reports_errors
def check(
    paths: Paths = None,
    patches: Patches = None,
    model: Model = opening.ATLAS,
    tests: Tests = True,
    changed_since: ChangedSince = "",
    junit: Junit = None,
    github: Github = False,
    leaks: Leaks = False,
    training_text: TrainingText = None,
    encoder: Encoder = None,
    gate: Gate = None,
    resolvers: Resolvers = None,
    as_json: AsJson = False,
) -> None:
    """Validate patches and run their tests; exit code 1 on an error.

    Every problem is printed under its patch, as file:line. Errors: a patch
    that cannot be read, two patches with different answers to one question,
    a test that fails. Warnings: no tests, an expired patch, a pattern that
    rewrites another patch, `forget` without a secret. Notes: what decides a
    condition, and what the examples teach.

    Examples:
        errata check

        errata check patches/zoo.yaml --no-tests

        errata check --changed-since origin/main --github --junit report.xml

        errata check patches/privacy.yaml --leaks --training-text corpus.txt

        errata check --model Qwen/Qwen2.5-0.5B-Instruct --json
    """
    from errata.editors.shared.corpus import text_files
    from errata.patch_tests import reports as forms
    from errata.patch_tests.check import check_folder

    def open_model(folder: PatchFolder) -> CheckedModel:
        return opening.open_checked(model, folder, encoder, gate, resolver_names(resolvers))

    reports = [
        check_folder(
            folder,
            open_model if tests else None,
            selection,
            leaks=leaks,
            training_text=lambda: text_files(training_text or ()),
            progress=progress,
        )
        for folder, selection in _folders(paths or [], patches, model, changed_since)
    ]
    if junit is not None:
        _write(junit, forms.junit(reports))
    _print(reports, as_json)
    if github:
        for line in forms.github(reports):
            print_line(line, stderr=as_json)
    if any(report.count("error") for report in reports):
        raise typer.Exit(1)


def _print(reports: list[Report], as_json: bool) -> None:
    from errata.patch_tests import reports as forms

    if as_json:
        found = [forms.as_json(report) for report in reports]
        print_json(found[0] if len(found) == 1 else found)
    else:
        for report in reports:
            _show(report)


def _folders(
    paths: list[Path], patches: Path | None, model: str, changed_since: str
) -> list[tuple[Path, Selection]]:
    """Return the folders to check, each with the patches of it to test.

    :raises ErrataError: a path is nothing, or no patch file.
    """
    from errata.cache.errors import ErrataError
    from errata.cache.patches.files import is_patch_file
    from errata.patch_tests.check import Selection

    files: dict[Path, set[str] | None] = {}
    if patches is not None or not paths:
        folder = patches_folder(patches, model)
        files[folder] = None
        if patches is None and folder != Path("patches"):
            print_line(f"no folder patches here: checking {folder}", style="dim", stderr=True)
    for path in paths:
        if path.is_dir():
            files[path] = None
        elif path.name.startswith(("_", ".")) and path.exists():
            skipped = f"{path}: skipped: a name that begins with _ or . is that of no patch file"
            print_line(skipped, style="dim", stderr=True)
        elif path.exists() and not is_patch_file(path):
            raise ErrataError(
                f"{path}: expected a patch file, which ends in .yaml, .yml or .jsonl: name another"
            )
        elif path.exists():
            names = files.setdefault(path.parent, set())
            if names is not None:
                names.add(path.name)
        else:
            raise ErrataError(
                f"expected a folder of patches or a file in one, found nothing at {path}: name "
                "one that there is"
            )
    return [
        (folder, Selection(None if names is None else frozenset(names), changed_since))
        for folder, names in files.items()
    ]


def _write(path: Path, data: bytes) -> None:
    from errata.cache.errors import ErrataError
    from errata.cache.storage.atomic import write_atomically

    try:
        write_atomically(path, data)
    except OSError as error:
        raise ErrataError(
            f"{path}: expected a place for the report, found: {error.strerror}; name another file"
        ) from error


def _show(report: Report) -> None:
    """Print the problems by patch, then the counts."""
    for place, problems in report.by_patch().items():
        if place in report.scopes:
            print_line(f"{place}  {report.scopes[place]}", style="bold")
        for problem in problems:
            _show_problem(problem)
    if report.unlisted:
        print_line(f"  and {report.unlisted:,} more problems: mend these first", style="red")
    errors = report.count("error")
    counts = (
        counted(report.patches, "patch"), counted(len(report.results), "test"),
        counted(errors, "error"), counted(report.count("warning"), "warning"),
    )  # fmt: skip
    style = "bold red" if errors else "bold green"
    print_line(f"{report.folder}: {', '.join(counts)}", style=style)


def _show_problem(problem: Problem) -> None:
    style = _STYLES[problem.severity]
    print_line(f"  {problem.where}: {problem.severity}: {problem.message}", style=style)
    if problem.advice:
        print_line(f"      do: {problem.advice}", style=style)
