"""``errata gate eval``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands.config import Config, on_command_line, read_settings
from errata.commands.options import AsJson
from errata.commands.output import console, print_json, print_line, reports_errors

if TYPE_CHECKING:
    from errata.gates.base import Gate
    from errata.gates.evaluation.evaluate import EvaluationConfig
    from errata.gates.evaluation.judge import Progress
    from errata.gates.evaluation.report import Report


@dataclass(frozen=True, slots=True)
class EvalSettings:
    """Settings of ``errata gate eval``, the keys of its ``--config``.

    :param gate: names or folders, separated by commas; ``cosine`` is the control.
    :param pairs: labelled question pairs, JSON lines a, b, same; may be gzipped.
    :param open_questions: questions out of any scope, JSON lines; may be gzipped.
    :param background: facts (relation, subject, object) to fill a cache with.
    :param n: test facts that queries are about.
    :param cache_sizes: facts in the cache, numbers or a text with commas; by default 1, n and, with
        background, 10000.
    :param without: parts, separated by commas, that each gate is also measured without.
    :param max_pairs: question pairs, at most.
    :param seed: of everything drawn.
    :param plots: folder to draw PNG files in (needs the extra ``plots``).
    :param document: file to write the tables to, as Markdown.
    :param encoder: a sentence encoder, by path or hub id; by default the packaged one.
    :param base_model: a base model to consult when a gate is uncertain, such as atlas.
    :param outside: a folder of other people's words (``errata.gates.data.outside``), which are
        measured in place of test subjects.
    :param records: the folder that ``errata trex-bench`` wrote.
    :param suites: with ``outside``, only suites of these names or beginnings, in this order.
    :param sizes: with ``outside``, fields of
        :class:`errata.gates.evaluation.outside.config.OutsideConfig` to change.
    :param resolvers: with ``outside``, whether the default pipeline's resolvers take part; needs
        ``base_model``.
    :param before: with ``outside``, the record (JSON) of an earlier run, shown beside.
    :param encodings: with ``outside``, an SQLite file that keeps encodings in other languages.
    """

    gate: str = "default,cosine"
    pairs: Path | None = None
    open_questions: Path | None = None
    background: Path | None = None
    n: int = 200
    cache_sizes: str | tuple[int, ...] | None = None
    without: str | None = None
    max_pairs: int = 4000
    seed: int = 0
    plots: Path | None = None
    document: Path | None = None
    encoder: str | None = None
    base_model: str | None = None
    outside: Path | None = None
    records: Path | None = None
    suites: tuple[str, ...] = ()
    sizes: dict[str, Any] = field(default_factory=dict)
    resolvers: bool = False
    before: Path | None = None
    encodings: Path | None = None


DEFAULT = EvalSettings()
MOVED = {
    "open_questions": "open_questions", "background": "background", "cache_sizes": "cache_sizes",
    "most_pairs": "max_pairs", "seed": "seed", "encoder": "encoder", "model": "base_model",
}  # fmt: skip
"""Options of version 0.1 and the keys of ``--config`` that replace them."""


def _file(flag: str, text: str) -> Any:
    return typer.Option(flag, metavar="FILE", help=text)


Gates = Annotated[
    str, typer.Option("--gate", metavar="NAMES", help="Names or folders, comma-separated; cosine.")
]
Pairs = Annotated[Path | None, _file("--pairs", "Labelled question pairs, .jsonl or .gz.")]
Count = Annotated[int, typer.Option("--n", min=1, help="Test facts that queries are about.")]
Without = Annotated[
    str | None, typer.Option(metavar="PARTS", help="Measure each gate without these parts, too.")
]
Plots = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Draw PNG files (needs the extra plots).")
]
Document = Annotated[Path | None, _file("--document", "Write the tables there, as Markdown.")]
Outside = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Other people's words, in place of test subjects."),
]
_HIDDEN = typer.Option(hidden=True)


@reports_errors
def eval_gate(
    context: typer.Context,
    gate: Gates = DEFAULT.gate,
    config: Config = None,
    pairs: Pairs = None,
    n: Count = DEFAULT.n,
    without: Without = None,
    plots: Plots = None,
    document: Document = None,
    outside: Outside = None,
    as_json: AsJson = False,
    open_questions: Annotated[Path | None, typer.Option("--open", hidden=True)] = None,
    background: Annotated[Path | None, _HIDDEN] = None,
    cache_sizes: Annotated[str | None, _HIDDEN] = None,
    most_pairs: Annotated[int, _HIDDEN] = DEFAULT.max_pairs,
    seed: Annotated[int, _HIDDEN] = DEFAULT.seed,
    encoder: Annotated[str | None, _HIDDEN] = None,
    model: Annotated[str | None, _HIDDEN] = None,
) -> None:
    """Measure gates side by side: test subjects, held-out phrasings, test halves of the files.

    With --outside, on other people's words: a folder with some of
    intents.jsonl.gz, question_clusters, question_pairs, medical_pairs,
    sentence_pairs, paragraph_answers, open_questions, trex_facts. --document
    FILE.md also writes FILE.json, from which an interrupted run goes on.

    Keys of --config: gate, pairs, open_questions, background, n, cache_sizes,
    without, max_pairs, seed, plots, document, encoder, base_model, outside,
    records (the folder of `errata trex-bench`), suites (a list of names or
    beginnings), sizes (such as `rows: 100`), resolvers, before (the JSON of an
    earlier run), encodings (a file that keeps those of other languages).

    Examples:
        errata gate eval

        errata gate eval --gate default,runs/gate,cosine --pairs pairs.jsonl --plots runs/plots

        errata gate eval --gate clear --config eval.yaml

        errata gate eval --gate clear --outside data/ --document outside.md
    """
    options = on_command_line(context, MOVED, without=("config", "as_json"))
    settings = read_settings(EvalSettings, config, options)
    if settings.outside is not None:
        from errata.commands.gate_outside import evaluate_outside

        evaluate_outside(settings, outside_command(settings, config), as_json=as_json)
        return
    reports, protocol = _evaluate(settings, shown=not as_json)
    name = "config.yaml" if config is None else config.name
    written = _write(reports, protocol, _command(settings, protocol, name), settings)
    if as_json:
        from errata.gates.evaluation.report import as_json as report_json

        print_json(report_json(reports, protocol))
        return
    _show(reports)
    for path in written:
        print_line(f"wrote {path}", style="dim", stderr=True)


def _evaluate(settings: EvalSettings, *, shown: bool) -> tuple[list[Report], dict[str, Any]]:
    """Return a report for each gate, and the protocol of the evaluation."""
    from errata.cache.encoder import EmbeddingCache
    from errata.commands.opening import open_base_answers, open_encoder
    from errata.gates.evaluation.evaluate import draw_trials, evaluate
    from errata.gates.evaluation.plots import require_matplotlib

    if settings.plots is not None:
        require_matplotlib()
    setting = _evaluation_config(settings)
    encoder = EmbeddingCache(open_encoder(settings.encoder, english_only=True), None)
    gates = dict(_gates(settings, encoder))
    trials = draw_trials(setting)
    answers = open_base_answers(settings.base_model)
    reports = []
    for name, one in gates.items():
        with progress_bars(name, shown=shown) as progress:
            reports.append(evaluate(name, one, encoder, setting, trials, progress, answers))
    return reports, _protocol(settings, setting, encoder.fingerprint) | _trained(gates)


def _write(
    reports: Sequence[Report], protocol: dict[str, Any], command: str, settings: EvalSettings
) -> list[Path]:
    """Draw the plots and write the document; return the files."""
    from errata.cache.storage.atomic import write_atomically
    from errata.gates.evaluation.plots import draw
    from errata.gates.evaluation.report import markdown

    written = [] if settings.plots is None else draw(reports, settings.plots)
    if settings.document is not None:
        text = markdown(reports, protocol, command)
        write_atomically(settings.document, text.encode())
        written.append(settings.document)
    return written


def _sizes(settings: EvalSettings) -> tuple[int, ...]:
    from errata.cache.errors import ErrataError

    given = settings.cache_sizes
    if given is None:
        large = () if settings.background is None else (10_000,)
        return (1, settings.n, *large)
    sizes = given.split(",") if isinstance(given, str) else map(str, given)
    sizes = [text.strip() for text in sizes]
    if not all(text.isdecimal() and int(text) > 0 for text in sizes):
        raise ErrataError(
            f"expected cache_sizes as numbers above 0 with commas between, such as 1,200, found "
            f"{given!r}"
        )
    return tuple(dict.fromkeys(int(text) for text in sizes))


def _evaluation_config(settings: EvalSettings) -> EvaluationConfig:
    """Return the data of the evaluation, from the test halves of the files."""
    import random

    from errata.cache.errors import ErrataError
    from errata.gates.data.distractors import read_background
    from errata.gates.data.pairs import open_split, read_open_questions, read_pairs, split_pairs
    from errata.gates.evaluation.evaluate import EvaluationConfig

    if settings.n < 1 or settings.max_pairs < 2:
        raise ErrataError(
            f"expected n of at least 1 and max_pairs of at least 2, found {settings.n} and "
            f"{settings.max_pairs}"
        )
    sizes, most = _sizes(settings), settings.max_pairs
    rng = random.Random(f"pairs {settings.seed}")
    split = split_pairs(read_pairs(settings.pairs)) if settings.pairs else {}
    test, tune = split.get("test", []), split.get("tune", [])
    questions = read_open_questions(settings.open_questions) if settings.open_questions else []
    return EvaluationConfig(
        pairs=tuple(rng.sample(test, min(len(test), most))),
        tune_pairs=tuple(rng.sample(tune, min(len(tune), most // 2))),
        open_questions=tuple(text for text in questions if open_split(text) == "test"),
        background=tuple(read_background(settings.background)) if settings.background else (),
        facts=settings.n,
        sizes=sizes,
        seed=settings.seed,
    )


def _gates(settings: EvalSettings, encoder: Any) -> Iterator[tuple[str, Gate]]:
    """Yield names and gates; each also without the parts named."""
    from errata.gates.evaluation.registry import measured_gate, without_part

    parts = [] if settings.without is None else settings.without.split(",")
    names = (text.strip() for text in settings.gate.split(","))
    for name in dict.fromkeys(filter(None, names)):
        gate = measured_gate(name, encoder)
        yield name, gate
        for part in parts:
            if name != "cosine":
                yield f"{name} without {part.strip()}", without_part(name, gate, part.strip())


def _command(settings: EvalSettings, protocol: dict[str, Any], config: str) -> str:
    """Return the command that makes the document, with names of files instead of paths."""
    names = ",".join(Path(name).name for name in settings.gate.split(","))
    words = ["errata", "gate", "eval", "--gate", names]
    words += [] if settings.without is None else ["--without", settings.without]
    words += [] if settings.pairs is None else ["--pairs", settings.pairs.name]
    words += ["--n", str(settings.n)]
    words += ["--config", config] if "config" in protocol else []
    return shlex.join(words)


def outside_command(settings: EvalSettings, config: Path | None) -> str:
    """Return the command of an evaluation on other people's words, without folders."""
    words = ["errata", "gate", "eval", "--gate", settings.gate, "--outside", "data/"]
    words += [] if config is None else ["--config", config.name]
    words += [] if settings.document is None else ["--document", settings.document.name]
    return shlex.join(words)


