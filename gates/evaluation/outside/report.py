"""The page of an evaluation on other people's words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from errata.cache.errors import ModelError
from errata.gates.evaluation.outside.run import Columns

_NOTES = """Shares with 95% intervals: the percentile bootstrap over whole cases (an intent and \
seed, a subject, a message), Wilson's where all are alike. Decided by the gate on what a search of \
the cache finds, {decided}.

- Every row is decided at the one threshold that ships, unless it states a rate of out-of-scope \
hits: then the threshold is the one that this share of other out-of-scope messages reaches. \
*Cosine* has no threshold that ships; its one threshold ({cosine}) is the cosine that 1% of those \
messages reach on FAQ patches of one example. *Logistic regression* fires on its likeliest class.
- Cosine (highest over all examples, the bare encoder) and logistic regression (over embeddings, a \
class of out-of-scope texts beside one for each edit; SetFit without its contrastive stage) see \
every edit in force and the same examples as the gate.
- FAQ: {intents} intents of a source (all, where it has fewer) for each of {seeds} seeds; the \
first example is the patch's question, others are listed as `fires`; all patches have one and the \
same answer. Of a source that gates are fitted on ({fitted}), and of paragraphs, only tenths 5 to \
9 of intents and questions are measured. Out of scope: CLINC150's `oos` and open questions, split \
by hash into measured, calibrating and training messages. Other sources are not used as out of \
scope: banking intents stand in two of them, accounts in all.
- CounterFact-, zsRE- and RippleEdits-form records are made by `errata trex-bench`; relations and \
subjects of its test split.
"""


def markdown(columns: Columns, setting: Mapping[str, Any], command: str, plot: str = "") -> str:
    """Return the page: command, notes, a table of each suite.

    :param setting: files, sizes, seeds and thresholds.
    :param command: that makes it.
    :param plot: name of a picture; none if empty.
    """
    notes = _NOTES.format(
        decided="resolvers on" if setting.get("resolvers") else "the pipeline's resolvers off",
        cosine=setting.get("cosine threshold", "none"),
        intents=setting["config"]["intents"],
        seeds=setting["config"]["seeds"],
        fitted=", ".join(setting["config"]["fitted"]) or "none",
    )
    parts = ["# The gate on other people's words", "", f"Made by `{command}`; do not edit. {notes}"]
    parts += [f"![rows that have an aim]({plot})", ""] if plot else []
    for suite in _suites(columns):
        parts += [f"## {suite[:1].upper()}{suite[1:]}", "", *_table(columns, suite), ""]
    shown = json.dumps(setting, indent=2, ensure_ascii=False)
    return "\n".join([*parts, "## Data and sizes", "", "```json", shown, "```"]) + "\n"


def _suites(columns: Columns) -> list[str]:
    return list(dict.fromkeys(name for column in columns.values() for name in column))


def _table(columns: Columns, suite: str) -> list[str]:
    whats = {
        row["what"]: row["aim"] for column in columns.values() for row in column.get(suite, ())
    }
    found = [{row["what"]: row for row in column.get(suite, ())} for column in columns.values()]
    shown = [at for at, rows in enumerate(found) if rows]
    names = [name for at, name in enumerate(columns) if at in shown]
    lines = [f"| what | aim | n | {' | '.join(names)} |", f"|---|---|---{'|---' * len(names)}|"]
    for what, aim in whats.items():
        cells = [format_row(found[at].get(what)) for at in shown]
        count = next((found[at][what]["n"] for at in shown if what in found[at]), 0)
        lines.append(f"| {what} | {aim} | {count} | {' | '.join(cells)} |")
    return lines


def format_row(row: Mapping[str, Any] | None) -> str:
    """Return value and interval of a row: percent where it is a share."""
    if row is None or row["value"] is None:
        return "–"
    value, (low, high) = row["value"], row["interval"]
    if is_share(row):
        return f"{value:.1%} [{low:.1%}, {high:.1%}]"
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def is_share(row: Mapping[str, Any]) -> bool:
    """Return whether a row is a share or a difference of shares, and not a time or a ratio."""
    return not row["what"].startswith("processor time")


def draw(columns: Columns, path: Path) -> None:
    """Draw the shares of every row as bars with their intervals, a PNG file.

    :raises ModelError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModelError(
            "drawing needs matplotlib, which is not installed: pip install 'errata[plots]', or "
            "leave --plots out"
        ) from error
    rows = [{r["what"]: r for some in column.values() for r in some} for column in columns.values()]
    whats = [what for what in dict.fromkeys(key for each in rows for key in each)
             if not what.startswith("processor time")]  # fmt: skip
    figure = Figure(figsize=(11, 1 + 0.32 * len(whats)), layout="constrained")
    axis = figure.subplots()
    thick = 0.8 / len(columns)
    for number, (name, found) in enumerate(zip(columns, rows, strict=True)):
        known = [(at, found[what]) for at, what in enumerate(whats)
                 if what in found and found[what]["value"] is not None]  # fmt: skip
        places = [at + number * thick for at, _ in known]
        values = [row["value"] for _, row in known]
        axis.barh(places, values, thick, label=name, xerr=_spread([row for _, row in known]),
                  error_kw={"linewidth": 0.6})  # fmt: skip
    axis.set_yticks([at + 0.4 - thick / 2 for at in range(len(whats))], whats, fontsize=7)
    axis.invert_yaxis()
    axis.legend(loc="lower right")
    figure.savefig(path, dpi=110, bbox_inches="tight")


def _spread(rows: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    low = [max(0.0, row["value"] - row["interval"][0]) for row in rows]
    high = [max(0.0, row["interval"][1] - row["value"]) for row in rows]
    return [low, high]
