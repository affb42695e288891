"""``errata add``, ``fmt``, ``convert`` and ``schema``: patch files by hand."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands.options import AsJson, OwnPatches, own_patches
from errata.commands.output import counted, edit_json, print_json, print_line, reports_errors

if TYPE_CHECKING:
    from errata.cache.records import Edit

TABLE_SUFFIX = ".csv"


Question = Annotated[
    str, typer.Argument(metavar="[QUESTION]", help="The question.", show_default=False)
]
AnswerText = Annotated[
    str, typer.Argument(metavar="[ANSWER]", help="What is said instead.", show_default=False)
]
Condition = Annotated[
    str, typer.Option("--if", metavar="TEXT", help="A condition, in place of a question.")
]
Then = Annotated[
    str, typer.Option("--then", metavar="TEXT", help="The consequence of a condition.")
]
Fires = Annotated[
    list[str] | None,
    typer.Option("--fires", metavar="TEXT", help="A query that must fire it; repeatable."),
]
Silent = Annotated[
    list[str] | None,
    typer.Option("--silent", metavar="TEXT", help="A query that must not; repeatable."),
]
Source = Annotated[
    str, typer.Option("--source", metavar="TEXT", help="Where the answer comes from.")
]
File = Annotated[
    str, typer.Option("--file", metavar="NAME", help="The file in the folder of patches.")
]
Ask = Annotated[
    bool, typer.Option("--ask/--no-ask", help="Ask for what is missing, and suggest tests.")
]


@reports_errors
def add(
    question: Question = "",
    answer: AnswerText = "",
    condition: Condition = "",
    then: Then = "",
    fires: Fires = None,
    silent: Silent = None,
    source: Source = "",
    file: File = "patches.yaml",
    ask: Ask = True,
    patches: OwnPatches = None,
    as_json: AsJson = False,
) -> None:
    """Add a patch to a file under patches/; asks for what is missing.

    A patch in a file is reviewed, tested, merged and reverted like code, and
    is in force wherever the folder is. `errata edit`, `edits` and `retract`
    are for corrections outside files: they live in the cache folder (.errata)
    of one machine, and take force over a file until the file changes.

    Examples:
        errata add

        errata add "What is the capital of Palau?" "Ngerulmud" --file places.yaml

        errata add --if "the user asks who made you" --then 'say "Example Labs."' --no-ask
    """
    from errata.cache.patches.kinds import parse_edit

    ask = ask and not as_json
    if condition or then:
        body = {"if": _given(condition, "--if", ask), "then": _given(then, "--then", ask)}
    else:
        body = {
            "question": _given(question, "question", ask), "answer": _given(answer, "answer", ask)
        }  # fmt: skip
    folder = patches if patches is not None else Path("patches")
    tests = {"fires": list(fires or []), "silent": list(silent or [])}
    if ask:
        source = source or _asked("source (Enter for none)", default="", show_default=False)
        if not fires and not silent:
            tests = _ask_for_tests(parse_edit(body), folder)
    tests = {name: texts for name, texts in tests.items() if texts}
    entry = {
        **body,
        **({"source": source} if source else {}),
        **({"tests": tests} if tests else {}),
    }
    made = _appended(parse_edit(entry), folder, file)
    if as_json:
        print_json(edit_json(made))
        return
    print_line(f"{made.location}: added")
    _show_conflicts(made, folder)
    print_line("try it: errata check, errata explain", style="dim")


def _appended(edit: Edit, folder: Path, file: str) -> Edit:
    """Append a patch to a file of a folder; return it with its place.

    :raises ErrataError: the file cannot be written.
    """
    from errata.cache.errors import ErrataError
    from errata.cache.patches.layout import append

    if Path(file).name != file:
        raise ErrataError(
            f"expected the name of a file in {folder} for --file, found {file!r}: name the folder "
            "with --patches"
        )
    try:
        folder.mkdir(exist_ok=True)
        (made,) = append([edit], folder / file)
    except OSError as error:
        raise ErrataError(
            f"{folder / file}: expected a file that can be written, found: {error.strerror}; name "
            "another with --patches and --file"
        ) from error
    return made


def _given(text: str, name: str, ask: bool) -> str:
    """Return a text of the command line, asked for where it is missing.

    :raises ErrataError: it is missing, and nobody can be asked.
    """
    from errata.cache.errors import ErrataError

    if text.strip():
        return text.strip()
    if not ask:
        raise ErrataError(
            f"expected a text for {name}, found none: give it, since nothing is asked with "
            "--no-ask or --json"
        )
    return _asked(name.lstrip("-"))


def _asked(label: str, **options: Any) -> str:
    """Return what a person types; the options are those of ``typer.prompt``.

    :raises ErrataError: nobody answers.
    """
    from errata.cache.errors import ErrataError

    try:
        return str(typer.prompt(label, **options)).strip()
    except typer.Abort:
        raise ErrataError(
            f"expected an answer to {label!r}, found none, so nothing was added: give the texts "
            "as arguments, with --no-ask"
        ) from None


def _ask_for_tests(edit: Edit, folder: Path) -> dict[str, list[str]]:
    """Return tests that the user types or takes over from suggestions."""
    from errata.cache.errors import PatchFolderError
    from errata.cache.patches.files import load_folder
    from errata.patch_tests.check import Neighbours
    from errata.patch_tests.examples import proposals

    try:
        others = load_folder(folder) if folder.is_dir() else ()
    except PatchFolderError:
        others = ()
    suggested = proposals(edit, Neighbours(others))
    print_line("Examples teach the gate, and are tested. One a line; Enter ends.", style="dim")
    found = {}
    for name, what, texts in zip(
        ("fires", "silent"), ("must fire it", "must not fire it"), suggested, strict=True
    ):
        hint = f" (such as: {' | '.join(texts)})" if texts else ""
        found[name] = _lines_of(f"a question that {what}{hint}")
    return found


def _lines_of(label: str) -> list[str]:
    lines: list[str] = []
    while line := _asked(label, default="", show_default=False):
        lines.append(line)
        label = "another"
    return lines


def _show_conflicts(made: Edit, folder: Path) -> None:
    """Print what the new patch contradicts."""
    from errata.cache.patches.files import load_folder
    from errata.patch_tests.review import review

    place = str(made.location)
    for problem in review(load_folder(folder), datetime.date.today()):
        if place in (problem.where, problem.patch) or f"{place}:" in problem.message:
            print_line(f"{problem.severity}: {problem}", style="yellow", stderr=True)


@reports_errors
def fmt(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATHS]...", help="Files or folders.", show_default=False),
    ] = None,
    check_only: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 if anything would change.")
    ] = False,
) -> None:
    """Lay out patch files evenly; comments, order, quotes and texts stay.

    A file that is wrong is left alone, and its problems are printed; exit
    code 1.

    Examples:
        errata fmt

        errata fmt --check patches/zoo.yaml
    """
    from errata.cache.errors import ErrataError
    from errata.cache.patches.files import patch_files
    from errata.cache.patches.layout import formatted
    from errata.cache.storage.atomic import write_atomically

    named = paths or [own_patches(None)]
    files = [
        file for path in named for file in (patch_files(path) if path.is_dir() else [path])
    ]  # fmt: skip
    changed, wrong = 0, 0
    for file in files:
        try:
            before, after = formatted(file)
            if before != after:
                changed += 1
                if not check_only:
                    write_atomically(file.resolve(), after.encode())  # a link stays a link
                print_line(f"{file}: {'would be laid out' if check_only else 'laid out'}")
        except (ErrataError, OSError) as error:
            wrong += 1
            found = str(error) if isinstance(error, ErrataError) else f"{file}: {error.strerror}"
            print_line(f"error: {found}", style="red", stderr=True)
    kept = len(files) - changed - wrong
    left = f", {wrong} left alone" if wrong else ""
    print_line(f"{counted(changed, 'file')} laid out, {kept} as they were{left}")
    if wrong or (check_only and changed):
        raise typer.Exit(1)


@reports_errors
def convert(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="A .csv, .yaml or .jsonl file.")],
    target: Annotated[Path, typer.Argument(metavar="TO", help="The same, in another format.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Convert patches between CSV, YAML and JSON lines.

    A table has the names of the keys in its first row: question, answer,
    fires, fires, silent, …; columns of lists are repeated.

    Examples:
        errata convert facts.csv patches/facts.jsonl

        errata convert patches/capitals.yaml capitals.csv
    """
    from errata.cache.errors import ErrataError
    from errata.cache.patches.files import dump_file, load_file
    from errata.cache.patches.table import read_table, table
    from errata.cache.storage.atomic import write_atomically

    if target.exists() and not force:
        raise ErrataError(f"{target}: expected no file there, found one: name another, or --force")
    edits = (read_table if source.suffix.lower() == TABLE_SUFFIX else load_file)(source)
    try:
        if target.suffix.lower() == TABLE_SUFFIX:
            write_atomically(target, table(edits).encode())
        else:
            dump_file(edits, target)
    except OSError as error:
        raise ErrataError(
            f"{target}: expected a file that can be written, found: {error.strerror}; name another"
        ) from error
    print_line(f"{target}: {counted(len(edits), 'patch')}")


@reports_errors
def schema(
    line: Annotated[
        bool, typer.Option("--line", help="The schema of one line of JSON lines, not of a file.")
    ] = False,
) -> None:
    """Print the JSON Schema of patch files, for editors and linters.

    It knows keys and types; `errata check` also knows what they mean.

    Examples:
        errata schema > patches.schema.json

        check-jsonschema --schemafile patches.schema.json patches/*.yaml
    """
    from errata.cache.patches.json_schema import json_schema

    print_json(json_schema(line=line))
