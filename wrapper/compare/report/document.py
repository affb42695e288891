"""The document of a comparison, such as ``results/comparison.md``, from its records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from errata.cache.storage.atomic import write_atomically
from errata.compare.report.charts import charts
from errata.compare.report.headline import headline
from errata.compare.report.markdown import sections
from errata.compare.report.measures import MEASURES, PROPERTIES, Measure
from errata.compare.report.summary import Block, Result, Summary, paired_difference
from errata.compare.report.tables import (
    NONE,
    Table,
    format_duration,
    format_points,
    format_value,
    group_table,
    label,
)
from errata.compare.run.backend_names import NONE as BASE
from errata.compare.run.records import Record

HIGH, LOW = 0.9, 0.6
NOT_MEASURED, CANNOT = "not measured", "makes no such edits"
QUICK = 1.0
"""Seconds up to which an edit is quick."""

_WORDS = """\
The usual table of this field, in words, each word from a measurement: *high* from {high:.0%},
*low* below {low:.0%}, *medium* between. *Quick* is up to {quick:.0f} second an edit, median, on the
machine that the run was made on. *Batch* is accuracy with as many edits as the column says, all
made in one go; the other properties are of {block}.
"""
_DIFFERENCE_NOTE = (
    "Points more than above, over the cases that both runs have: the mean of the cases' "
    "differences, 95% intervals by resampling cases (Wilson's where no case differs), n cases."
)


def write_document(
    summary: Summary,
    path: Path,
    others: Sequence[Summary] = (),
    backends: Sequence[str] = (),
) -> None:
    """Write the document, and its charts in a folder of the same name.

    :param summary: a run.
    :param path: such as ``results/comparison.md``; its charts go to ``results/comparison/``.
    :param others: runs under other conditions, compared with it.
    :param backends: those to be named in the table of words, in this order, measured or not.
    :raises errata.cache.errors.MissingExtra: matplotlib is not installed.
    """
    drawn = charts(summary)
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for title, picture in drawn.items():
        name = f"{title.lower().replace(' ', '-')}.svg"
        write_atomically(folder / name, picture.encode())
        pictures.append(f"![{title}]({folder.name}/{name})")
    write_atomically(path, document(summary, pictures, others, backends).encode())


def document(
    summary: Summary,
    pictures: Sequence[str] = (),
    others: Sequence[Summary] = (),
    backends: Sequence[str] = (),
) -> str:
    """Return the document as Markdown.

    :param summary: a run.
    :param pictures: Markdown of its charts.
    :param others: runs under other conditions.
    :param backends: those to be named in the table of words, measured or not.
    """
    block = next((one for one in summary.blocks if one.mode == "single"), summary.blocks[0])
    words = in_words(summary, block, backends)
    note = _WORDS.format(high=HIGH, low=LOW, quick=QUICK, block=block.title)
    return "\n\n".join([
        "# Ways of editing, compared",
        "Made by `errata report RUN --document FILE` from a run's records; do not "
        "edit by hand.",
        headline(summary),
        "## In words", note.strip(), words.markdown(),
        *pictures,
        *(part for other in others for part in _other_run(summary, other)),
        *sections(summary),
    ]) + "\n"  # fmt: skip


def _other_run(summary: Summary, other: Summary) -> list[str]:
    """Return another run's properties, and its differences from the first on the same cases."""
    block, main = other.blocks[0], summary.blocks[0]
    edits = other.about["protocol"].get("parts", {}).get("background edits", 0)
    title = f"## The same with {edits:,} more edits in the caches" if edits else "## Another run"
    found = group_table(block, "properties", "Properties")
    measures = [measure for measure in MEASURES if measure.name in PROPERTIES]
    rows = tuple(
        (
            label(name),
            *(_difference(m, other.records[name], summary.records[name]) for m in measures),
        )
        for name in block.results
        if name in main.results
    )
    differences = Table("", "", ("backend", *(m.name for m in measures)), rows)
    return [
        title, f"{block.title[0].upper()}{block.title[1:]}.",
        *([] if found is None else [found.markdown()]),
        _DIFFERENCE_NOTE, differences.markdown(),
    ]  # fmt: skip


def _difference(measure: Measure, first: Sequence[Record], second: Sequence[Record]) -> str:
    found = paired_difference(measure, first, second)
    if found is None:
        return NONE
    mean, low, high = (format_points(value) for value in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}] n {found.n}"


def in_words(summary: Summary, block: Block, backends: Sequence[str] = ()) -> Table:
    """Return the five properties in words: high, medium, low; quick or slow; yes or no.

    :param summary: a run.
    :param block: that of the properties; batches are those of the largest one in one go.
    :param backends: named first, in this order, whether the run has them or not.
    """
    batch = next((one for one in summary.blocks if one.mode == "batch"), None)
    many = f"batch of {batch.size}" if batch else "batch"
    header = ("backend", *PROPERTIES, many, "efficiency", "trained beforehand",
              "weights untouched", "undone bit for bit")  # fmt: skip
    names = dict.fromkeys([*backends, *block.results])
    rows = tuple(_row(summary, name, block, batch) for name in names)
    return Table("In words", "", header, rows)


def _row(summary: Summary, name: str, block: Block, batch: Block | None) -> tuple[str, ...]:
    result = block.results.get(name)
    if result is None:
        return label(name), NOT_MEASURED, *[NONE] * (len(PROPERTIES) + 4)
    if not result.cases:
        return label(name), CANNOT, *[NONE] * (len(PROPERTIES) + 4)
    exact = summary.rollbacks.get(name)
    trained = summary.trained.get(name)
    many = None if batch is None else batch.results.get(name)
    return (
        label(name),
        *(_word(result.mean(each)) for each in PROPERTIES),
        NONE if many is None else _word(many.mean("accuracy")),
        _speed(result.mean("seconds an edit")),
        NONE
        if trained is None
        else format_duration(sum(trained.values()))
        if trained
        else "nothing",
        _untouched(summary, result),
        NONE if exact is None else "yes" if exact else "NO",
    )


def _untouched(summary: Summary, result: Result) -> str:
    """Return whether no bit of the weights changes; of runs of errata 0.2, by kind of backend."""
    touched = summary.touched.get(result.backend)
    if touched is None:
        touched = not (result.pipeline or result.backend == BASE)
    return "no" if touched else "yes"


def _word(share: float | None) -> str:
    if share is None:
        return NONE
    word = "high" if share >= HIGH else "low" if share < LOW else "medium"
    return f"{word} ({100 * share:.0f}%)"


def _speed(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    return f"{'quick' if seconds <= QUICK else 'slow'} ({format_value(seconds, 's')})"
