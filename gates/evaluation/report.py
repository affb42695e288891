"""Reports of evaluations, as tables, JSON and Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from errata.gates.evaluation.metrics import Array, Truths
from errata.intervals import Estimate

WITH_BASE = "the base model asked in doubt"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    :param what: the metric.
    :param figure: its estimate.
    :param least: lower bound of the aim.
    :param most: upper bound of the aim.
    :param covers: whether the aim is met where the interval reaches down to ``most``.
    """

    what: str
    figure: Estimate
    least: float | None = None
    most: float | None = None
    covers: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without an aim, or without cases."""
        value = self.figure.mean
        if math.isnan(value) or (self.least is None and self.most is None):
            return None
        low = self.figure.low if self.covers else value
        return (self.least is None or value >= self.least) and (
            self.most is None or low <= self.most
        )

    @property
    def aim(self) -> str:
        """The aim in words."""
        if self.least is not None:
            return f"at least {self.least:g}"
        if self.most is None:
            return ""
        return f"interval covers {self.most:g} or less" if self.covers else f"at most {self.most:g}"


@dataclass(frozen=True, slots=True)
class Kind:
    """How often one kind of query fires.

    :param group: its suite, such as "200 facts in the cache".
    :param label: the true label, ``paraphrase``, ``entailed`` or ``none``.
    :param kind: the kind.
    :param fires: the share of its queries on which an edit fires.
    """

    group: str
    label: str
    kind: str
    fires: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Scores and truths, for curves.

    :param name: of the suite.
    :param scores: float64 [n].
    :param truths: bool [n].
    """

    name: str
    scores: Array
    truths: Truths

    @classmethod
    def of(cls, name: str, positives: Array, negatives: Array) -> Sample:
        """Return a sample of scores of what is in scope and what is not."""
        truths = np.repeat([True, False], [len(positives), len(negatives)])
        return cls(name, np.concatenate([positives, negatives]), truths)


@dataclass(slots=True)
class Report:
    """Everything measured of one gate.

    :param gate: its name.
    :param threshold: at which it fires.
    :param rows: the table.
    :param kinds: per kind of query.
    :param samples: for ROC and precision-recall curves.
    :param reliability: probability of the top candidate, and whether it governs.
    """

    gate: str
    threshold: float
    rows: list[Row] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    reliability: Sample | None = None

    def row(self, what: str) -> Row | None:
        """Return the row of that name."""
        return next((row for row in self.rows if row.what == what), None)


def as_json(reports: Sequence[Report], setting: dict[str, Any]) -> dict[str, Any]:
    """Return the reports as JSON values.

    :param setting: files, sizes and seeds of the evaluation.
    """
    return {
        "setting": setting,
        "gates": [
            {
                "gate": report.gate,
                "threshold": round(report.threshold, 6),
                "rows": [
                    {"what": row.what, **_estimate_json(row.figure), "aim": row.aim, "met": row.met}
                    for row in report.rows
                ],
                "kinds": [
                    {"group": k.group, "label": k.label, "kind": k.kind, **_estimate_json(k.fires)}
                    for k in report.kinds
                ],
            }
            for report in reports
        ],
    }


def _estimate_json(found: Estimate) -> dict[str, Any]:
    value = None if math.isnan(found.mean) else round(found.mean, 5)
    return {"value": value, "interval": [round(found.low, 5), round(found.high, 5)], "n": found.n}


def format_estimate(found: Estimate) -> str:
    """Return an estimate with interval and n, as a cell of a table."""
    if math.isnan(found.mean):
        return "–"
    return f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}] n={found.n}"


def lines(reports: Sequence[Report]) -> list[tuple[str, str, list[str]]]:
    """Return metric, aim and one cell a gate, for every row that any gate has."""
    found: dict[str, str] = {}
    for report in reports:
        found |= {row.what: row.aim for row in report.rows}
    table = []
    for what, aim in found.items():
        rows = [report.row(what) for report in reports]
        table.append(
            (what, aim, ["–" if row is None else format_estimate(row.figure) for row in rows])
        )
    return table


def kind_lines(reports: Sequence[Report]) -> list[tuple[str, str, str, list[str]]]:
    """Return group, label, kind and one cell a gate."""
    keys = dict.fromkeys((k.group, k.label, k.kind) for report in reports for k in report.kinds)
    found = [{(k.group, k.label, k.kind): k.fires for k in one.kinds} for one in reports]
    return [
        (*key, [format_estimate(one[key]) if key in one else "–" for one in found]) for key in keys
    ]


def _notes(reports: Sequence[Report], rows: Sequence[str]) -> str:
    """Return explanations of special rows and gates, where there are any."""
    notes = ""
    if any(WITH_BASE in what for what in rows):
        notes += (
            f" *{WITH_BASE.capitalize()}*: where no edit's probability reaches the threshold, an "
            "edit fires if the base model answers the query as it answers the edit's question, as "
            "in use (where aliases of the subject are resolved, too). All other rows are of the "
            "gate alone."
        )
    if any(" without " in report.gate for report in reports):
        notes += (
            " A gate without a part is not trained or calibrated again: compare its recall at a "
            "rate of false hits, not its hits at the threshold. Without `cross`, the first "
            "stage alone."
        )
    return notes


def markdown(reports: Sequence[Report], setting: dict[str, Any], command: str) -> str:
    """Return the document: the command, the table, every kind of query.

    :param setting: files, sizes and seeds of the evaluation.
    :param command: that makes it.
    """
    names = " | ".join(report.gate for report in reports)
    rules = "|---" * len(reports)
    table = lines(reports)
    parts = [
        f"# The gate, measured: {', '.join(report.gate for report in reports)}",
        "",
        f"Made by `{command}`; do not edit. Test subjects, held-out phrasings and the test halves "
        "of the files only. Shares with 95% Wilson intervals; calibration and Brier score with "
        f"bootstrap intervals.{_notes(reports, [what for what, _, _ in table])}",
        "",
        "```json",
        json.dumps(setting, indent=2, ensure_ascii=False),
        "```",
        "",
        f"| metric | aim | {names} |",
        f"|---|---{rules}|",
        *(f"| {what} | {aim} | {' | '.join(cells)} |" for what, aim, cells in table),
        "",
        "## Every kind of query: share on which an edit fires",
        "",
        f"| suite | label | kind | {names} |",
        f"|---|---|---{rules}|",
        *(
            f"| {group} | {label} | {kind} | {' | '.join(cells)} |"
            for group, label, kind, cells in kind_lines(reports)
        ),
    ]
    return "\n".join(parts) + "\n"
