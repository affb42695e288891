"""``errata bake`` and ``errata unbake``: write a model with edits in its weights, and undo it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands import opening
from errata.commands.options import AsJson, Model, Patches, patches_folder
from errata.commands.output import print_json, print_line, reports_errors
from errata.commands.progress import working

if TYPE_CHECKING:
    from errata.cache.records import Edit
    from errata.editing.bake import Baked
    from errata.editing.base import Editor
    from errata.editing.changes import Change
    from errata.editing.verification import NotTaken
    from errata.generation.base_model import GenerativeModel

Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder to write; must be new or empty.")
]
Text = Annotated[
    list[Path] | None,
    typer.Option("--text", help="Text (UTF-8) for the second moments; may be repeated."),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset", metavar="NAME[:CONFIG[:SPLIT]]",
        help="The same from a data set of the hub (needs errata\\[datasets] and a network).",
    ),
]  # fmt: skip
Layers = Annotated[
    list[int] | None,
    typer.Option(
        "--layer", help="Layer to edit, from 0, if not the configured one (memit: several)."
    ),
]
Statistics = Annotated[
    Path,
    typer.Option("--statistics", metavar="DIR", help="Folder where second moments are kept."),
]
STATISTICS = Path(".errata/statistics")


@reports_errors
def bake(
    out: Out,
    backend: Annotated[
        str, typer.Option("--backend", help="The editor of weights: rome, memit, ft, …")
    ] = "rome",
    model: Model = opening.ATLAS,
    patches: Patches = None,
    layer: Layers = None,
    text: Text = None,
    dataset: Dataset = None,
    statistics: Statistics = STATISTICS,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse if any patch cannot be made, or does not hold; write nothing."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a model with the patches in its weights: an ordinary `transformers` folder.

    Facts only: patterns, conditions and questions to be forgotten stay in
    patches/, and are listed. `errata unbake` removes the edits again, bit for
    bit. Editing many facts this way damages a model; measure before you ship
    it (docs/editors.md).

    Examples:
        errata bake --backend rome --patches patches/ --out edited-model/

        errata bake --model Qwen/Qwen2.5-0.5B --layer 4 --text corpus.txt --out edited-model/
    """
    from errata.cache.errors import UnsupportedEdit
    from errata.cache.patches.files import load_folder
    from errata.cache.precedence import in_force
    from errata.editing.bake import bake as write
    from errata.editing.changes import applied
    from errata.editing.verification import not_taken
    from errata.models.load import load_base

    edits = in_force(load_folder(patches_folder(patches, model)), datetime.date.today())
    editor = editor_for(backend, layer, corpus_texts(text, dataset), statistics)
    with working("loading the model"):
        base, tokenizer = load_base(model)
    made, unsupported, changes = _planned(editor, base, tokenizer, edits)
    if unsupported and strict:
        raise UnsupportedEdit(
            f"expected edits that {backend} can make, found {len(unsupported)} others, the first: "
            f"{unsupported[0][1]}; nothing was written; without --strict they stay in patches/"
        )
    with working("asking the edited model"), applied(base, changes):
        missed = not_taken(base, tokenizer, made)
    if missed and strict:
        raise UnsupportedEdit(
            f"expected edits that hold, found {len(missed)} of {len(made)} that do not, the first: "
            f"{missed[0]}; nothing was written; try other settings or another backend"
        )
    baked = write(base, tokenizer, changes, out, edits=made, backend=backend)
    _show(baked, backend, unsupported, missed, as_json)


