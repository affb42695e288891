"""``errata demo``."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands import opening
from errata.commands.demo_rows import TEXTBOOK, Case, Row, ask_rows, case_of, tally, unchanged
from errata.commands.options import AsJson, Encoder, Gate, Patches, patches_folder
from errata.commands.output import console, counted, print_json, print_line, reports_errors
from errata.models.smollm2 import INSTALL

if TYPE_CHECKING:
    from rich.table import Table

    from errata.cache.records import Edit

SHOWN = 36
"""Patches of the demo without ``--all``."""
OTHERS = 6
"""Questions that no patch governs."""
SHORT = 64
"""Characters of an answer that the table shows."""


@reports_errors
def demo(
    everything: Annotated[bool, typer.Option("--all", help="Ask about every patch.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="PATH_OR_HUB_ID",
            help="The language model: a folder, a hub id, smollm2, or atlas; by default smollm2 "
            "where its package is installed.",
        ),
    ] = None,
    patches: Patches = None,
    encoder: Encoder = None,
    gate: Gate = None,
    as_json: AsJson = False,
) -> None:
    """Show a language model answer wrongly, and then rightly because of text files.

    Each question is that of a patch (of a regex or language patch, its first
    test). The model alone and the model with the patches answer it; then
    questions that no patch governs, and the textbook's example, a zebra.

    Examples:
        errata demo

        errata demo --model atlas --all --json
    """
    from errata.cache.patches.files import load_folder
    from errata.cache.view import in_force

    name = model or opening.demo_model()
    folder = patches_folder(patches, name)
    edits = in_force(load_folder(folder), datetime.date.today())
    chosen = choose(edits, None if everything else SHOWN)
    others = [text for text in _silent(edits) if text not in chosen][:OTHERS]
    textbook = TEXTBOOK if TEXTBOOK[0].question in chosen else ()
    editable = opening.open_model(name, folder, None, encoder, gate)
    cases = [case_of(question, edit) for question, edit in chosen.items()]
    rows = ask_rows(editable, cases, "the patches' questions")
    rest = [*(Case(text, unchanged) for text in others), *textbook]
    asked = ask_rows(editable, rest, "other questions") if rest else []
    parts = {"patches": rows, "others": asked[: len(others)], "textbook": asked[len(others) :]}
    if as_json:
        print_json(_as_json(name, folder, parts))
    else:
        _show(Path(name).name, folder, parts)
        if model is None and name == opening.ATLAS:
            print_line(
                f"atlas is a test model. To see a chat model corrected: {INSTALL}; errata demo"
            )


def choose(edits: Sequence[Edit], limit: int | None) -> dict[str, Edit]:
    """Return one question a patch and the patch, alternating between the files.

    :param edits: the patches; those without a question or a test are skipped.
    :param limit: maximum number of questions; None for all.
    """
    files: dict[str, dict[str, Edit]] = {}
    for edit in edits:
        question = getattr(edit, "question", None) or next(iter(edit.tests.fires), None)
        if question is not None:
            path = edit.location.path if edit.location else ""
            files.setdefault(path, {}).setdefault(question, edit)
    alternating = [q for q in chain.from_iterable(zip_longest(*files.values())) if q is not None]
    selected = set(list(dict.fromkeys(alternating))[:limit])
    return {q: edit for each in files.values() for q, edit in each.items() if q in selected}


def _silent(edits: Sequence[Edit]) -> list[str]:
    """Return questions on which patches are tested to be silent, one a file in turn."""
    files: dict[str, list[str]] = {}
    for edit in edits:
        files.setdefault(edit.location.path if edit.location else "", []).extend(edit.tests.silent)
    return [q for q in dict.fromkeys(chain.from_iterable(zip_longest(*files.values()))) if q]


def _as_json(model: str, folder: Path, parts: dict[str, list[Row]]) -> dict[str, Any]:
    rows = parts["patches"]
    return {
        "model": model,
        "patches": str(folder),
        "questions": len(rows),
        "patched": sum(bool(row.where) for row in rows),
        "changed": sum(row.alone != row.patched for row in rows),
        **{f"{part}_tally": tally(asked) for part, asked in parts.items()},
        "rows": [row.as_json() for row in rows],
        "others": [row.as_json() for row in parts["others"]],
        "textbook": [row.as_json() for row in parts["textbook"]],
    }


def _show(model: str, folder: Path, parts: dict[str, list[Row]]) -> None:
    titles = {
        "patches": f"questions of the patches in {folder}",
        "others": "questions that no patch governs",
        "textbook": "the textbook's example: what follows from one patch, and what does not",
    }
    for part, rows in parts.items():
        if rows:
            print_line(f"\n{titles[part]}", style="bold")
            console().print(_table(model, folder, rows))
    rows = parts["patches"]
    counts = tally(rows)
    print_line(
        f"{counted(len(rows), 'question')} of patches: {model} alone is wrong on "
        f"{counts['wrong_alone']}, of which {counts['wrong_then_right']} are right with the "
        f"patches; a patch fired on {sum(bool(row.where) for row in rows)}."
    )
    if others := parts["others"]:
        same = sum(row.alone == row.patched for row in others)
        print_line(f"Questions that no patch governs: {same} of {len(others)} answered the same.")
    if textbook := parts["textbook"]:
        right = tally(textbook)["right_patched"]
        print_line(f"The textbook's example: {right} of {len(textbook)} as they should be.")
    print_line(f"No weight was changed: the patches are text files in {folder}.")


def _table(model: str, folder: Path, rows: Sequence[Row]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, expand=False)
    table.add_column("question", overflow="fold", ratio=4)
    table.add_column(f"{model} alone", overflow="fold", ratio=4)
    table.add_column("with patches", overflow="fold", ratio=4)
    places = ["\n".join(_short(place, folder) for place in row.where) for row in rows]
    longest = max(len(line) for place in places for line in (*place.splitlines(), "patch"))
    table.add_column("patch", no_wrap=True, min_width=longest)  # file:line stays whole
    for row, place in zip(rows, places, strict=True):
        table.add_row(
            Text(row.question),
            _judged(row.alone, row.alone_right),
            _judged(row.patched, row.patched_right),
            Text(place),
        )
    return table


def _judged(answer: str, right: bool | None) -> Any:
    from rich.text import Text

    text = " ".join(answer.split())
    text = text if len(text) <= SHORT else f"{text[: SHORT - 1].rstrip()}…"
    if right is None:
        return Text(text)
    return Text(f"{'✓' if right else '✗'} {text}", style="green" if right else "red")


def _short(location: str, folder: Path) -> str:
    return location.removeprefix(f"{folder}/")
