"""``errata compare`` and ``errata report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands import opening
from errata.commands.options import AsJson, Encoder, Gate, Model, Reasoner
from errata.commands.output import console, reports_errors, say, say_json

if TYPE_CHECKING:
    from errata.compare.report.summary import Summary
    from errata.compare.run.runner import Runner


def _file(flag: str, text: str) -> Any:
    return typer.Option(flag, metavar="FILE", help=text)


Data = Annotated[Path, _file("--data", "Cases: atlas-bench, CounterFact, zsRE, … or patches.")]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Records; an interrupted run goes on.")
]
Backends = Annotated[
    str, typer.Option("--backends", help="Names, separated by commas; the first is the main.")
]
Format = Annotated[
    str | None, typer.Option("--format", help="Of the data, where it cannot be told.")
]
Cases = Annotated[int | None, typer.Option("--n", min=1, help="Cases a seed; by default all.")]
Mode = Annotated[
    str, typer.Option("--mode", help="single, batch, sequential; several with commas.")
]
Sizes = Annotated[str, typer.Option("--sizes", help="Edits in force together: numbers, or all.")]
Seeds = Annotated[str, typer.Option("--seed", help="Draws of cases, such as 0 or 0,1,2.")]
Open = Annotated[Path | None, _file("--open", "Questions no edit is about, for locality.")]
OpenCount = Annotated[
    int | None, typer.Option("--open-n", min=1, help="How many of them, over all seeds.")
]
Background = Annotated[Path | None, _file("--background", "More edits for the caches to hold.")]
Text = Annotated[Path | None, _file("--text", "For perplexity; by default the one beside FILE.")]
Options = Annotated[str, typer.Option("--options", help='Of backends: \'{"rome": {"layer": 5}}\'.')]
Controls = Annotated[
    bool, typer.Option("--controls/--no-controls", help="No edit, shuffled answers, …")
]
Tokens = Annotated[int, typer.Option("--tokens", min=1, help="Most tokens of an answer.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Questions in a batch.")]
Extras = Annotated[
    int, typer.Option("--extras", min=0, help="Cases of which latency and fluency are taken.")
]


@reports_errors
def compare(
    data: Data,
    out: Out,
    backends: Backends = "cache,rome,lora,ft",
    data_format: Format = None,
    model: Model = opening.ATLAS,
    n: Cases = None,
    mode: Mode = "single",
    sizes: Sizes = "1,10,100",
    seed: Seeds = "0",
    open_questions: Open = None,
    open_n: OpenCount = None,
    background: Background = None,
    text: Text = None,
    gate: Gate = None,
    reasoner: Reasoner = None,
    encoder: Encoder = None,
    options: Options = "{}",
    controls: Controls = True,
    tokens: Tokens = 24,
    batch: Batch = 64,
    extras: Extras = 20,
    as_json: AsJson = False,
) -> None:
    """Compare ways of editing a model: the same edits, questions and batches for each.

    Answers are generated freely; every case is a line in OUT/records.jsonl, and `errata report`
    makes everything else of them. Other backends, modes and sizes can join a run later.

    Examples:
        errata compare --data atlas-bench.jsonl --n 50 --out runs/first

        errata compare --backends cache,rome,ft --data counterfact.json --model gpt2-xl --mode
        batch,sequential --sizes 1,10,100 --seed 0,1,2 --out runs/gpt2-xl
    """
    from errata.compare.run.backend_names import check_names, with_controls
    from errata.compare.run.settings import Settings, text_beside
    from errata.pipelines import serac

    beside = text_beside(data)
    chosen = tuple(name.strip() for name in backends.split(",") if name.strip())
    check_names(chosen)
    settings = Settings(
        backends=with_controls(chosen) if controls else chosen, data=data, format=data_format,
        model=model, n=n, seeds=_numbers(seed, "--seed"), modes=_words(mode), sizes=_sizes(sizes),
        new_tokens=tokens, batch=batch, open=open_questions, open_n=open_n, background=background,
        text=text or (beside if beside.is_file() else None), gate=gate, reasoner=reasoner,
        encoder=encoder, options=_options(options), extras=extras,
    )  # fmt: skip
    if serac.NAME in settings.backends:
        serac.check_trained(settings.options.get(serac.NAME, {}), model)
    runner = _opened(settings, out)
    try:
        _run(runner, quiet=as_json)
    finally:
        runner.workshop.close()
    _show(out, as_json=as_json)


@reports_errors
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="The folder that compare wrote; with --document, others beside it."
        ),
    ],
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="By default RUN/report.html.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="By default RUN/report.md.")
    ] = None,
    document: Annotated[
        Path | None,
        typer.Option("--document", metavar="FILE", help="The comparison in words and figures."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every estimate as CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the report of a comparison from its records: no model and no data are needed.

    Examples:
        errata report runs/first

        errata report runs/first --csv > runs/first.csv

        errata report runs/200 runs/10000 --document docs/comparison.md
    """
    from errata.compare.report import page as pages
    from errata.compare.report.summary import summarise
    from errata.compare.run.records import Run

    run, *others = runs
    if others and document is None:
        raise typer.BadParameter("expected one run, or --document FILE; found several runs")
    summary = summarise(Run(run))
    if document is not None:
        from errata.compare.report.document import write_document

        write_document(summary, document, [summarise(Run(other)) for other in others])
    elif as_csv:
        typer.echo(pages.as_csv(summary), nl=False)
    elif as_json:
        say_json(summary.to_json())
    else:
        _write(summary, page or run / "report.html", markdown or run / "report.md")
    if summary.void:
        raise typer.Exit(1)


