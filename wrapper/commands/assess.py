"""``errata assess``: which facts of a list a model gets wrong, and patches for them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands import opening
from errata.commands.options import AsJson, Model
from errata.commands.output import counted, print_json, print_line, reports_errors
from errata.commands.progress import progress, working

if TYPE_CHECKING:
    from errata.cache.records import Edit
    from errata.editors.assess import Assessment

Lists = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Facts: patch files (YAML, JSON lines), tables (CSV, TSV) with question and answer, "
        "or a folder with facts.tsv and templates.yaml; by default errata's own table.",
        show_default=False,
    ),
]

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write patches for what is wrong (.yaml)."),
]
Count = Annotated[int | None, typer.Option("--n", min=2, help="Facts to draw; by default all.")]
Threshold = Annotated[
    float, typer.Option("--threshold", help="A fact with a smaller ratio is wrong (see below).")
]
Contrasts = Annotated[
    int, typer.Option("--contrasts", min=1, help="Unrelated relations of each fact.")
]
Wordings = Annotated[
    int, typer.Option("--wordings", min=1, help="Wordings of a question, at most.")
]


@reports_errors
def assess(
    files: Lists = None,
    model: Model = opening.ATLAS,
    out: Out = None,
    n: Count = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything drawn.")] = 0,
    threshold: Threshold = 1.0,
    contrasts: Contrasts = 3,
    wordings: Wordings = 3,
    as_json: AsJson = False,
) -> None:
    """Find which facts of a list a model gets wrong, and write patches for them.

    By contrast: how much likelier is the answer to its own question than to
    unrelated questions about the same subject, which are those of the other
    facts in the list? Where the ratio is below 1 the model does not hold the
    fact. It may hold the fact and believe another one more, so what is not
    found need not be right; and a model that answers in sentences is scored
    as if it began with the answer, so not all that is found is wrong.

    The list needs facts of two kinds at least, with their subject in the
    question. Read what was found before you put it in force.

    Examples:
        errata assess facts.csv --model Qwen/Qwen2.5-0.5B-Instruct

        errata assess facts.jsonl --out patches/assessed.yaml

        errata assess --n 300 --json
    """
    from errata.cache.errors import ErrataError
    from errata.editors.assess import AssessConfig
    from errata.editors.assess import assess as assessed
    from errata.models.load import load_base

    if out is not None and out.exists():
        raise ErrataError(f"{out}: expected a new file, found one; name another with --out")
    if threshold <= 0:
        raise ErrataError(f"expected --threshold above 0, found {threshold}")
    edits = _read(files or [], wordings)
    if n is not None and n < len(edits):
        edits = random.Random(seed).sample(edits, n)
    with working("loading the model"):
        base, tokenizer = load_base(model)
    config = AssessConfig(contrasts=contrasts, wordings=wordings, threshold=threshold, seed=seed)
    with progress("assessing", len(edits)) as advance:
        found, others = assessed(base, tokenizer, edits, config, advance)
    wrong = [each for each in found if each.wrong]
    if out is not None:
        _write(wrong, out, model)
    _show(found, others, out, as_json=as_json)


def _read(files: Sequence[Path], wordings: int) -> list[Edit]:
    """Return the facts of files and folders, or of errata's own table where none is named."""
    from errata.cache.patches.files import load_file, load_folder
    from errata.cache.patches.table import read_table
    from errata.compare.inputs.atlas_world import NO_EDITS
    from errata.editors.assess import table_facts
    from errata.facts import FactSource

    edits: list[Edit] = []
    for path in files:
        if path.is_dir() and (path / "facts.tsv").is_file():
            edits += table_facts(FactSource.load(path), wordings=wordings)
        elif path.is_dir():
            edits += load_folder(path)
        elif path.suffix.lower() in (".csv", ".tsv"):
            edits += read_table(path)
        else:
            edits += load_file(path)
    if not files:
        edits += table_facts(FactSource.load(), wordings=wordings, without=NO_EDITS)
    return edits


def _write(wrong: Sequence[Assessment], out: Path, model: str) -> None:
    """Write the facts as patches, each with where it was found in `source` unless it has one."""
    from dataclasses import replace

    from errata.cache.errors import ErrataError
    from errata.cache.patches.files import dump_file

    note = f"errata assess --model {model}"
    try:
        dump_file([replace(e.fact, source=e.fact.source or note) for e in wrong], out)
    except OSError as error:
        raise ErrataError(
            f"{out}: expected a place for the patches, found: {error.strerror}; name another file"
        ) from error


def _show(
    found: Sequence[Assessment], others: Sequence[Edit], out: Path | None, *, as_json: bool
) -> None:
    wrong = [each for each in found if each.wrong]
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "question": each.fact.question, "answer": each.fact.answer,
                "ratio": math.exp(each.score), "wrong": each.wrong,
                **({"model": each.answer} if each.wrong else {}),
            }
            for each in found
        ]  # fmt: skip
        print_json(
            {
                "facts": len(found), "wrong": len(wrong), "not_assessed": [e.id for e in others],
                "out": None if out is None else str(out), "assessed": rows,
            }
        )  # fmt: skip
        return
    for each in wrong:
        place = f"{each.fact.location}: " if each.fact.location else ""
        print_line(f"{place}{each.fact.question}", style="bold")
        print_line(
            f"  expected {each.fact.answer!r}, the model says {each.answer!r} "
            f"(ratio {math.exp(each.score):.2g})"
        )
    for edit in others:
        print_line(
            f"{edit.location or edit.id}: not assessed: its subject is not in its question; add "
            "subject", style="yellow", stderr=True,
        )  # fmt: skip
    place = "" if out is None else f"; patches in {out}"
    print_line(f"{len(wrong)} of {counted(len(found), 'fact')} wrong by contrast{place}")
