"""``errata serac train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from errata.commands.options import AsJson, Encoder
from errata.commands.output import print_json, print_line, reports_errors
from errata.commands.progress import working

Model = Annotated[str, typer.Option("--model", help="Folder, hub id, atlas, or smollm2.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder to write gate/ and reasoner/ to; by default the user's cache folder, where "
        "the serac backend finds them.",
    ),
]
Open = Annotated[
    Path | None, typer.Option("--open-questions", help="Questions out of any scope, .jsonl or .gz.")
]
Blocks = Annotated[
    str, typer.Option("--blocks", help="Blocks of the base the small model begins with.")
]


@reports_errors
def train_serac(
    model: Model = "atlas",
    out: Out = None,
    open_questions: Open = None,
    blocks: Blocks = "0,1,5,6",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of the small model.")] = 2500,
    threads: Annotated[int, typer.Option("--threads", min=0, help="0: as torch chooses.")] = 0,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Train the gate and the counterfactual model of the serac backend, a control.

    Minutes for atlas. Stopped, it goes on where it was: a part that is there
    is kept.

    Example:
        errata serac train
        errata serac train --model gpt2 --blocks 0,1,10,11 --out runs/serac
    """
    from dataclasses import replace

    import torch

    from errata.cache.errors import ErrataError
    from errata.commands.opening import open_encoder
    from errata.commands.reasoner import block_numbers
    from errata.facts import FactSource
    from errata.models.load import load_base
    from errata.pipelines.serac import serac_folder
    from errata.reasoners.training import serac

    defaults = serac.SeracConfig()
    config = replace(
        defaults, blocks=tuple(block_numbers(blocks)),
        reasoner=replace(defaults.reasoner, steps=steps),
    )  # fmt: skip
    if out is not None and out.exists() and not out.is_dir():
        raise ErrataError(f"expected a folder at --out {out}, found a file; name another")
    if threads:
        torch.set_num_threads(threads)
    # Half-precision weights train badly on a CPU; atlas is in single precision.
    with working("loading the model"):
        base, tokenizer = load_base(model, **({} if model == "atlas" else {"dtype": torch.float32}))
    folder = serac_folder(base) if out is None else out
    if not as_json:
        print_line(f"training the gate and the counterfactual model in {folder}", stderr=True)
    gate = serac.train_gate(open_encoder(encoder, english_only=True), folder, config,
                            open_questions=open_questions, progress=not as_json)  # fmt: skip
    reasoner = serac.train_counterfactual(
        base, tokenizer, FactSource.load(), folder, config, progress=not as_json
    )
    if as_json:
        print_json({"gate": str(folder / serac.GATE), "reasoner": str(reasoner), "card": gate.card})
    elif out is None:
        print_line(f"{folder}: trained; --backend serac finds it there")
    else:
        print_line(
            f'{folder}: trained; use it as gate="{folder / serac.GATE}", reasoner="{reasoner}"'
        )
