"""Run suites on deciders, with a record from which an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from errata.cache.errors import ModelError
from errata.cache.storage.atomic import write_atomically
from errata.gates.data.outside import OutsideData
from errata.gates.evaluation.judge import Progress, no_progress
from errata.gates.evaluation.metrics import threshold_at_rate
from errata.gates.evaluation.outside.config import OutsideConfig
from errata.gates.evaluation.outside.deciders import CosineDecider, Decider
from errata.gates.evaluation.outside.intents import (
    Pool,
    by_intent,
    cluster_suites,
    condition_suites,
    draw_trial,
    faq_patch,
    faq_suites,
    listed_suites,
    out_of_scope_suites,
)
from errata.gates.evaluation.outside.languages import language_suites
from errata.gates.evaluation.outside.pairs import near_miss_suites, pair_suites
from errata.gates.evaluation.outside.records import (
    RecordCase,
    candidate_suites,
    paragraph_suites,
    record_suites,
    template_suites,
)
from errata.gates.evaluation.outside.suites import CALIBRATION, Suite, margins_of
from errata.gates.evaluation.registry import COSINE
from errata.gates.evaluation.report import Row

Columns = dict[str, dict[str, list[dict[str, Any]]]]
"""Rows as JSON by decider and suite."""


def suites_of(
    data: OutsideData,
    pool: Pool,
    records: Mapping[str, Sequence[RecordCase]],
    config: OutsideConfig,
    speed: Sequence[Suite] = (),
) -> list[Suite]:
    """Return every suite that the data allow.

    :param pool: messages out of scope of all.
    :param records: cases of published formats.
    :param speed: suites of processor time.
    """
    return [
        *near_miss_suites(data, config),
        *pair_suites(data, config),
        *paragraph_suites(data, config),
        *listed_suites(data, config),
        *faq_suites(data, pool, config),
        *out_of_scope_suites(data, pool, config),
        *record_suites(records, config),
        *candidate_suites(data, config),
        *template_suites(config),
        *cluster_suites(data, pool, config),
        *condition_suites(data, pool, config),
        *language_suites(data, config),
        *speed,
    ]


def cosine_threshold(
    decider: CosineDecider, data: OutsideData, pool: Pool, config: OutsideConfig
) -> float:
    """Return the cosine that a rate of the calibration messages reaches, over all FAQ patches.

    A cosine has no threshold that ships; this one serves every row that states no rate.
    """
    margins: list[float] = []
    for texts in by_intent(data, config).values():
        for seed in range(config.seeds):
            trial = draw_trial(texts, pool, faq_patch, 1, config, seed, 0)
            margins += margins_of(decider.decide(trial, lambda done: None), CALIBRATION).tolist()
    if not margins:
        return COSINE
    import numpy as np

    return float(threshold_at_rate(np.array(margins), config.rate)) + decider.threshold


def run_suites(
    deciders: Sequence[Decider],
    suites: Sequence[Suite],
    setting: Mapping[str, Any],
    record: Path | None = None,
    progress: Progress = no_progress,
) -> Columns:
    """Return the rows of each decider and suite.

    :param setting: files, sizes and seeds; a record of another setting is refused.
    :param record: JSON file, written after each suite; suites in it are not measured again.
    :param progress: receives decider and suite, messages done, and their number.
    :raises ModelError: the record is of another setting.
    """
    columns = read_record(record, setting) if record is not None else {}
    for suite in suites:
        left = [one for one in deciders if suite.name not in columns.setdefault(one.name, {})]
        if not left:
            continue
        prepared = suite.prepare()
        for decider in left:
            counted = _Counted(f"{decider.name}: {suite.name}", prepared.total, progress)
            rows = prepared.measure(decider, counted)
            columns[decider.name][suite.name] = [row_json(row) for row in rows]
            if record is not None:
                write_record(record, setting, columns)
    return columns


class _Counted:
    """A step that reports the sum of its counts.

    :param name: of what is done.
    :param total: of the counts.
    :param progress: receives name, sum and total.
    """

    def __init__(self, name: str, total: int, progress: Progress) -> None:
        self._name, self._total, self._progress, self._done = name, total, progress, 0

    def __call__(self, count: int) -> None:
        """Add a count."""
        self._done += count
        self._progress(self._name, self._done, self._total)


def row_json(row: Row) -> dict[str, Any]:
    """Return a row as JSON values."""
    figure = row.figure
    known = figure.n > 0
    return {
        "what": row.what,
        "value": round(figure.mean, 5) if known else None,
        "interval": [round(figure.low, 5), round(figure.high, 5)],
        "n": figure.n,
        "cases": figure.cases,
        "aim": row.aim,
        "met": row.met,
    }


def read_record(path: Path, setting: Mapping[str, Any] | None = None) -> Columns:
    """Return the rows of a record; none where there is no file.

    :param setting: what it must have been measured with; None: anything.
    :raises ModelError: it is no record, or of another setting.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
        columns: Columns = found["columns"]
        known = found["setting"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: expected a record of `errata gate eval --outside`, found: {error}; name "
            "another file"
        ) from error
    if setting is not None and known != json.loads(json.dumps(setting)):
        raise ModelError(
            f"{path}: expected a record of the same data, sizes and seeds, to go on with, found "
            "another setting; name another file, or delete this one"
        )
    return columns


def write_record(path: Path, setting: Mapping[str, Any], columns: Columns) -> None:
    """Write the rows of all deciders as JSON, atomically."""
    text = json.dumps({"setting": setting, "columns": columns}, indent=1, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())
