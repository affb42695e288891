"""The page of an evaluation on other people's words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
    parts += [f"![every share, with its interval]({plot})", ""] if plot else []
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
    """Draw the shares of every row with their intervals, a panel for each suite, a PNG file.

    :raises ModelError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ModelError(
            "drawing needs matplotlib, which is not installed: pip install 'errata[plots]', or "
            "leave --plots out"
        ) from error
    panels = [(name, _whats(columns, name)) for name in _suites(columns)]
    panels = [(name, whats) for name, whats in panels if whats]
    sizes = [len(whats) + 2 for _, whats in panels]  # the title of a panel, and a gap
    halves = int(np.searchsorted(np.cumsum(sizes), sum(sizes) / 2)) + 1
    sides = [(panels[:halves], sizes[:halves]), (panels[halves:], sizes[halves:])]
    tall = max(sum(some) for _, some in sides)
    figure = Figure(figsize=(15, 1 + 0.21 * tall), layout="constrained")
    places: Any = figure.subfigures(1, 2)
    for place, (side, heights) in zip(places, sides, strict=True):
        if not side:
            continue
        rest = [] if sum(heights) == tall else [tall - sum(heights)]
        grid = place.add_gridspec(len(side) + len(rest), 1, height_ratios=[*heights, *rest])
        for at, (name, whats) in enumerate(side):
            _panel(place.add_subplot(grid[at]), columns, name, whats)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    figure.savefig(path, dpi=110)


def _whats(columns: Columns, suite: str) -> list[str]:
    """Return the shares that are known of a suite, in order."""
    found = (row for column in columns.values() for row in column.get(suite, ()))
    known = (row["what"] for row in found if row["value"] is not None and is_share(row))
    return list(dict.fromkeys(known))


def _panel(axis: Any, columns: Columns, suite: str, whats: Sequence[str]) -> None:
    """Draw the rows of a suite: a point and its interval for each column."""
    for number, (name, column) in enumerate(columns.items()):
        rows = {row["what"]: row for row in column.get(suite, ())}
        known = [(at, rows[what]) for at, what in enumerate(whats)
                 if what in rows and rows[what]["value"] is not None]  # fmt: skip
        axis.errorbar(
            [row["value"] for _, row in known],
            [at + 0.18 * (number - (len(columns) - 1) / 2) for at, _ in known],
            xerr=_spread([row for _, row in known]) if known else None,
            fmt="o", markersize=3.5, linewidth=0.8, label=name,
        )  # fmt: skip
    axis.set_title(suite, loc="left", fontsize=8, fontweight="bold", pad=2)
    axis.set_yticks(range(len(whats)), [_short(what, suite) for what in whats], fontsize=7)
    axis.set_ylim(len(whats) - 0.5, -0.5)
    axis.set_xlim(-0.12, 1.03)
    axis.tick_params(axis="x", labelsize=6, length=2, pad=1)
    axis.grid(axis="x", linewidth=0.3)


def _short(what: str, suite: str) -> str:
    """Return a row without the name of its suite."""
    return what.removeprefix(suite).lstrip(":, ") or what


def _spread(rows: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    low = [max(0.0, row["value"] - row["interval"][0]) for row in rows]
    high = [max(0.0, row["interval"][1] - row["value"]) for row in rows]
    return [low, high]
