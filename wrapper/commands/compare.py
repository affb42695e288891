"""``errata compare`` and ``errata report``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands import opening
from errata.commands.config import Config, on_command_line, read_config, read_settings
from errata.commands.options import AsJson, Model
from errata.commands.output import print_json, print_line, reports_errors
from errata.commands.progress import progress, working

if TYPE_CHECKING:
    from errata.compare.report.summary import Summary
    from errata.compare.run.decisions import DecisionRunner
    from errata.compare.run.runner import Runner
    from errata.compare.run.settings import Settings

_MOVED = {
    "data_format": "format", "mode": "modes", "sizes": "sizes", "seed": "seeds",
    "open_questions": "open_questions", "open_n": "n_open_questions", "background": "background",
    "text": "text", "gate": "gate", "reasoner": "reasoner", "encoder": "encoder",
    "options": "options", "controls": "controls", "tokens": "max_new_tokens",
    "batch": "batch_size", "extras": "latency_cases",
}  # fmt: skip
"""Options of version 0.1, and the key of ``--config`` that each has become."""


def _moved(*flags: str) -> Any:
    return typer.Option(*flags, hidden=True)


Data = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FILE", help="Cases: atlas-bench, CounterFact, zsRE, … or patches."
    ),
]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Records; an interrupted run goes on.")
]
Backends = Annotated[
    str, typer.Option("--backends", help="Names, separated by commas; the first is the main.")
]
Cases = Annotated[int | None, typer.Option("--n", min=1, help="Cases a seed; by default all.")]
Seeds = Annotated[str, typer.Option("--seeds", help="Draws of cases, such as 0 or 0,1,2.")]
Ablate = Annotated[
    bool, typer.Option("--ablate", help="Compare the cache with itself without resolvers.")
]


@reports_errors
def compare(
    context: typer.Context,
    out: Out,
    data: Data = None,
    backends: Backends = "cache,rome,lora,ft",
    model: Model = opening.ATLAS,
    n: Cases = None,
    seeds: Seeds = "0",
    config: Config = None,
    ablate: Ablate = False,
    as_json: AsJson = False,
    data_format: Annotated[str | None, _moved("--format")] = None,
    mode: Annotated[str, _moved("--mode")] = "",
    sizes: Annotated[str, _moved("--sizes")] = "",
    seed: Annotated[str, _moved("--seed")] = "",
    open_questions: Annotated[Path | None, _moved("--open")] = None,
    open_n: Annotated[int | None, _moved("--open-n")] = None,
    background: Annotated[Path | None, _moved("--background")] = None,
    text: Annotated[Path | None, _moved("--text")] = None,
    gate: Annotated[str | None, _moved("--gate")] = None,
    reasoner: Annotated[str | None, _moved("--reasoner")] = None,
    encoder: Annotated[str | None, _moved("--encoder")] = None,
    options: Annotated[str, _moved("--options")] = "",
    controls: Annotated[bool, _moved("--controls/--no-controls")] = True,
    tokens: Annotated[int, _moved("--tokens")] = 0,
    batch: Annotated[int, _moved("--batch")] = 0,
    extras: Annotated[int, _moved("--extras")] = 0,
) -> None:
    """Compare ways of editing a model: the same edits, questions and batches for each.

    Answers are generated freely; every case is a line in OUT/records.jsonl,
    and `errata report` makes everything else of them. Other backends, modes
    and sizes can join a run later.

    A file of --config has any of these keys: data, backends, controls,
    options, format, model, gate, reasoner, resolvers, encoder, n, split, seeds,
    modes, sizes, open_questions, n_open_questions, background, text,
    max_new_tokens, batch_size, latency_cases. docs/compare.md has an example.

    --ablate shows what each resolver is worth: all on, each one off, all off.
    With question pairs, JSON lines {"a", "b", "same"}, a is edited and b is
    asked, and only what fires is measured.

    Examples:
        errata compare --data atlas-bench.jsonl --n 50 --out runs/first

        errata compare --ablate --data pairs.jsonl --out runs/ablation

        errata compare --config gpt2-xl.yaml --seeds 0,1,2 --out runs/gpt2-xl
    """
    settings = _settings(config, on_command_line(context, _MOVED), ablate=ablate)
    runner = _open_runner(settings, out)
    try:
        _run(runner)
    finally:
        runner.factory.close()
    _show(out, as_json=as_json)


@reports_errors
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="The folder that compare wrote; with --document, several."
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
    backends: Annotated[
        str,
        typer.Option("--backends", help="With --document: named in it, measured or not."),
    ] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print every estimate as CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the report of a comparison from its records: no model and no data are needed.

    Examples:
        errata report runs/first

        errata report runs/first --csv > runs/first.csv

        errata report runs/200 runs/10000 --document results/comparison.md

        errata report runs/pairs runs/tune --document results/ablation.md
    """
    from errata.compare.report import tables
    from errata.compare.report.summary import summarise
    from errata.compare.run.records import Run

    run, *others = runs
    if others and document is None:
        raise typer.BadParameter("expected one run, or --document FILE; found several runs")
    summary = summarise(Run(run))
    if document is not None:
        summaries = [summary, *(summarise(Run(other)) for other in others)]
        _write_document(summaries, document, _words(backends))
    elif as_csv:
        typer.echo(tables.as_csv(summary), nl=False)
    elif as_json:
        print_json(summary.to_json())
    else:
        _write(summary, page or run / "report.html", markdown or run / "report.md")
    if summary.void:
        raise typer.Exit(1)


