"""The charts of a report, as SVG, readable in grey and by the colour-blind."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from errata.cache.errors import MissingExtra
from errata.compare.report.measures import PROPERTIES
from errata.compare.report.summary import Block, Summary, without_controls
from errata.compare.run.backend_names import is_control
from errata.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Okabe and Ito's, distinct for the colour-blind."""
_MARKERS = "osD^vP*X"
_HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "ooo", "--")
_GREY = "#767676"


def charts(summary: Summary) -> dict[str, str]:
    """Return every chart that the run has data for, as SVG, by title.

    :raises MissingExtra: matplotlib is not installed.
    """
    _figure((1, 1))  # raises before anything is drawn
    block = summary.blocks[0]
    drawn: dict[str, Callable[[], Figure | None]] = {
        "The five properties": lambda: properties(block),
        "Accuracy against locality": lambda: accuracy_against_locality(block),
        "Decay with the number of edits": lambda: decay(summary),
        "Retention of early edits": lambda: retention(summary),
        "What it costs": lambda: costs(block),
    }
    found = {title: draw() for title, draw in drawn.items()}
    return {title: svg(figure, title) for title, figure in found.items() if figure is not None}


def svg(figure: Figure, title: str) -> str:
    """Return a figure as an SVG element, the same for the same data."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": title}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def properties(block: Block) -> Figure | None:
    """Return the properties side by side: a column each, a row a backend, 95% intervals."""
    names = [
        name for name in PROPERTIES if any(name in r.estimates for r in block.results.values())
    ]
    results = list(block.results.values())[::-1]
    if not names:
        return None
    figure = _figure((2.1 * len(names) + 1.4, 0.36 * len(results) + 1.3))
    panels: Any = figure.subplots(1, len(names), sharey=True, squeeze=False)
    for axes, name in zip(panels[0], names, strict=True):
        for row, result in enumerate(results):
            found = result.estimates.get(name)
            if found is None:
                continue
            colour, marker, _ = _style(result.backend, block)
            axes.errorbar([100 * found.mean], [row], xerr=_spread([found]),
                          color=colour, marker=marker, capsize=2.5, linestyle="none")  # fmt: skip
            right = found.mean < 0.5
            axes.annotate(f"{100 * found.mean:.0f}", (100 * found.mean, row), fontsize=7.5,
                          xytext=(0, 4), textcoords="offset points",
                          ha="left" if right else "right", va="bottom")  # fmt: skip
        axes.set(title=name.replace(", ", "\n"), xlim=(-6, 106), xlabel="%")
        axes.title.set_size(9.5)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    panels[0][0].set_yticks(range(len(results)), [r.backend for r in results])
    panels[0][0].set_ylim(-0.6, len(results) - 0.2)
    return figure


def accuracy_against_locality(block: Block) -> Figure | None:
    """Return accuracy (filled) and generality (hollow) against locality of neighbours."""
    points = [r for r in block.results.values() if r.backend != "none"]
    figure = _figure((6.4, 4.6))
    axes = figure.subplots()
    some = False
    for at, result in enumerate(points):
        local = result.estimates.get("locality, neighbours")
        local = local or result.estimates.get("locality, unrelated")
        colour, marker, _ = _style(result.backend, block)
        for name, filled in (("accuracy", True), ("generality", False)):
            found = result.estimates.get(name)
            if local is None or found is None:
                continue
            some = True
            axes.errorbar(
                [100 * local.mean], [100 * found.mean], color=colour, marker=marker, markersize=8,
                xerr=_spread([local]), yerr=_spread([found]),
                markerfacecolor=colour if filled else "white", elinewidth=0.8, linestyle="none",
                label=result.backend if filled else None, zorder=3 + len(points) - at,
            )  # fmt: skip
    if not some:
        return None
    axes.set(xlabel="locality: neighbouring questions token-equal, %", xlim=(-4, 104),
             ylabel="accuracy (filled), generality (hollow), %", ylim=(-4, 104))  # fmt: skip
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def decay(summary: Summary) -> Figure | None:
    """Return how accuracy, generality and locality change with the number of edits."""
    wanted = ("accuracy", "generality", "locality, neighbours", "locality, unrelated")
    present = {name for b in summary.blocks for r in without_controls(b) for name in r.estimates}
    names = [name for name in wanted if name in present]
    modes = [
        mode
        for mode in ("batch", "sequential")
        if len({b.size for b in summary.blocks if b.mode == mode}) > 1
    ]
    if not modes or not names:
        return None
    figure = _figure((2.6 * len(names) + 0.6, 2.7 * len(modes) + 0.5))
    panels: Any = figure.subplots(len(modes), len(names), sharex=True, sharey=True, squeeze=False)
    for line, mode in zip(panels, modes, strict=True):
        blocks = sorted((b for b in summary.blocks if b.mode == mode), key=lambda b: b.size)
        for axes, name in zip(line, names, strict=True):
            _lines(axes, blocks, name)
            axes.set_title(f"{name}\n({mode})", fontsize=9)
        line[0].set_ylabel("%")
    for axes in panels[-1]:
        axes.set_xlabel("edits in force")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=6,
                  fontsize=8, frameon=False)  # fmt: skip
    return figure


def retention(summary: Summary) -> Figure | None:
    """Return the accuracy of a sequence's edits, the first ones on the left."""
    kept = [r for r in summary.retention if not is_control(r.backend)]
    if not kept:
        return None
    block = summary.blocks[0]
    figure = _figure((6.4, 3.6))
    axes = figure.subplots()
    parts = list(dict.fromkeys((r.first, r.last) for r in kept))
    names = list(dict.fromkeys(r.backend for r in kept))
    for at, name in enumerate(names):
        retained = [r for r in kept if r.backend == name]
        colour, marker, _ = _style(name, block)
        offset = 0.06 * (at - (len(names) - 1) / 2)  # keeps equal lines apart
        axes.errorbar(
            [parts.index((r.first, r.last)) + offset for r in retained],
            [100 * r.estimate.mean for r in retained], yerr=_spread([r.estimate for r in retained]),
            color=colour, marker=marker, label=name, capsize=2, elinewidth=0.7,
        )  # fmt: skip
    axes.set_xticks(range(len(parts)), [f"{first}–{last}" for first, last in parts])
    axes.set(ylabel="accuracy after the whole sequence, %", xlabel="edits, in order made",
             ylim=(-4, 104))  # fmt: skip
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def costs(block: Block) -> Figure | None:
    """Return latency and memory as bars."""
    results = without_controls(block)
    groups = (
        ("added to a question, ms", ("added on a hit", "added on a miss"), False, 1.0),
        ("seconds an edit (log)", ("seconds an edit",), True, 1.0),
        ("memory, MB (log)", ("bytes kept an edit", "peak memory"), True, 1e-6),
    )
    if not results or not any("seconds an edit" in r.estimates for r in results):
        return None
    figure = _figure((10.5, 0.55 * len(results) + 1.6))
    panels: Any = figure.subplots(1, len(groups), sharey=True)
    for axes, (title, names, log, scale) in zip(panels, groups, strict=True):
        height = 0.8 / len(names)
        for at, name in enumerate(names):
            values = [scale * (r.mean(name) or 0.0) for r in results]
            places = [row + (at - (len(names) - 1) / 2) * height for row in range(len(results))]
            axes.barh(places, values, height=0.9 * height, label=name, hatch=("", "////")[at],
                      color=(_COLOURS[0], "white")[at], edgecolor=_COLOURS[0])  # fmt: skip
        if log:
            axes.set_xscale("log")
        axes.set_xlabel(title)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        if len(names) > 1:
            axes.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    panels[0].set_yticks(range(len(results)), [r.backend for r in results])
    panels[0].invert_yaxis()
    return figure


