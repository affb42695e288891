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
    from errata.cache.records import Edit

SHOWN = 36
"""Patches of the demo without ``--all``."""
OTHERS = 6
"""Questions that no patch governs."""


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
    from errata.cache.precedence import in_force

    name = model or opening.demo_model()
    folder = patches_folder(patches, name)
    edits = in_force(load_folder(folder), datetime.date.today())
    chosen = choose(edits, None if everything else SHOWN + 1)
    # asked once: with the rest of the textbook's example
    textbook = TEXTBOOK if chosen.pop(TEXTBOOK[0].question, None) else ()
    known = {*chosen, *(case.question for case in textbook)}
    others = [text for text in _silent(edits) if text not in known][:OTHERS]
    editable = opening.open_model(name, folder, None, encoder, gate)
    cases = [case_of(question, edit) for question, edit in chosen.items()]
    rows = ask_rows(editable, cases, "asking the patches' questions")
    rest = [*(Case(text, unchanged) for text in others), *textbook]
    asked = ask_rows(editable, rest, "asking other questions") if rest else []
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
        "patches": f"Questions of the patches in {folder}",
        "others": "Questions that no patch governs",
        "textbook": "The textbook's example: what follows from one patch, and what does not",
    }
    for part, rows in parts.items():
        if rows:
            print_line(f"\n{titles[part]}", style="bold")
        for row in rows:
            _show_row(model, row)
    print_line("")
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


def _show_row(model: str, row: Row) -> None:
    """Print question, ``file:line``, and both answers, cut at the right edge, or one if the same.

    No ``file:line`` is cut: where it does not fit behind the question, it has a line of its own.
    """
    width = console().width
    places = " ".join(row.where)
    fits = len(row.question) + len(places) + 4 <= width
    print_line(f"{row.question}  {f'[{places}]' if fits and places else ''}".rstrip())
    if places and not fits:
        print_line(f"  [{places}]")
    if row.alone == row.patched:
        _show_answer("the same", row.patched, row.patched_right, width)
    else:
        _show_answer(f"{model} alone", row.alone, row.alone_right, width)
        _show_answer("with patches", row.patched, row.patched_right, width)


def _show_answer(label: str, answer: str, right: bool | None, width: int) -> None:
    from rich.text import Text

    mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: (" ", "")}[right]
    line = Text(f"  {mark} {label}: {' '.join(answer.split())}", style=style)
    line.truncate(width, overflow="ellipsis")
    console().print(line, soft_wrap=True)