def _opened(settings: Any, out: Path) -> Runner:
    """Return the runner of a run, begun or gone on with."""
    from errata.compare.inputs.load import (
        own_parts,
        parts_of,
        read_background,
        read_material,
        split_of,
    )
    from errata.compare.run.backend_names import Workshop
    from errata.compare.run.records import Run
    from errata.compare.run.runner import Runner

    with console(stderr=True).status("reading the cases"):
        material = read_material(settings)
        background = read_background(settings.background)
    model = opening.open_model(
        settings.model, None, None, settings.encoder, settings.gate, settings.reasoner
    )
    workshop = Workshop(model, background)
    for name in settings.backends:  # what is missing for one is told before hours of the others
        workshop.contender(name, settings.options.get(name, {}))
    run = Run(out)
    joining = {name: settings.options.get(name, {}) for name in settings.backends}
    shared = {**parts_of(model, background), **split_of(material)}
    run.begin(settings.protocol(shared), joining, own_parts(workshop, settings))
    return Runner(settings, workshop, material, run)


def _run(runner: Runner, *, quiet: bool) -> None:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("comparing", total=runner.left())
        runner.run(lambda name: progress.update(task, advance=1, description=name))


def _show(out: Path, *, as_json: bool) -> None:
    from errata.cache.errors import MissingExtra
    from errata.compare.report.summary import summarise
    from errata.compare.run.records import Run

    summary = summarise(Run(out))
    if as_json:
        say_json(summary.to_json())
        return
    try:
        _write(summary, out / "report.html", out / "report.md")
    except MissingExtra as error:
        say(f"{error}; then: errata report {out}", stderr=True)


def _write(summary: Summary, page: Path, markdown: Path) -> None:
    from errata.cache.storage.atomic import write_atomically
    from errata.compare.report import page as pages
    from errata.compare.report.charts import charts
    from errata.compare.report.headline import sentence

    made = pages.page(summary, charts(summary))
    write_atomically(page, made.encode())
    write_atomically(markdown, pages.markdown(summary).encode())
    say(sentence(summary))
    table = pages.terminal(summary.blocks[0])
    if table is not None:
        say(table.markdown())
    say(f"{page}, {markdown}")


def _words(given: str) -> Any:
    return tuple(word.strip() for word in given.split(",") if word.strip())


def _numbers(given: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(given))
    except ValueError as error:
        raise typer.BadParameter(f"expected whole numbers, found {given!r}", param_hint=option) \
            from error  # fmt: skip


def _sizes(given: str) -> tuple[int, ...]:
    """Return numbers of edits; ``all`` is more than any file holds."""
    everything = str(10**9)
    return _numbers(given.replace("all", everything), "--sizes")


def _options(given: str) -> dict[str, Any]:
    try:
        found = json.loads(given)
    except ValueError as error:
        raise typer.BadParameter(f"expected JSON, found {given!r}", param_hint="--options") \
            from error  # fmt: skip
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise typer.BadParameter(
            f'expected {{"backend": {{"option": value}}}}, found {given!r}', param_hint="--options"
        )
    return found
