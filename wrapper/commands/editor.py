"""``errata editor train``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands.options import AsJson, Model
from errata.commands.output import print_json, print_line, reports_errors
from errata.commands.progress import working

if TYPE_CHECKING:
    from errata.facts import FactSource

Name = Annotated[str, typer.Argument(metavar="NAME", help="The editor: mend, ke or enn.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder to write; by default runs/editor-NAME."),
]
Facts = Annotated[
    Path | None,
    typer.Option("--facts", metavar="DIR", help="A facts table; by default that of errata."),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="More facts (relation, subject, object), their patterns (relation, pattern), or open "
        "questions (question, answers), JSON lines; once for each file.",
    ),
]


@reports_errors
def train_editor(
    name: Name,
    model: Model = "atlas",
    out: Out = None,
    facts: Facts = None,
    data: Data = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="At most.")] = 10_000,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Edits of a step.")] = 8,
    every: Annotated[int, typer.Option("--every", min=1, help="Steps between validations.")] = 250,
    patience: Annotated[
        int, typer.Option("--patience", min=1, help="Validations without a gain, then it ends.")
    ] = 8,
    options: Annotated[
        str, typer.Option("--options", help='Of the editor, JSON: {"layers": [5, 6, 7]}.')
    ] = "{}",
    seed: Annotated[int, typer.Option("--seed", help="Of all draws.")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="0: as torch chooses.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train an editor that learns to edit; resumes an interrupted run.

    Edits to learn from change facts of train subjects; it is validated on
    tune subjects, and what did best there is kept.

    Example:
        errata editor train mend --out runs/mend

        errata editor train ke --model smollm2 --data trex.jsonl.gz --data open.jsonl.gz

        errata compare --data atlas-bench.jsonl --backends cache,mend --out runs/mend-test
    """
    import torch

    from errata.commands.reasoner import precision_for
    from errata.editor_training.train import EditorTrainer, EditorTrainingConfig
    from errata.models.load import load_base

    editor = _editor(name, options)
    folder = out or Path("runs") / f"editor-{name}"
    if threads:
        torch.set_num_threads(threads)
    with working("loading the model"):
        source, open_questions = _training_data(facts, data or [])
        base, tokenizer = load_base(model, **precision_for(model))
    config = EditorTrainingConfig(
        steps=steps, batch_size=batch, eval_steps=every, patience=patience, seed=seed
    )
    trainer = EditorTrainer(editor, base, tokenizer, source, folder, config, open_questions)
    trainer.resume()
    found = trainer.train(shown=not as_json)
    if as_json:
        print_json({"out": str(folder), "steps": trainer.step, "tune": found})
        return
    print_line(
        f"{folder}: best after {found['step']:,} of {trainer.step:,} steps; of edits of tune "
        f"subjects {found['success']:.1%} come out, {found['generality']:.1%} of their rewordings; "
        f"{found['drawdown']:.1%} of unrelated questions change"
    )


def _editor(name: str, options: str) -> Any:
    from errata.cache.errors import ErrataError
    from errata.editing.base import Trainable
    from errata.registry import make, names

    try:
        chosen = json.loads(options)
    except ValueError as error:
        raise ErrataError(f"expected JSON at --options, found {options!r}: {error}") from error
    if not isinstance(chosen, dict):
        raise ErrataError(f"expected a mapping in JSON at --options, found {options!r}")
    settings = {
        key: tuple(value) if isinstance(value, list) else value for key, value in chosen.items()
    }
    editor = make("errata.editors", name, **settings)
    if not isinstance(editor, Trainable):
        known = [n for n in names("errata.editors") if isinstance(_plain(n), Trainable)]
        raise ErrataError(
            f"expected an editor that is trained beforehand ({', '.join(known)}), found {name}, "
            "which is not"
        )
    return editor


def _plain(name: str) -> Any:
    from errata.registry import make

    return make("errata.editors", name)


def _training_data(
    facts: Path | None, paths: Sequence[Path]
) -> tuple[FactSource, tuple[list[tuple[str, str]], list[tuple[str, str]]]]:
    """Return the facts, and the open questions of each split, train and tune, by hash."""
    from errata.facts import FactSource
    from errata.gates.data.pairs import open_split
    from errata.reasoners.data.files import OPEN_QUESTIONS, load_training_data
    from errata.reasoners.data.rows import read_rows

    source, _ = load_training_data(FactSource.load(facts), paths)
    train: list[tuple[str, str]] = []
    tune: list[tuple[str, str]] = []
    for path in paths:
        first = next(read_rows(path, ()), {})
        if not first.keys() >= set(OPEN_QUESTIONS):
            continue
        for row in read_rows(path, OPEN_QUESTIONS):
            part = {"train": train, "tune": tune}.get(open_split(row["question"]))
            if part is not None and row["answers"]:
                part.append((row["question"], str(row["answers"][0])))
    return source, (train, tune)
