"""The tables of a report, as text that Markdown and HTML both show."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from errata.compare.report.measures import MEASURES, MIDDLES, Measure
from errata.compare.report.summary import Block, Result, Summary
from errata.compare.run.backend_names import is_control
from errata.intervals import Estimate

NONE = "–"
_ASIDE = re.compile(r"\[[^\]]*\]|\(n [\d,]+\)|\bn \d+$")
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    :param title: its heading.
    :param note: what a reader has to know.
    :param header: of the columns.
    :param rows: cells.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return it as a Markdown table, without its title."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        return "\n".join(f"| {' | '.join(_plain(cell) for cell in line)} |" for line in lines)

    def html(self) -> str:
        """Return it as an HTML table, every text escaped."""
        head = "".join(f"<th>{_framed(html.escape(cell))}</th>" for cell in self.header)
        body = "".join(
            f"<tr><th scope='row'>{html.escape(first)}</th>"
            + "".join(f"<td>{_framed(html.escape(cell))}</td>" for cell in rest)
            + "</tr>"
            for first, *rest in self.rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _framed(cell: str) -> str:
    """Return a cell's HTML, its interval and its n each on one line."""
    return _ASIDE.sub(r"<span class='aside'>\g<0></span>", cell)


def of_group(block: Block, group: str, title: str, note: str = "") -> Table | None:
    """Return a group of measures as a table, a row a backend; None where nothing was measured.

    :param block: what was measured.
    :param group: see :attr:`errata.compare.report.measures.Measure.group`.
    :param title: of the table.
    :param note: below it.
    """
    results = [*block.results.values()]
    there = [
        m for m in MEASURES if m.group == group and any(m.name in r.estimates for r in results)
    ]
    if not there:
        return None
    score = group == "CounterFact" and any(r.score is not None for r in results)
    header = ["backend", *(_headed(m, results) for m in there), *(["S"] if score else [])]
    rows = []
    for result in results:
        if not any(m.name in result.estimates for m in there):
            continue
        cells = [_cell(m, result.estimates.get(m.name), results) for m in there]
        if score:
            cells.append(NONE if result.score is None else f"{100 * result.score:.1f}")
        rows.append((labelled(result.backend), *cells))
    return Table(title, note, tuple(header), tuple(rows))


def of_tests(block: Block) -> Table | None:
    """Return the paired tests of the first backend against the others, controls aside."""
    if not block.tests:
        return None
    rows = tuple(
        (
            test.measure,
            f"{test.first} − {test.second}",
            f"{points(test.paired.difference)} points",
            f"{test.paired.p:.2g}",
            f"{test.corrected:.2g}",
            str(test.paired.n),
            test.paired.test,
        )
        for test in block.tests
    )
    note = (
        "The same cases under both. p is two-sided; corrected for the number of tests in this "
        "table (Holm 1979)."
    )
    header = ("measure", "backends", "difference", "p", "p corrected", "cases", "test")
    return Table("Paired tests", note, header, rows)


def of_retention(summary: Summary) -> Table | None:
    """Return the accuracy of a sequence's edits by when they were made."""
    if not summary.retention:
        return None
    parts = list(dict.fromkeys((r.first, r.last) for r in summary.retention))
    found = {(r.backend, r.first): r.estimate for r in summary.retention}
    names = list(dict.fromkeys(r.backend for r in summary.retention))
    rows = tuple(
        (labelled(name), *(_share(found.get((name, first))) for first, _ in parts))
        for name in names
    )
    size = summary.retention[0].size
    return Table(
        "Retention", f"Accuracy after all {size} edits of a sequence, by when an edit was made.",
        ("backend", *(f"edits {first} to {last}" for first, last in parts)), rows,
    )  # fmt: skip


def of_coverage(block: Block) -> Table:
    """Return how many cases each backend was judged on, and what was not asked."""
    rows = []
    for result in block.results.values():
        untested = ", ".join(f"{kind} {n}" for kind, n in sorted(result.untested.items()))
        rows.append(
            (labelled(result.backend), str(result.cases), str(result.unsupported), untested or NONE)
        )
    return Table(
        "What was judged",
        "Edits that a backend cannot make are skipped and counted. A question that takes something "
        "for granted is not asked where the unedited model does not know it.",
        ("backend", "cases judged", "cases it cannot make", "questions not asked"),
        tuple(rows),
    )


