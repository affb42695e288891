"""``errata gate eval``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands.options import AsJson, Encoder
from errata.commands.output import console, print_json, print_line, reports_errors

if TYPE_CHECKING:
    from errata.gates.base import Gate
    from errata.gates.evaluation.evaluate import Setting
    from errata.gates.evaluation.judge import Progress
    from errata.gates.evaluation.report import Report


def _file(flag: str, text: str) -> Any:
    return typer.Option(flag, metavar="FILE", help=text)


Gates = Annotated[
    str, typer.Option("--gate", metavar="NAMES", help="Names or folders, comma-separated; cosine.")
]
Pairs = Annotated[Path | None, _file("--pairs", "Labelled question pairs, .jsonl or .gz.")]
Open = Annotated[Path | None, _file("--open", "Questions out of any scope, .jsonl or .gz.")]
Background = Annotated[
    Path | None, _file("--background", "Facts to fill a cache with, .jsonl or .gz.")
]
Sizes = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,…", help="Facts in the cache; by default 1, n and, with --background, 10000."
    ),
]
MOST_PAIRS = 4000
Without = Annotated[
    str | None, typer.Option(metavar="PARTS", help="Measure each gate without these parts, too.")
]
Plots = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Draw PNG files (needs the extra plots).")
]
Model = Annotated[
    str | None, typer.Option("--model", help="Base model asked in doubt, such as atlas; else none.")
]
Document = Annotated[Path | None, _file("--document", "Write the tables there, as Markdown.")]


@reports_errors
def eval_gate(
    gate: Gates = "default,cosine",
    pairs: Pairs = None,
    open_questions: Open = None,
    background: Background = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Test facts asked about.")] = 200,
    cache_sizes: Sizes = None,
    without: Without = None,
    most_pairs: Annotated[int, typer.Option(min=2, help="Question pairs, at most.")] = MOST_PAIRS,
    seed: Annotated[int, typer.Option("--seed", help="Of everything drawn.")] = 0,
    plots: Plots = None,
    document: Document = None,
    encoder: Encoder = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Measure gates side by side: test subjects, held-out phrasings, test halves of the files.

    Examples:
        errata gate eval

        errata gate eval --gate default,runs/gate,cosine --pairs pairs.jsonl --plots runs/plots

        errata gate eval --gate clear --model atlas
    """
    from errata.commands.opening import open_base_answers, open_encoder
    from errata.gates.embedding_cache import EmbeddingCache
    from errata.gates.evaluation.evaluate import draw_trials, evaluate
    from errata.gates.evaluation.plots import need_matplotlib

    if plots is not None:
        need_matplotlib()
    files = {"pairs": pairs, "open": open_questions, "background": background}
    setting = _setting(files, n, _sizes(cache_sizes, n, background), most_pairs, seed)
    remembered = EmbeddingCache(open_encoder(encoder), None)
    gates = dict(_gates(gate, without, remembered))
    trials = draw_trials(setting)
    says = open_base_answers(model)
    reports = []
    for name, one in gates.items():
        with _progress(name, shown=not as_json) as progress:
            reports.append(evaluate(name, one, remembered, setting, trials, progress, says))
    told = _told(files, setting, remembered.fingerprint) | _trained(gates)
    else_ = {
        "most-pairs": None if most_pairs == MOST_PAIRS else str(most_pairs),
        "encoder": encoder and Path(encoder).name,
        "model": model and Path(model).name,
    }
    command = _command(gate, without, files, setting, else_)
    written = _write(reports, told, command, plots, document)
    if as_json:
        from errata.gates.evaluation.report import as_json as report_json

        print_json(report_json(reports, told))
        return
    _show(reports)
    for path in written:
        print_line(f"wrote {path}", style="dim", stderr=True)


def _write(
    reports: Sequence[Report],
    told: dict[str, Any],
    command: str,
    plots: Path | None,
    document: Path | None,
) -> list[Path]:
    """Draw and write what was asked for; return the files."""
    from errata.cache.storage.atomic import write_atomically
    from errata.gates.evaluation.plots import draw
    from errata.gates.evaluation.report import markdown

    written = [] if plots is None else draw(reports, plots)
    if document is not None:
        write_atomically(document, markdown(reports, told, command).encode())
        written.append(document)
    return written


def _sizes(given: str | None, n: int, background: Path | None) -> tuple[int, ...]:
    from errata.cache.errors import ErrataError

    if given is None:
        return (1, n, 10_000) if background is not None else (1, n)
    sizes = [text.strip() for text in given.split(",")]
    if not all(text.isdecimal() and int(text) > 0 for text in sizes):
        raise ErrataError(
            f"expected --cache-sizes as numbers above 0 with commas between, such as 1,200, "
            f"found {given!r}"
        )
    return tuple(dict.fromkeys(int(text) for text in sizes))


