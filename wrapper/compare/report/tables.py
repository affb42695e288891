"""The tables of a report, for Markdown, HTML, CSV and the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from errata.compare.report.measures import MEASURES, MEDIANS, Measure
from errata.compare.report.summary import Block, Result, Summary
from errata.compare.run.backend_names import ALL_RESOLVERS, NO_RESOLVERS, WITHOUT, is_control
from errata.intervals import Estimate

NONE = "–"
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    :param title: its heading.
    :param note: an explanation below the heading.
    :param header: of the columns.
    :param rows: cells.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the header and the rows as Markdown."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        return "\n".join(f"| {' | '.join(_escaped(cell) for cell in line)} |" for line in lines)


def group_table(block: Block, group: str, title: str, note: str = "") -> Table | None:
    """Return a group of measures as a table, a row a backend; None where nothing was measured.

    :param block: the results.
    :param group: see :attr:`errata.compare.report.measures.Measure.group`.
    :param title: of the table.
    :param note: below it.
    """
    results = [*block.results.values()]
    measures = [
        m for m in MEASURES if m.group == group and any(m.name in r.estimates for r in results)
    ]
    if not measures:
        return None
    score = group == "CounterFact" and any(r.score is not None for r in results)
    header = ["backend", *(_heading(m, results) for m in measures), *(["S"] if score else [])]
    rows = []
    for result in results:
        if not any(m.name in result.estimates for m in measures):
            continue
        cells = [_cell(m, result.estimates.get(m.name), results) for m in measures]
        if score:
            cells.append(NONE if result.score is None else f"{100 * result.score:.1f}")
        rows.append((label(result.backend), *cells))
    return Table(title, note, tuple(header), tuple(rows))


def tests_table(block: Block) -> Table | None:
    """Return the paired tests of the first backend against the others, controls excluded."""
    if not block.tests:
        return None
    rows = tuple(
        (
            test.measure,
            f"{test.first} − {test.second}",
            f"{format_points(test.paired.difference)} points",
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


def ablation_table(block: Block) -> Table | None:
    """Return what each resolver is worth: the cache, and how it changes without some of them."""
    if not block.ablations:
        return None
    found = {(each.measure, each.backend): each.difference for each in block.ablations}
    shown = [m for m in MEASURES if any(m.name == each.measure for each in block.ablations)]
    whole = block.results[ALL_RESOLVERS]
    without = [name for name in block.results if name.startswith(WITHOUT)]
    rows = [("all", *(_cell(m, whole.estimates.get(m.name), [whole]) for m in shown))]
    for name in without:
        what = "none" if name == NO_RESOLVERS else f"without {name.removeprefix(WITHOUT)}"
        rows.append((what, *(_difference(m, found.get((m.name, name))) for m in shown)))
    return Table(
        "What each resolver is worth",
        "The cache with all its resolvers; below, by how many points (or milliseconds of CPU time) "
        "it changes without one of them, and without any. In brackets, paired 95% intervals. Of "
        "false hits, fewer is better.",
        ("resolvers", *(_heading(m, [whole]) for m in shown)),
        tuple(rows),
    )


def _difference(measure: Measure, found: Estimate | None) -> str:
    if found is None:
        return NONE
    values = (found.mean, found.low, found.high)
    mean, low, high = (
        format_points(value) if measure.unit == "share" else f"{value + 0.0:+.1f}"
        for value in values
    )
    return f"{mean} [{low}, {high}]"


def retention_table(summary: Summary) -> Table | None:
    """Return the accuracy of a sequence's edits by their position."""
    if not summary.retention:
        return None
    parts = list(dict.fromkeys((r.first, r.last) for r in summary.retention))
    found = {(r.backend, r.first): r.estimate for r in summary.retention}
    names = list(dict.fromkeys(r.backend for r in summary.retention))
    rows = tuple(
        (label(name), *(_share(found.get((name, first))) for first, _ in parts)) for name in names
    )
    size = summary.retention[0].size
    return Table(
        "Retention", f"Accuracy after all {size} edits of a sequence, by when an edit was made.",
        ("backend", *(f"edits {first} to {last}" for first, last in parts)), rows,
    )  # fmt: skip


