"""What an evaluation found, and how it is written down."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from errata.gates.evaluation.metrics import Array, Figure, Truths

ASKED = "the base model asked in doubt"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    :param what: what was measured.
    :param figure: what came out.
    :param least: the figure should not be less.
    :param most: the figure should not be more.
    :param covers: it is enough that the interval reaches down to ``most``: what was promised is
        not refuted.
    """

    what: str
    figure: Figure
    least: float | None = None
    most: float | None = None
    covers: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None where there is none, or nothing was measured."""
        value = self.figure.value
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

    :param group: the suite it belongs to, such as "200 facts in the cache".
    :param label: what is right: ``same``, ``follows`` or ``none``.
    :param kind: the kind.
    :param fires: the share of its queries on which anything fires.
    """

    group: str
    label: str
    kind: str
    fires: Figure


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Scores and what was so, for curves.

    :param name: what they are scores of.
    :param scores: float64 [n].
    :param truths: bool [n].
    """

    name: str
    scores: Array
    truths: Truths

    @classmethod
    def of(cls, name: str, positives: Array, negatives: Array) -> Sample:
        """Return the sample of scores known to be in scope and out of scope."""
        truths = np.repeat([True, False], [len(positives), len(negatives)])
        return cls(name, np.concatenate([positives, negatives]), truths)


@dataclass(slots=True)
class Report:
    """Everything measured of one gate.

    :param gate: its name.
    :param threshold: from which it fires.
    :param rows: the table.
    :param kinds: per kind of query.
    :param samples: for ROC and precision-recall curves.
    :param chances: the top candidate's probability and whether it governed, for reliability.
    """

    gate: str
    threshold: float
    rows: list[Row] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    chances: Sample | None = None

    def row(self, what: str) -> Row | None:
        """Return the row of that name."""
        return next((row for row in self.rows if row.what == what), None)


def as_json(reports: Sequence[Report], setting: dict[str, Any]) -> dict[str, Any]:
    """Return the reports as JSON values.

    :param setting: what they were measured with.
    """
    return {
        "setting": setting,
        "gates": [
            {
                "gate": report.gate,
                "threshold": round(report.threshold, 6),
                "rows": [
                    {"what": row.what, **_figure(row.figure), "aim": row.aim, "met": row.met}
                    for row in report.rows
                ],
                "kinds": [
                    {"group": k.group, "label": k.label, "kind": k.kind, **_figure(k.fires)}
                    for k in report.kinds
                ],
            }
            for report in reports
        ],
    }


def _figure(found: Figure) -> dict[str, Any]:
    value = None if math.isnan(found.value) else round(found.value, 5)
    return {"value": value, "interval": [round(found.low, 5), round(found.high, 5)], "n": found.n}


def cell(found: Figure) -> str:
    """Return a figure with interval and n, as a table has it."""
    if math.isnan(found.value):
        return "–"
    return f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}] n={found.n}"


def lines(reports: Sequence[Report]) -> list[tuple[str, str, list[str]]]:
    """Return what, aim and one cell a gate, for every row that any gate has."""
    found: dict[str, str] = {}
    for report in reports:
        found |= {row.what: row.aim for row in report.rows}
    table = []
    for what, aim in found.items():
        rows = [report.row(what) for report in reports]
        table.append((what, aim, ["–" if row is None else cell(row.figure) for row in rows]))
    return table


def kind_lines(reports: Sequence[Report]) -> list[tuple[str, str, str, list[str]]]:
    """Return group, label, kind and one cell a gate."""
    keys = dict.fromkeys((k.group, k.label, k.kind) for report in reports for k in report.kinds)
    found = [{(k.group, k.label, k.kind): k.fires for k in one.kinds} for one in reports]
    return [(*key, [cell(one[key]) if key in one else "–" for one in found]) for key in keys]


def _notes(reports: Sequence[Report], rows: Sequence[str]) -> str:
    """Return what has to be known of some rows and gates, where there are any."""
    said = ""
    if any(ASKED in what for what in rows):
        said += (
            f" *{ASKED.capitalize()}*: where no edit's probability reaches the threshold, the base "
            "model is asked whether it says the same to the query as to an edit's own question, as "
            "in use (where a subject's other names are looked for besides). Everything else is the "
            "gate alone."
        )
    if any(" without " in report.gate for report in reports):
        said += (
            " A gate without a part is not trained or calibrated again: what fires at its "
            "threshold says little, what is found at a share of false hits tells what the part is "
            "good for. Without `cross` the first stage is alone; without `bi` the second is, but "
            "for which candidates it reads; without `words` the first has no named features."
        )
    return said


def markdown(reports: Sequence[Report], setting: dict[str, Any], command: str) -> str:
    """Return the document: how it was made, the table, every kind of query.

    :param setting: what it was measured with.
    :param command: what makes it again.
    """
    names = " | ".join(report.gate for report in reports)
    bars = "|---" * len(reports)
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
        f"| what | aim | {names} |",
        f"|---|---{bars}|",
        *(f"| {what} | {aim} | {' | '.join(cells)} |" for what, aim, cells in table),
        "",
        "## Every kind of query: how often something fires",
        "",
        f"| among | right is | kind | {names} |",
        f"|---|---|---{bars}|",
        *(
            f"| {group} | {label} | {kind} | {' | '.join(cells)} |"
            for group, label, kind, cells in kind_lines(reports)
        ),
    ]
    return "\n".join(parts) + "\n"