def _setting(
    files: dict[str, Path | None], n: int, sizes: tuple[int, ...], most_pairs: int, seed: int
) -> Setting:
    """Return what is measured, from the test halves of the files."""
    import random

    from errata.gates.data.distractors import read_background
    from errata.gates.data.pairs import open_split, read_open_questions, read_pairs, split_pairs
    from errata.gates.evaluation.evaluate import Setting

    rng = random.Random(f"pairs {seed}")
    split = split_pairs(read_pairs(files["pairs"])) if files["pairs"] else {}
    test, tune = split.get("test", []), split.get("tune", [])
    questions = read_open_questions(files["open"]) if files["open"] else []
    return Setting(
        pairs=tuple(rng.sample(test, min(len(test), most_pairs))),
        tune_pairs=tuple(rng.sample(tune, min(len(tune), most_pairs // 2))),
        open_questions=tuple(text for text in questions if open_split(text) == "test"),
        background=tuple(read_background(files["background"])) if files["background"] else (),
        facts=n,
        sizes=sizes,
        seed=seed,
    )


def _gates(given: str, without: str | None, encoder: Any) -> Iterator[tuple[str, Gate]]:
    """Yield names and gates; each also without the parts named."""
    from errata.gates.evaluation.registry import measured_gate, without_part

    for name in dict.fromkeys(text.strip() for text in given.split(",") if text.strip()):
        gate = measured_gate(name, encoder)
        yield name, gate
        for part in [] if without is None else without.split(","):
            if name != "cosine":
                yield f"{name} without {part.strip()}", without_part(name, gate, part.strip())


def _command(
    gate: str,
    without: str | None,
    files: dict[str, Path | None],
    setting: Setting,
    else_: dict[str, str | None],
) -> str:
    """Return the command that makes the document again, of files their names only."""
    names = ",".join(Path(name).name for name in gate.split(","))
    words = ["errata", "gate", "eval", "--gate", names]
    words += ["--without", without] if without is not None else []
    for name, path in files.items():
        words += [f"--{name}", path.name] if path is not None else []
    sizes = ",".join(map(str, setting.sizes))
    words += ["--n", str(setting.facts), "--cache-sizes", sizes, "--seed", str(setting.seed)]
    for name, said in else_.items():
        words += [f"--{name}", said] if said is not None else []
    return shlex.join(words)


def _told(files: dict[str, Path | None], setting: Setting, fingerprint: str) -> dict[str, Any]:
    """Return what figures were measured with: enough to have them again."""
    from errata.gates.data.splits import sha256_of

    return {
        "files": {
            name: {"file": path.name, "sha256": sha256_of(path)}
            for name, path in files.items()
            if path is not None
        },
        "question pairs": len(setting.pairs),
        "open questions": len(setting.open_questions),
        "facts asked about": setting.facts,
        "facts in the cache": list(setting.sizes),
        "split": "SHA-256 of a connected component's smallest question modulo 10 is 0; of an open "
        "question 0 to 4; subjects as in the facts table",
        "seed": setting.seed,
        "encoder": fingerprint,
    }


@contextmanager
def _progress(name: str, *, shown: bool) -> Iterator[Progress]:
    """Show how far the evaluation of one gate is, on the error stream."""
    from errata.gates.evaluation.judge import no_progress

    if not shown:
        yield no_progress
        return
    from rich.progress import Progress as Bars

    with Bars(console=console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(suite: str, done: int, total: int, /) -> None:
            if suite not in tasks:
                tasks[suite] = bars.add_task(f"{name}: {suite}", total=total)
            bars.update(tasks[suite], completed=done)

        yield show


def _show(reports: Sequence[Report]) -> None:
    from rich.table import Table
    from rich.text import Text

    from errata.gates.evaluation.report import kind_lines, lines

    names = [report.gate for report in reports]
    table = Table("what", "aim", *names, title="Test subjects, 95% intervals")
    for what, aim, cells in lines(reports):
        found = [report.row(what) for report in reports]
        styles = ["red" if row is not None and row.met is False else "" for row in found]
        table.add_row(what, aim, *(Text(c, style=s) for c, s in zip(cells, styles, strict=True)))
    console().print(table)
    kinds = Table("among", "right is", "kind", *names, title="Share on which something fires")
    for group, label, kind, cells in kind_lines(reports):
        kinds.add_row(group, label, kind, *cells)
    console().print(kinds)


def _trained(gates: Mapping[str, Gate]) -> dict[str, Any]:
    """Return how the cross-encoders were trained, of gates whose cards say so."""
    from errata.gates.classifier import ScopeClassifier

    whole = {name: gate for name, gate in gates.items() if " without " not in name}
    cards = {n: one.artifact.card for n, one in whole.items() if isinstance(one, ScopeClassifier)}
    told = {
        name: {"loss": cross.get("loss"), "steps": cross.get("steps taken")}
        for name, card in cards.items()
        if (cross := card.get("cross-encoder")) is not None
    }
    return {"cross-encoders": told} if told else {}
