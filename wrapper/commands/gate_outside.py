"""``errata gate eval --outside``: gates on other people's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.commands.output import console, print_json, print_line

if TYPE_CHECKING:
    from errata.cache.encoder import Encoder
    from errata.cache.records import Fact
    from errata.commands.gate_eval import EvalSettings
    from errata.compare.inputs.cases import Case
    from errata.gates.base import Gate
    from errata.gates.data.outside import OutsideData
    from errata.gates.evaluation.outside.config import OutsideConfig
    from errata.gates.evaluation.outside.deciders import Decider
    from errata.gates.evaluation.outside.intents import Pool
    from errata.gates.evaluation.outside.records import RecordCase
    from errata.gates.evaluation.outside.run import Columns
    from errata.gates.evaluation.outside.suites import Suite

RECORDS = {
    "counterfact": "CounterFact-form", "zsre": "zsRE-form", "rippleedits": "RippleEdits-form",
}  # fmt: skip
"""Names of the files of records, without ``.json``, and of their suites."""
LANGUAGES = "languages: "
"""Beginning of the names of suites in other languages."""
FACTS = "trex_facts.jsonl.gz"
"""Facts that fill a cache, in the folder of data."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An evaluation before it runs."""

    deciders: Sequence[Decider]
    suites: Sequence[Suite]
    setting: Mapping[str, Any]


def evaluate_outside(settings: EvalSettings, command: str, *, as_json: bool) -> None:
    """Measure, print, and write the page and its record.

    :param command: that makes the page.
    """
    from errata.commands.gate_eval import progress_bars
    from errata.gates.evaluation.outside.run import read_record, run_suites

    record = None if settings.document is None else settings.document.with_suffix(".json")
    prepared = _prepare(settings)
    with progress_bars("", shown=not as_json) as progress:
        columns = run_suites(prepared.deciders, prepared.suites, prepared.setting, record, progress)
    if settings.before is not None:
        before = read_record(settings.before)
        names = [name for name in before if name not in _BASELINES]
        columns = {f"{name}, before": before[name] for name in names} | columns
    written = _write(columns, prepared.setting, command, settings)
    if as_json:
        print_json({"setting": prepared.setting, "columns": columns})
        return
    _show(columns)
    for path in written:
        print_line(f"wrote {path}", style="dim", stderr=True)


_BASELINES = ("cosine", "logistic regression")
"""Deciders that do not change between an earlier run and this one."""


def _prepare(settings: EvalSettings) -> Prepared:
    from errata.cache.encoder import EmbeddingCache
    from errata.cache.errors import ErrataError
    from errata.gates.data.outside import read_outside
    from errata.gates.evaluation.outside.intents import out_of_scope_pool
    from errata.gates.evaluation.outside.run import suites_of

    folder = settings.outside
    if folder is None:
        raise ErrataError("expected a folder under outside, found none; name one")
    data, records = read_outside(folder), _records(settings.records)
    config = _config(settings)
    pool = out_of_scope_pool(data, config)
    encoder = EmbeddingCache(_encoder(settings), None)
    suites = suites_of(data, pool, records, config, _speed(settings, data, config))
    if settings.suites:
        suites = _chosen(suites, settings.suites)
    deciders: list[Decider] = _gates(settings, encoder, config)
    if all(suite.name.startswith(LANGUAGES) for suite in suites):
        baselines, cosine = _multilingual_baselines(encoder, config)
    else:
        baselines, cosine = _baselines(data, pool, encoder, config)
    deciders += baselines
    setting = {
        "files": {**dict(data.files or {}), **_hashes(settings.records)},
        "config": asdict(config),
        "encoder": encoder.fingerprint,
        "resolvers": settings.resolvers,
        "cosine threshold": round(cosine, 4),
    }
    return Prepared(deciders, suites, setting)