def _protocol(settings: EvalSettings, setting: EvaluationConfig, encoder: str) -> dict[str, Any]:
    """Return the files, sizes and seeds of the evaluation; ``config`` holds what no option sets."""
    from errata.gates.data.splits import sha256_of

    files = {"pairs": settings.pairs, "open": settings.open_questions,
             "background": settings.background}  # fmt: skip
    chosen = {key: value for key, value in asdict(settings).items()
              if key in MOVED.values() and value != getattr(DEFAULT, key)}  # fmt: skip
    for key in ("open_questions", "background", "encoder", "base_model"):
        if key in chosen:
            chosen[key] = Path(chosen[key]).name
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
        "encoder": encoder,
    } | ({"config": chosen} if chosen else {})


@contextmanager
def progress_bars(name: str, *, shown: bool) -> Iterator[Progress]:
    """Show the progress of one gate's evaluation on stderr."""
    from errata.training.progress import Update, progress

    with ExitStack() as stack:
        updates: dict[str, Update] = {}

        def show(suite: str, done: int, total: int, /) -> None:
            if suite not in updates:
                stack.close()  # one display at a time
                what = f"{name}: {suite}" if name else suite
                updates[suite] = stack.enter_context(progress(what, total, shown=shown))
            updates[suite](done)

        yield show


