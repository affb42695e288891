"""``errata locate``: which layer and settings an editor should take for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands import opening
from errata.commands.bake import STATISTICS, Dataset, Statistics, Text, corpus_texts
from errata.commands.options import AsJson, Model, Patches, patches_folder
from errata.commands.output import console, print_json, print_line, reports_errors
from errata.commands.progress import progress, working

if TYPE_CHECKING:
    from errata.cache.records import Fact
    from errata.editors.locate import LocateResult, Trial


Backend = Annotated[
    str,
    typer.Option("--backend", help="The editor: rome, memit, alphaedit, ultraedit, grace, wise."),
]
Clamps = Annotated[
    list[float] | None,
    typer.Option(
        "--clamp",
        help="Try this clamp_norm_factor (of ultraedit and wise: learning_rate; of grace: radius), "
        "not the configured one (may be repeated).",
    ),
]


@reports_errors
def locate(
    model: Model = opening.ATLAS,
    backend: Backend = "rome",
    patches: Patches = None,
    facts: Annotated[
        int, typer.Option("--facts", min=1, help="How many of the patches' facts to try.")
    ] = 10,
    layer: Annotated[
        list[int] | None,
        typer.Option("--layer", help="Try only this layer, from 0 (may be repeated)."),
    ] = None,
    clamp: Clamps = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=2, help="Steps of the search for a value.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="PNG", help="Draw the figures (needs errata\\[plots])."),
    ] = None,
    text: Text = None,
    dataset: Dataset = None,
    statistics: Statistics = STATISTICS,
    as_json: AsJson = False,
) -> None:
    """Find the layer and settings with which an editor works best; the model is not changed.

    Traces where the model's answers come from (causal tracing), then makes
    trial edits at every layer with facts of the patches, and scores them by
    the patches' tests: `fires` as paraphrases, `silent` as neighbours.
    Minutes for a small model, hours for a large one on a CPU.

    Examples:
        errata locate --facts 5 --plot atlas.png

        errata locate --model Qwen/Qwen2.5-0.5B --text corpus.txt --clamp 4 --clamp 16 --json
    """
    from errata.editors.locate import LocateResult, cases_of, traced
    from errata.editors.locate import plot as draw
    from errata.models.load import load_base
    from errata.registry import load

    facts_of_patches = _facts(patches_folder(patches, model))
    with working("loading the model"):
        base, tokenizer = load_base(model)
    if plot is not None:
        _needs_matplotlib()
    options: dict[str, Any] = {"backend": backend}
    if load("errata.editors", backend).capabilities.needs_text:
        options |= {"folder": statistics, "text": corpus_texts(text, dataset)}
    if steps is not None:
        options["steps"] = steps
    with working("asking the model, and tracing its answers"):
        cases = cases_of(base, tokenizer, facts_of_patches)[:facts]
        found = traced(base, tokenizer, cases)
    result = LocateResult(found, _trials(base, tokenizer, cases, layer, clamp, options))
    if plot is not None:
        draw(result, plot)
    _show(result, plot, backend, as_json=as_json)


def _facts(folder: Path) -> list[Fact]:
    from errata.cache.patches.files import load_folder
    from errata.cache.records import Fact

    return [edit for edit in load_folder(folder) if isinstance(edit, Fact)]


def _needs_matplotlib() -> None:
    """Raise before minutes of work if the plot cannot be drawn."""
    import importlib.util

    from errata.cache.errors import MissingExtra

    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtra(
            "expected the package `matplotlib` for --plot, found none; install errata[plots], or "
            "leave out --plot"
        )


def _trials(
    model: Any,
    tokenizer: Any,
    cases: Sequence[Any],
    layers: Sequence[int] | None,
    clamps: Sequence[float] | None,
    options: dict[str, Any],
) -> tuple[Trial, ...]:
    from errata.editors.locate import trials
    from errata.module_paths import module_paths_of

    count = len(layers or range(module_paths_of(model).layers)) * len(clamps or [0])
    found = []
    with progress("trial edits", count) as advance:
        for trial in trials(model, tokenizer, cases, layers=layers, clamps=clamps, **options):
            found.append(trial)
            advance()
    return tuple(found)


def _as_json(result: LocateResult, plot: Path | None) -> dict[str, Any]:
    return {
        "best": {"layer": result.best.layer, "clamp": result.best.clamp},
        "trials": [{**asdict(trial), "score": trial.score} for trial in result.trials],
        "tracing": asdict(result.traced),
        "plot": None if plot is None else str(plot),
    }


def _show(result: LocateResult, plot: Path | None, backend: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(result, plot))
        return
    from rich.table import Table

    from errata.editors.locate import SWEPT

    table = Table(
        "layer", "clamp", "restored: block", "feed-forward", "search (nats)", "efficacy",
        "generality", "locality", "score",
    )  # fmt: skip
    for trial in result.trials:
        shares = (trial.efficacy, trial.generality, trial.locality, trial.score)
        table.add_row(
            str(trial.layer), f"{trial.clamp:g}", f"{result.traced.block[trial.layer]:.3f}",
            f"{result.traced.mlp[trial.layer]:.3f}", f"{trial.nll:.2f}",
            *("" if share is None else f"{share:.2f}" for share in shares),
            style="bold" if trial == result.best else None,
        )  # fmt: skip
    console().print(table)
    print_line(
        f"answers: probability {result.traced.clean:.3f}, with the subject corrupted "
        f"{result.traced.corrupted:.3f}; {result.trials[0].facts} facts"
    )
    best = result.best
    where, swept = SWEPT[backend]
    layer = best.layer if where == "layer" else (best.layer,)
    print_line(f'best: model.using("{backend}", {where}={layer}, {swept}={best.clamp:g})')
    if plot is not None:
        print_line(f"plot: {plot}")