def _write_document(summaries: Sequence[Summary], path: Path, backends: Sequence[str]) -> None:
    """Write the document of a comparison, or of ablations."""
    from errata.compare.report.ablation import write_ablation
    from errata.compare.report.document import write_document

    if all(block.ablations for summary in summaries for block in summary.blocks):
        write_ablation(summaries, path)
    else:
        write_document(summaries[0], path, summaries[1:], backends)


def _settings(config: Path | None, options: dict[str, Any], *, ablate: bool) -> Settings:
    """Return the settings of the config file, overridden by options of the command line.

    :param ablate: take the backends of an ablation, without controls.
    :raises errata.cache.errors.ErrataError: a backend is unknown, or has to be trained first.
    """
    from errata.compare.inputs.data import held_out_text_path
    from errata.compare.run.backend_names import ablation, check_names
    from errata.compare.run.settings import Settings
    from errata.pipelines import serac

    parsers: dict[str, Callable[[str], Any]] = {
        "backends": _words, "modes": _words, "seeds": _numbers, "sizes": _sizes,
        "options": _backend_options,
    }  # fmt: skip
    keys = [field.name for field in dataclasses.fields(Settings)]
    given = {
        key: parsers[key](value) if key in parsers else value
        for key, value in options.items()
        if key in keys
    }
    if ablate:
        if "backends" in given:
            raise typer.BadParameter("expected --backends or --ablate, found both; leave one out")
        given |= {"backends": ablation(), "controls": False}
    if "data" not in (given if config is None else {**read_config(config, keys), **given}):
        raise typer.BadParameter("expected --data FILE, or `data: FILE` in the file of --config")
    settings = read_settings(Settings, config, given)
    check_names(settings.backends)
    if serac.NAME in settings.all_backends:
        serac.check_trained(settings.options.get(serac.NAME, {}), settings.model)
    text = held_out_text_path(settings.data)
    if settings.text is None and text.is_file():
        settings = dataclasses.replace(settings, text=text)
    return settings


def _open_runner(settings: Settings, out: Path) -> Runner | DecisionRunner:
    """Return the runner of a new run, or of one to be continued."""
    from errata.compare.inputs.data import load_data, read_background, splits_of
    from errata.compare.run.backend_factory import BackendFactory
    from errata.compare.run.decisions import DecisionRunner
    from errata.compare.run.fingerprints import backend_fingerprints, shared_fingerprints
    from errata.compare.run.records import Run
    from errata.compare.run.runner import Runner

    with working("reading the cases"):
        data = load_data(
            settings.data, settings.seeds, file_format=settings.format, n=settings.n,
            split=settings.split, open_questions=settings.open_questions,
            n_open_questions=settings.n_open_questions, text=settings.text,
        )  # fmt: skip
        background = read_background(settings.background)
    model = opening.open_model(
        settings.model, None, None, settings.encoder, settings.gate, settings.reasoner,
        resolvers=settings.resolvers,
    )  # fmt: skip
    factory = BackendFactory(model, background)
    joining = {name: settings.options.get(name, {}) for name in settings.all_backends}
    for name, options in joining.items():  # all of them, so that errors come before the first run
        factory.create(name, options)
    run = Run(out)
    shared = {**shared_fingerprints(model, background), **splits_of(data)}
    run.begin(settings.protocol(shared), joining, backend_fingerprints(factory, settings))
    runner = DecisionRunner if data.decisions_only else Runner
    return runner(settings, factory, data, run)


def _run(runner: Runner | DecisionRunner) -> None:
    with progress("comparing", runner.remaining()) as advance:
        runner.run(lambda name: advance(1, name))


def _show(out: Path, *, as_json: bool) -> None:
    from errata.cache.errors import MissingExtra
    from errata.compare.report.summary import summarise
    from errata.compare.run.records import Run

    summary = summarise(Run(out))
    if as_json:
        print_json(summary.to_json())
        return
    try:
        _write(summary, out / "report.html", out / "report.md")
    except MissingExtra as error:
        print_line(f"{error}; then: errata report {out}", stderr=True)


def _write(summary: Summary, page: Path, markdown_page: Path) -> None:
    from errata.cache.storage.atomic import write_atomically
    from errata.compare.report.charts import charts
    from errata.compare.report.headline import headline
    from errata.compare.report.html_page import html_page
    from errata.compare.report.markdown import markdown
    from errata.compare.report.tables import ablation_table, properties_table

    write_atomically(page, html_page(summary, charts(summary)).encode())
    write_atomically(markdown_page, markdown(summary).encode())
    print_line(headline(summary))
    block = summary.blocks[0]
    table = ablation_table(block) or properties_table(block)
    if table is not None:
        print_line(table.markdown())
    print_line(f"{page}, {markdown_page}")


def _words(given: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in given.split(",") if word.strip())


def _numbers(given: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(given))
    except ValueError as error:
        raise typer.BadParameter(f"expected whole numbers, found {given!r}") from error


def _sizes(given: str) -> tuple[Any, ...]:
    """Return numbers of edits, or ``all``."""
    return tuple(each if each == "all" else _numbers(each)[0] for each in _words(given))


def _backend_options(given: str) -> dict[str, Any]:
    try:
        found = json.loads(given)
    except ValueError as error:
        raise typer.BadParameter(f"--options: expected JSON, found {given!r}") from error
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise typer.BadParameter(
            f'--options: expected {{"backend": {{"option": value}}}}, found {given!r}'
        )
    return found