def _show(reports: Sequence[Report]) -> None:
    from rich.table import Table
    from rich.text import Text

    from errata.gates.evaluation.report import kind_lines, lines

    names = [report.gate for report in reports]
    table = Table("metric", "aim", *names, title="Test subjects, 95% intervals")
    for what, aim, cells in lines(reports):
        found = [report.row(what) for report in reports]
        styles = ["red" if row is not None and row.met is False else "" for row in found]
        table.add_row(what, aim, *(Text(c, style=s) for c, s in zip(cells, styles, strict=True)))
    console().print(table)
    kinds = Table("suite", "label", "kind", *names, title="Share on which an edit fires")
    for group, label, kind, cells in kind_lines(reports):
        kinds.add_row(group, label, kind, *cells)
    console().print(kinds)


def _trained(gates: Mapping[str, Gate]) -> dict[str, Any]:
    """Return loss and steps of the cross-encoders, from the gates' cards."""
    from errata.gates.classifier import ScopeClassifier

    whole = {name: gate for name, gate in gates.items() if " without " not in name}
    cards = {n: one.artifact.card for n, one in whole.items() if isinstance(one, ScopeClassifier)}
    trained = {
        name: {"loss": cross.get("loss"), "steps": cross.get("steps taken")}
        for name, card in cards.items()
        if (cross := card.get("cross-encoder")) is not None
    }
    return {"cross-encoders": trained} if trained else {}