def coverage_table(block: Block) -> Table:
    """Return how many cases each backend was evaluated on, and which probes were left out."""
    rows = []
    for result in block.results.values():
        untested = ", ".join(f"{kind} {n}" for kind, n in sorted(result.untested.items()))
        rows.append(
            (label(result.backend), str(result.cases), str(result.unsupported), untested or NONE)
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
    ("named", "The same, where a sentence will do",
     "Also right: an answer that has the expected words somewhere in its first line, and, to the "
     "edited question or a rewording, not those of the object before the edit. Chat models answer "
     "in sentences. Yes or no as above."),
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
    """Return every table of a block that has values."""
    groups = {group: group_table(block, group, title, note) for group, title, note in GROUPS}
    groups["efficiency"] = _with_training(groups["efficiency"], summary)
    found = [ablation_table(block), *groups.values(), tests_table(block)]
    if block is summary.blocks[0]:
        found += [retention_table(summary)]
    return [table for table in (*found, coverage_table(block)) if table is not None]


def properties_table(block: Block) -> Table | None:
    """Return the short table that the commands print."""
    return group_table(block, "properties", block.title)


def as_csv(summary: Summary) -> str:
    """Return every estimate as a line of CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["mode", "size", "backend", "measure", "unit", "mean", "low", "high", "n", "cases"]
    )
    units = {measure.name: measure.unit for measure in MEASURES}
    for block in summary.blocks:
        for result in block.results.values():
            for name, e in result.estimates.items():
                writer.writerow([block.mode, block.size, result.backend, name, units[name],
                                 e.mean, e.low, e.high, e.n, e.cases])  # fmt: skip
    for backend, seconds in summary.trained.items():
        for part, took in seconds.items():
            writer.writerow(["", "", backend, f"trained beforehand: {part}", "s", took, *[""] * 4])
    return text.getvalue()


def _with_training(table: Table | None, summary: Summary) -> Table | None:
    """Return the table of efficiency with the training time before the first edit."""
    if table is None or not summary.trained:
        return table
    by_label = {label(name): format_training(seconds) for name, seconds in summary.trained.items()}
    rows = tuple((*row, by_label.get(row[0], NONE)) for row in table.rows)
    return replace(table, header=(*table.header, "trained beforehand"), rows=rows)


def format_training(seconds: Mapping[str, float]) -> str:
    """Return the training time of a backend's parts, such as ``21 min: gate 12 min, …``."""
    parts = ", ".join(f"{part} {format_duration(each)}" for part, each in seconds.items())
    if len(seconds) < 2:
        return parts or "nothing"
    return f"{format_duration(sum(seconds.values()))}: {parts}"


def format_duration(seconds: float) -> str:
    """Return a time with its unit, such as ``12 min``."""
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def label(name: str) -> str:
    """Return a backend's name, marked if it is a control."""
    return f"{name} (control)" if is_control(name) else name


def format_points(share: float) -> str:
    """Return a difference of shares in points, such as ``+1.2``."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # never -0.0


def format_value(value: float, unit: str) -> str:
    """Return a value with its unit."""
    if unit == "share":
        return f"{100 * value:.1f}%"
    if unit == "bytes":
        return format_bytes(value)
    if unit == "s":
        return f"{value:.3g} s" if value >= 0.1 or not value else f"{1000 * value:.2g} ms"
    if unit == "CPU ms":
        return f"{value:.0f} ms"
    if unit == "ms":
        return f"{value:+.1f} ms"
    if unit == "nats":
        return f"{value:.2g}"
    return f"{100 * value:+.1f}" if unit == "signed" else f"{value:.3g}"


def format_bytes(count: float) -> str:
    """Return a number of bytes, such as ``1.2 MB``."""
    for unit in _UNITS:
        if abs(count) < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.3g} {unit}"


def _heading(measure: Measure, results: Sequence[Result]) -> str:
    counts = _counts(measure, results)
    unit = f", {measure.about}" if measure.about else ""
    return f"{measure.name}{unit} (n {counts.pop()})" if len(counts) == 1 else measure.name + unit


def _counts(measure: Measure, results: Sequence[Result]) -> set[int]:
    return {r.estimates[measure.name].n for r in results if measure.name in r.estimates}


def _cell(measure: Measure, found: Estimate | None, results: Sequence[Result]) -> str:
    if found is None:
        return NONE
    text = format_value(found.mean, measure.unit)
    if measure.unit == "share":
        text += f" [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    elif found.low != found.high:
        low, high = format_value(found.low, measure.unit), format_value(found.high, measure.unit)
        if low != high and (measure.name in MEDIANS or measure.unit != "bytes"):
            text += f" [{low}, {high}]"
    return text if len(_counts(measure, results)) == 1 else f"{text} n {found.n}"


def _share(found: Estimate | None) -> str:
    if found is None:
        return NONE
    return f"{100 * found.mean:.1f}% [{100 * found.low:.1f}, {100 * found.high:.1f}] n {found.n}"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
