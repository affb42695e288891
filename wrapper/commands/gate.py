"""``errata gate train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.cache.errors import ErrataError
from errata.commands.options import AsJson, Encoder
from errata.commands.output import print_json, print_line, reports_errors

if TYPE_CHECKING:
    from errata.gates.artifact import GateArtifact
    from errata.gates.embedding import EmbeddingGate


Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write the gate to.")]
Pairs = Annotated[
    list[Path] | None,
    typer.Option("--pairs", help="Labelled question pairs, .jsonl or .gz (may be repeated)."),
]
Open = Annotated[
    Path | None, typer.Option("--open-questions", help="Questions out of any scope, .jsonl or .gz.")
]
Kind = Annotated[
    str, typer.Option("--kind", help="classifier, or serac (the published one, a control).")
]
Background = Annotated[
    Path | None,
    typer.Option("--background", metavar="FILE",
                 help="Facts (relation, subject, object) that fill the cache while the threshold "
                 "is picked; T-REx's, say."),
]  # fmt: skip
WithoutPairs = Annotated[
    bool, typer.Option("--without-pairs", help="Refuse --pairs: a gate clear of their terms.")
]
Loss = Annotated[str, typer.Option("--loss", help="bce (balanced cross-entropy) or nce (InfoNCE).")]
Steps = Annotated[
    int, typer.Option("--steps", min=0, help="Of the cross-encoder; 0: a gate of one stage.")
]
Rate = Annotated[float, typer.Option("--rate", min=0.0, help="The cross-encoder's peak rate.")]
Start = Annotated[
    str | None,
    typer.Option("--start", metavar="GATE", help="A gate whose cross-encoder to train on."),
]
_OF_TWO_STAGES = ("start", "loss", "steps", "batch", "rate", "every", "model", "background")
"""What says nothing to the published gate, which has one stage."""
_ASKED = "Base model asked in doubt, to settle from when its agreement counts; none: never."


@reports_errors
def train_gate(
    context: typer.Context,
    out: Out,
    pairs: Pairs = None,
    open_questions: Open = None,
    background: Background = None,
    kind: Kind = "classifier",
    without_pairs: WithoutPairs = False,
    loss: Loss = "bce",
    steps: Steps = 5000,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pairs a step.")] = 32,
    rate: Rate = 1e-4,
    every: Annotated[int, typer.Option("--every", min=1, help="Steps between validations.")] = 400,
    start: Start = None,
    threads: Annotated[int, typer.Option("--threads", min=0, help="0: as torch chooses.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of everything drawn.")] = 0,
    encoder: Encoder = None,
    model: Annotated[str, typer.Option("--model", help=_ASKED)] = "atlas",
    as_json: AsJson = False,
) -> None:
    """Train a gate on the train subjects of the facts table, and on pairs of your own.

    The first stage takes minutes, the cross-encoder some 30 pairs a second and core; stopped, it
    goes on where it was.

    Example:
        errata gate train --out gate/ --pairs pairs.jsonl
        errata gate train --out gate/ --pairs ours.jsonl --start default --steps 500
        errata gate train --out clear/ --without-pairs --open-questions open.jsonl
    """
    from errata.commands.opening import open_base_answers, open_encoder
    from errata.gates.load import gate_folder
    from errata.gates.training.cross_encoder import CrossSettings
    from errata.gates.training.embedding import train_serac
    from errata.gates.training.train import Recipe, train

    _check_training(context, kind, loss, steps, start)
    if without_pairs:
        _check_clear(pairs, start)
    if threads:
        import torch

        torch.set_num_threads(threads)
    way: Any = loss
    cross = CrossSettings(way, seed=seed, steps=steps, batch=batch, rate=rate, every=every)
    recipe = Recipe(seed=seed, loss=way, cross=cross if steps else None)
    given: dict[str, Any] = {"pairs": pairs or (), "open_questions": open_questions,
                             "encoder": open_encoder(encoder), "recipe": recipe,
                             "progress": not as_json}  # fmt: skip
    trained: GateArtifact | EmbeddingGate
    if kind == "serac":
        trained = train_serac(out, **given)
    else:
        given |= {"start": start and gate_folder(start), "says": open_base_answers(model),
                  "background": background}  # fmt: skip
        trained = train(out, **given)
    if as_json:
        print_json({"out": str(out), "card": trained.card})
    else:
        print_line(
            f"{out}: trained in {trained.card['seconds']} s; card.json says on what, and how well"
        )


def _check_training(
    context: typer.Context, kind: str, loss: str, steps: int, start: str | None
) -> None:
    """Refuse options that contradict one another, before anything is loaded."""
    if kind not in ("classifier", "serac"):
        raise ErrataError(f"expected --kind classifier or serac, found {kind!r}")
    if loss not in ("bce", "nce"):
        raise ErrataError(f"expected --loss bce or nce, found {loss!r}")
    given = [name for name in _OF_TWO_STAGES if _given(context, name)]
    if kind == "serac" and given:
        raise ErrataError(
            f"expected {' and '.join(f'--{name}' for name in given)} with --kind classifier only: "
            "the published gate has one stage, a loss of its own and a threshold of one half, "
            f"found them with --kind {kind}; leave them out"
        )
    if start is not None and not steps:
        raise ErrataError(
            "expected --steps above 0 with --start, found 0; a start is for the cross-encoder"
        )


def _given(context: typer.Context, name: str) -> bool:
    return getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"


def _check_clear(pairs: list[Path] | None, start: str | None) -> None:
    """Refuse question pairs, and a start that has learned from some."""
    from errata.gates.artifact import GateArtifact
    from errata.gates.load import gate_folder

    if pairs:
        raise ErrataError("expected --pairs or --without-pairs, found both; leave one out")
    if start is None:
        return
    learned = GateArtifact.load(gate_folder(start)).card.get("pairs", "unknown")
    if learned != "none":
        raise ErrataError(
            f"{start}: expected a start trained without question pairs, as --without-pairs says, "
            f"found pairs: {learned} in its card; start from another gate, such as clear, or "
            "leave one of the two out"
        )