def _config(settings: EvalSettings) -> OutsideConfig:
    """Return the sizes of the evaluation.

    :raises ErrataError: there is no such size, or it is of another type.
    """
    from pydantic import TypeAdapter, ValidationError

    from errata.cache.errors import ErrataError
    from errata.gates.evaluation.outside.config import OutsideConfig

    known = [field.name for field in fields(OutsideConfig)]
    for name in settings.sizes:
        if name not in known:
            raise ErrataError(f"unknown size {name!r}; expected one of {', '.join(known)}")
    try:
        given = {"seed": settings.seed} | settings.sizes
        return TypeAdapter(OutsideConfig).validate_python(given)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        raise ErrataError(
            f"sizes, {wrong['loc'][0]}: {wrong['msg']}, found {wrong['input']!r}; correct it"
        ) from error


def _encoder(settings: EvalSettings) -> Encoder:
    """Return the encoder, with encodings in other languages from a file, if one is named."""
    from errata.cache.encoder import RoutedEncoder
    from errata.commands.opening import open_encoder
    from errata.gates.data.encodings import StoredEncoder

    found = open_encoder(settings.encoder)
    if settings.encodings is None or not isinstance(found, RoutedEncoder):
        return found
    stored = StoredEncoder(found.multilingual.encoder, settings.encodings)
    return RoutedEncoder(found.encoder, stored)


def _gates(settings: EvalSettings, encoder: Any, config: OutsideConfig) -> list[Decider]:
    """Return the gates that are measured."""
    from errata.gates.evaluation.outside.deciders import GateDecider
    from errata.gates.evaluation.registry import measured_gate

    found: list[Decider] = []
    for name in dict.fromkeys(text.strip() for text in settings.gate.split(",") if text.strip()):
        if name != "cosine":
            gate = measured_gate(name, encoder)
            decide = _pipeline(settings, gate, encoder) if settings.resolvers else None
            found.append(GateDecider(name, gate, encoder, config.candidates, decide))
    return found


def _baselines(
    data: OutsideData, pool: Pool, encoder: Any, config: OutsideConfig
) -> tuple[list[Decider], float]:
    """Return the baselines in English, and the cosine's threshold."""
    from errata.gates.evaluation.outside.deciders import CosineDecider, LogisticDecider
    from errata.gates.evaluation.outside.run import cosine_threshold

    threshold = cosine_threshold(CosineDecider(encoder, 0.0), data, pool, config)
    return [CosineDecider(encoder, threshold), LogisticDecider(encoder, pool.training)], threshold


def _multilingual_baselines(encoder: Any, config: OutsideConfig) -> tuple[list[Decider], float]:
    """Return the baseline of other languages, and its threshold."""
    from errata.cache.encoder import multilingual_of
    from errata.cache.errors import ErrataError
    from errata.gates.evaluation.outside.deciders import CosineDecider

    found, threshold = multilingual_of(encoder), config.multilingual_cosine
    if found is None:
        raise ErrataError(
            "expected an encoder of other languages, found none; run `pip install "
            "'errata[multilingual]'`, and name no other encoder"
        )
    return [CosineDecider(found, threshold)], threshold


def _pipeline(settings: EvalSettings, gate: Gate, encoder: Any) -> Any:
    """Return decisions of the default pipeline, its resolvers included."""
    from errata.cache.errors import ErrataError
    from errata.models.load import load_base
    from errata.pipelines.base import ScopedView
    from errata.pipelines.cache import CachePipeline
    from errata.reasoners.base_consistency import BaseConsistency
    from errata.reasoners.verbatim import VerbatimReasoner

    if settings.base_model is None:
        raise ErrataError("expected a base_model with resolvers on, found none; name one: atlas")
    base = BaseConsistency(*load_base(settings.base_model))
    pipeline = CachePipeline(gate, VerbatimReasoner(), base)
    return lambda view, queries: pipeline.decide(
        queries, ScopedView(view, encoder, lambda edit: True)
    )