def _show(
    baked: Baked,
    backend: str,
    unsupported: Sequence[tuple[Edit, str]],
    missed: Sequence[NotTaken],
    as_json: bool,
) -> None:
    from errata.editing.changes import WARNING_ERROR

    worst = max(baked.writes, key=lambda write: write.relative_error, default=None)
    error = worst.relative_error if worst else 0.0
    if as_json:
        refused = [{"id": edit.id, "reason": reason} for edit, reason in unsupported]
        print_json(
            {
                "out": str(baked.folder),
                "backend": backend,
                "edits": list(baked.edits),
                "unsupported": refused,
                "not_taken": [{"id": each.edit.id, "answer": each.answer} for each in missed],
                "left": refused,  # the key of version 0.1; goes with 0.3
                "tensors": list(baked.tensors),
                "lost_in_writing": error,
            }
        )
        return
    if worst and error > WARNING_ERROR:
        print_line(
            f"{worst.name}: {error:.0%} of the planned update were lost in writing it as "
            f"{worst.dtype}; for exact edits bake a model that is stored in float32",
            style="yellow", stderr=True,
        )  # fmt: skip
    for edit, reason in unsupported:
        print_line(
            f"{edit.location or edit.id}: left in patches: {reason}", style="yellow", stderr=True
        )
    for each in missed:
        print_line(f"does not hold: {each}", style="yellow", stderr=True)
    print_line(
        f"{baked.folder}: {len(baked.edits)} edits by {backend} in {', '.join(baked.tensors)}; "
        f"{len(unsupported)} left in patches; `errata unbake {baked.folder}` removes them again"
    )


@reports_errors
def unbake(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that `errata bake` wrote.")
    ],
    out: Out,
    as_json: AsJson = False,
) -> None:
    """Remove baked edits from a model: writes the base model, bit for bit.

    Example:
        errata unbake edited-model/ --out base-model/
    """
    from errata.editing.bake import read_delta
    from errata.editing.bake import unbake as write
    from errata.models.load import load_base

    read_delta(folder)
    with working("loading the model"):
        model, tokenizer = load_base(folder, dtype="auto")
    tensors = write(model, tokenizer, folder, out)
    if as_json:
        print_json({"out": str(out), "tensors": list(tensors)})
    else:
        print_line(f"{out}: the base model, {', '.join(tensors) or 'nothing'} restored")


def corpus_texts(text: Sequence[Path] | None, dataset: str | None) -> Any:
    """Return the text of ``--text`` or ``--dataset``, None where neither is given."""
    from errata.editors.shared.corpus import dataset_texts, text_files

    if text:
        return text_files(text)
    return dataset_texts(dataset) if dataset else None


def editor_for(backend: str, layers: Sequence[int] | None, text: Any, statistics: Path) -> Editor:
    """Return an editor by name, with those of the options that it has.

    :raises errata.cache.errors.ErrataError: no such editor; lists the existing ones.
    """
    from errata.editors.locate import SWEPT
    from errata.registry import load

    kind = load("errata.editors", backend)
    options: dict[str, Any] = {}
    if layers:
        several = SWEPT.get(backend, ("layer",))[0] == "layers"
        options |= {"layers": tuple(layers)} if several else {"layer": layers[0]}
    if kind.capabilities.needs_text:
        options |= {"text": text, "folder": statistics, "progress": True}
    made: Editor = kind(**options)
    return made


def _planned(
    editor: Editor, model: GenerativeModel, tokenizer: Any, edits: Sequence[Edit]
) -> tuple[list[Edit], list[tuple[Edit, str]], Sequence[Change]]:
    """Return the edits that can be made, the others with the reason, and the changes."""
    from errata.cache.errors import EditError, UnsupportedEdit

    made = [edit for edit in edits if editor.supports(edit)]
    unsupported = [
        (edit, f"{edit.kind}, or no subject found") for edit in edits if edit not in made
    ]
    while made:
        try:
            return made, unsupported, editor.plan(model, tokenizer, made)
        except UnsupportedEdit as error:
            refused = [edit for edit in made if edit.id == error.edit_id]
            if not refused:
                raise
            unsupported.append((refused[0], str(error)))
            made = [edit for edit in made if edit.id != error.edit_id]
    reason = f": {unsupported[0][1]}" if unsupported else ""
    raise EditError(
        f"expected facts with a subject, found none among {len(edits)} patches that can be made "
        f"in the weights{reason}; add question and answer patches"
    )
