"""``errata gate train``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from errata.commands.options import AsJson, Encoder
from errata.commands.output import reports_errors, say, say_json

if TYPE_CHECKING:
    from errata.gates.serac import SeracGate
    from errata.gates.stored import StoredGate


@reports_errors
def train_gate(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write the gate to.")],
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", help="Labelled question pairs, .jsonl or .gz (may be repeated)."),
    ] = None,
    open_questions: Annotated[
        Path | None,
        typer.Option("--open-questions", help="Questions out of any scope, .jsonl or .gz."),
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", help="classifier, or serac (the published one, a control).")
    ] = "classifier",
    seed: Annotated[int, typer.Option("--seed", help="Of everything drawn.")] = 0,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Train a gate on the train subjects of the facts table, and on pairs of your own; minutes.

    Example:
        errata gate train --out gate/ --pairs pairs.jsonl
    """
    from errata.cache.errors import ErrataError
    from errata.commands.opening import open_encoder
    from errata.gates.serac_train import train_serac
    from errata.gates.train import Recipe, train

    makers: dict[str, Callable[..., StoredGate | SeracGate]] = {
        "classifier": train,
        "serac": train_serac,
    }
    if kind not in makers:
        raise ErrataError(f"expected --kind {' or '.join(makers)}, found {kind!r}")
    trained = makers[kind](
        out,
        pairs=pairs or (),
        open_questions=open_questions,
        encoder=open_encoder(encoder),
        recipe=Recipe(seed=seed),
        progress=not as_json,
    )
    if as_json:
        say_json({"out": str(out), "card": trained.card})
    else:
        say(f"{out}: trained in {trained.card['seconds']} s; card.json says on what, and how well")
