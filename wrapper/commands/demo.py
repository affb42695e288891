"""``errata demo``."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands import opening
from errata.commands.options import AsJson, Encoder, Gate, Model, Patches, patches_folder
from errata.commands.output import (
    console,
    counted,
    fired_locations,
    print_json,
    print_line,
    reports_errors,
)

if TYPE_CHECKING:
    from errata.cache.records import Edit
    from errata.model import EditableModel

SHOWN = 22
"""Questions of the demo without ``--all``."""
BATCH = 8
"""Questions asked at a time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question of the demo.

    :param question: the question.
    :param alone: the base model's answer.
    :param patched: the answer with the patches.
    :param where: ``file:line`` of the patches that fired or replaced text.
    """

    question: str
    alone: str
    patched: str
    where: tuple[str, ...]


@reports_errors
def demo(
    everything: Annotated[bool, typer.Option("--all", help="Ask about every patch.")] = False,
    model: Model = opening.ATLAS,
    patches: Patches = None,
    encoder: Encoder = None,
    gate: Gate = None,
    as_json: AsJson = False,
) -> None:
    """Show a language model answer wrongly, and then rightly because of text files.

    Each question is that of a patch (of a regex or language patch, its first
    test). The base model and the model with the patches answer it.

    Examples:
        errata demo

        errata demo --all --json
    """
    from errata.cache.patches.files import load_folder
    from errata.cache.view import in_force

    folder = patches_folder(patches, model)
    edits = in_force(load_folder(folder), datetime.date.today())
    questions = choose(edits, None if everything else SHOWN)
    editable = opening.open_model(model, folder, None, encoder, gate)
    rows = _ask(editable, questions)
    if as_json:
        print_json(_as_json(model, folder, rows))
    else:
        _show(model, folder, rows)


def choose(edits: Sequence[Edit], limit: int | None) -> list[str]:
    """Return one question a patch, alternating between the files.

    :param edits: the patches; those without a question or a test are skipped.
    :param limit: maximum number of questions; None for all.
    """
    files: dict[str, list[str]] = {}
    for edit in edits:
        question = getattr(edit, "question", None) or next(iter(edit.tests.fires), None)
        if question is not None:
            files.setdefault(edit.location.path if edit.location else "", []).append(question)
    alternating = [q for q in chain.from_iterable(zip_longest(*files.values())) if q is not None]
    selected = set(alternating[:limit])
    return [q for q in dict.fromkeys(chain.from_iterable(files.values())) if q in selected]


def _ask(editable: EditableModel, questions: Sequence[str]) -> list[Row]:
    from rich.progress import Progress

    rows: list[Row] = []
    with Progress(console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("asking", total=len(questions))
        for start in range(0, len(questions), BATCH):
            batch = list(questions[start : start + BATCH])
            alone = editable.ask_many(batch, edits=False)
            patched = editable.ask_many(batch)
            rows += [
                Row(question, before.text, after.text, tuple(fired_locations(after)))
                for question, before, after in zip(batch, alone, patched, strict=True)
            ]
            progress.advance(task, len(batch))
    return rows


def _as_json(model: str, folder: Path, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "model": model,
        "patches": str(folder),
        "questions": len(rows),
        "patched": sum(bool(row.where) for row in rows),
        "changed": sum(row.alone != row.patched for row in rows),
        "rows": [
            {"question": r.question, "alone": r.alone, "patched": r.patched, "where": list(r.where)}
            for r in rows
        ],
    }


def _show(model: str, folder: Path, rows: Sequence[Row]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=False)
    table.add_column("question", overflow="fold", ratio=4)
    table.add_column(f"{Path(model).name} alone", overflow="fold", ratio=3)
    table.add_column(f"with {folder.name}/", overflow="fold", ratio=3)
    table.add_column("patch", overflow="fold", ratio=3)
    for row in rows:
        changed = row.alone != row.patched
        table.add_row(
            Text(row.question),
            Text(" ".join(row.alone.split()), style="red" if changed else ""),
            Text(" ".join(row.patched.split()), style="green" if changed else ""),
            Text("\n".join(_short(location, folder) for location in row.where)),
        )
    console().print(table)
    patched = sum(bool(row.where) for row in rows)
    changed_rows = sum(row.alone != row.patched for row in rows)
    print_line(
        f"{counted(len(rows), 'question')}: a patch fired on {patched}, {changed_rows} answered "
        f"otherwise than by {Path(model).name} alone. No weight was changed; "
        f"the patches are in {folder}."
    )


def _short(location: str, folder: Path) -> str:
    return location.removeprefix(f"{folder.parent}/") if folder.is_absolute() else location