GROUPS: tuple[tuple[str, str, str], ...] = (
    ("properties", "Properties",
     "Free generation: the question alone, greedy, compared whole. Locality: every token is what "
     "the unedited model says. In brackets, 95% intervals by resampling cases."),
    ("portability", "Portability, kind by kind",
     "Yes or no counts only if the true and the false form are both answered rightly."),
    ("locality", "Locality, kind by kind",
     "KL and argmax are taken along the unedited model's own answer (forced). The logits of cache "
     "and other pipelines are the unedited model's; where an edit fired there is no KL. The row of "
     "none has the perplexity before any edit."),
    ("gate", "What the gate did",
     "False hits: questions outside every edit's scope on which one fired. Pipelines only."),
    ("fired", "Which part misses: did an edit fire",
     "Where none fired, cache and gate missed the question. Pipelines only."),
    ("right", "Which part misses: right where an edit fired",
     "Where one fired and the answer is wrong, it was the wrong edit, or the reasoner erred."),
    ("efficiency", "Efficiency",
     "Times and peak memory are medians, with quartiles in brackets; milliseconds are added to the "
     "unedited model's for one question alone, answer included; the row of none shows how much "
     "they waver by themselves. The encoder remembers neither edits nor question. Trained "
     "beforehand: once, for all edits; base model and sentence encoder aside, which are given."),
    ("forced", "Teacher-forced, for comparison with the literature",
     "Share of gold tokens said, each behind the gold ones: the answer's beginning and length are "
     "given away, so these figures are higher than those of free generation. Where an edit fires "
     "in a pipeline, its answer's own tokens are compared."),
    ("CounterFact", "CounterFact's scores",
     "ES, PS, NS: Meng et al. 2022, averaged within a case, then over cases; S is their harmonic "
     "mean. Where an edit fires in a pipeline, the answer given has likelihood 1, any other 0."),
    ("zsRE", "zsRE's scores", "Per token, forced, as De Cao et al. 2021 and MEND report them."),
)  # fmt: skip


def tables(summary: Summary, block: Block) -> list[Table]:
    """Return every table of a block that has something to show."""
    groups = {group: of_group(block, group, title, note) for group, title, note in GROUPS}
    groups["efficiency"] = _with_training(groups["efficiency"], summary)
    found = [*groups.values(), of_tests(block)]
    if block is summary.blocks[0]:
        found += [of_retention(summary)]
    return [table for table in (*found, of_coverage(block)) if table is not None]


def _with_training(table: Table | None, summary: Summary) -> Table | None:
    """Return the table of efficiency with what was trained before any edit."""
    if table is None or not summary.trained:
        return table
    told = {labelled(name): training(seconds) for name, seconds in summary.trained.items()}
    rows = tuple((*row, told.get(row[0], NONE)) for row in table.rows)
    return replace(table, header=(*table.header, "trained beforehand"), rows=rows)


def training(seconds: Mapping[str, float]) -> str:
    """Return how long the parts of a backend were trained, such as ``21 min: gate 12 min, …``."""
    parts = ", ".join(f"{part} {duration(each)}" for part, each in seconds.items())
    if len(seconds) < 2:
        return parts or "nothing"
    return f"{duration(sum(seconds.values()))}: {parts}"


def duration(seconds: float) -> str:
    """Return a time as people read it."""
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def labelled(name: str) -> str:
    """Return a backend's name; a control's says that it is one."""
    return f"{name} (control)" if is_control(name) else name


def points(share: float) -> str:
    """Return a difference of shares in points, such as ``+1.2``."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # never -0.0


def shown(value: float, unit: str) -> str:
    """Return a value as people read it."""
    if unit == "share":
        return f"{100 * value:.1f}%"
    if unit == "bytes":
        return amount(value)
    if unit == "s":
        return f"{value:.3g} s" if value >= 0.1 or not value else f"{1000 * value:.2g} ms"
    if unit == "ms":
        return f"{value:+.1f} ms"
    if unit == "nats":
        return f"{value:.2g}"
    return f"{100 * value:+.1f}" if unit == "signed" else f"{value:.3g}"


def amount(count: float) -> str:
    """Return a number of bytes, such as ``1.2 MB``."""
    for unit in _UNITS:
        if abs(count) < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.3g} {unit}"


def _headed(measure: Measure, results: Sequence[Result]) -> str:
    counts = _counts(measure, results)
    unit = f", {measure.about}" if measure.about else ""
    return f"{measure.name}{unit} (n {counts.pop()})" if len(counts) == 1 else measure.name + unit


def _counts(measure: Measure, results: Sequence[Result]) -> set[int]:
    return {r.estimates[measure.name].n for r in results if measure.name in r.estimates}


def _cell(measure: Measure, found: Estimate | None, results: Sequence[Result]) -> str:
    if found is None:
        return NONE
    text = shown(found.mean, measure.unit)
    if measure.unit == "share":
        text += f" [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    elif found.low != found.high:
        low, high = shown(found.low, measure.unit), shown(found.high, measure.unit)
        if low != high and (measure.name in MIDDLES or measure.unit != "bytes"):
            text += f" [{low}, {high}]"
    return text if len(_counts(measure, results)) == 1 else f"{text} n {found.n}"


def _share(found: Estimate | None) -> str:
    if found is None:
        return NONE
    return f"{100 * found.mean:.1f}% [{100 * found.low:.1f}, {100 * found.high:.1f}] n {found.n}"


def _plain(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