def _records(folder: Path | None) -> dict[str, list[RecordCase]]:
    """Return the cases of a folder of records by the name of their suite."""
    from errata.compare.inputs.files import load_cases

    found = {}
    for name, suite in RECORDS.items():
        path = None if folder is None else folder / f"{name}.json"
        if path is not None and path.is_file():
            found[suite] = [_record(case) for case in load_cases(path, name)]
    return found


def _record(case: Case) -> RecordCase:
    from errata.gates.evaluation.outside.records import (
        CLOZE,
        NESTED,
        QUESTION,
        REWORDED,
        STATEMENT,
        RecordCase,
    )

    texts: dict[str, list[str]] = {}
    for probe in case.probes:
        part = {"phrasing": REWORDED, "one hop": NESTED, "other relation": CLOZE}.get(probe.kind)
        if part == CLOZE and probe.prompt.endswith("?"):
            part = QUESTION
        if part is not None:
            texts.setdefault(part, []).append(probe.prompt)
    if case.generation:
        texts[STATEMENT] = list(case.generation)
    return RecordCase(case.edits[0], {part: tuple(some) for part, some in texts.items()})


def _speed(settings: EvalSettings, data: OutsideData, config: OutsideConfig) -> list[Suite]:
    """Return the suite of processor time, if the folder has facts to fill a cache with."""
    from errata.gates.data.distractors import read_background
    from errata.gates.evaluation.outside.speed import speed_suites
    from errata.gates.evaluation.registry import measured_gate

    path = None if settings.outside is None else settings.outside / FACTS
    if path is None or not path.is_file():
        return []

    def facts() -> list[Fact]:
        """Return facts of all relations, by which the file is sorted."""
        found = read_background(path)
        return found[:: max(1, len(found) // max(config.timed_sizes))]

    return speed_suites(facts, data.open_questions, measured_gate, settings.encoder, config)


def _chosen(suites: Sequence[Suite], names: Sequence[str]) -> list[Suite]:
    """Return the suites of some names or beginnings, in the order of the names."""
    from errata.cache.errors import ErrataError

    known = {suite.name: suite for suite in suites}
    chosen = {key: one for name in names for key, one in known.items() if key.startswith(name)}
    if not chosen:
        raise ErrataError(
            f"expected names of suites, or their beginnings, found {', '.join(names)}; these can "
            f"be measured: {'; '.join(known)}"
        )
    return list(chosen.values())


def _hashes(folder: Path | None) -> dict[str, str]:
    from errata.gates.data.splits import sha256_of

    files = [] if folder is None else [folder / f"{name}.json" for name in RECORDS]
    return {path.name: sha256_of(path) for path in files if path.is_file()}


def _write(
    columns: Columns, setting: Mapping[str, Any], command: str, settings: EvalSettings
) -> list[Path]:
    from errata.cache.storage.atomic import write_atomically
    from errata.gates.evaluation.outside.report import draw, markdown

    written, picture = [], ""
    if settings.plots is not None:
        settings.plots.mkdir(parents=True, exist_ok=True)
        path = settings.plots / "gate_outside.png"
        draw(columns, path)
        picture = Path(relpath(path, (settings.document or path).parent)).as_posix()
        written.append(path)
    if settings.document is not None:
        text = markdown(columns, setting, command, picture)
        write_atomically(settings.document, text.encode())
        written += [settings.document, settings.document.with_suffix(".json")]
    return written


def _show(columns: Columns) -> None:
    from rich.table import Table

    from errata.gates.evaluation.outside.report import format_row

    table = Table("what", "aim", "n", *columns, title="Other people's words, 95% intervals")
    rows = [{r["what"]: r for some in column.values() for r in some} for column in columns.values()]
    for what in dict.fromkeys(key for each in rows for key in each):
        known = next(each[what] for each in rows if what in each)
        cells = [format_row(each.get(what)) for each in rows]
        table.add_row(what, known["aim"], str(known["n"]), *cells)
    console().print(table)