def _lines(axes: Any, blocks: Sequence[Block], name: str) -> None:
    backends = [r.backend for r in without_controls(blocks[-1])]
    for at, backend in enumerate(backends):
        factor = 1.035 ** (at - (len(backends) - 1) / 2)  # as in retention
        points = [
            (b.size, found)
            for b in blocks
            if backend in b.results and (found := b.results[backend].estimates.get(name))
        ]
        if not points:
            continue
        colour, marker, _ = _style(backend, blocks[-1])
        axes.errorbar(
            [factor * size for size, _ in points], [100 * e.mean for _, e in points], color=colour,
            marker=marker, label=backend, capsize=2, linewidth=1.2, elinewidth=0.7,
            yerr=_spread([e for _, e in points]),
        )  # fmt: skip
    axes.set(xscale="log", ylim=(-4, 104))
    sizes = [b.size for b in blocks]
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.grid(color="#dddddd", linewidth=0.6)


def _spread(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Return the lengths of error bars below and above, in per cent, never negative."""
    return [
        [max(0.0, 100 * (e.mean - e.low)) for e in estimates],
        [max(0.0, 100 * (e.high - e.mean)) for e in estimates],
    ]


def _style(backend: str, block: Block) -> tuple[str, str, str]:
    """Return colour, marker and hatch of a backend: the same in every chart of a report."""
    if is_control(backend):
        controls = [name for name in block.results if is_control(name)]
        return _GREY, _MARKERS[controls.index(backend) % len(_MARKERS)], "..."
    names = [result.backend for result in without_controls(block)]
    at = names.index(backend) if backend in names else 0
    return (
        _COLOURS[at % len(_COLOURS)],
        _MARKERS[at % len(_MARKERS)],
        _HATCHES[at % len(_HATCHES)],
    )


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra(
            "expected the package `matplotlib` for the charts of a report, found none; install "
            "errata[plots], or print the figures with --json or --csv"
        ) from error
    return Figure(figsize=size, layout="constrained")
