"""Curves of an evaluation as PNG files; needs the extra ``plots``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from errata.cache.errors import ModelError
from errata.gates.evaluation.metrics import calibration_bins
from errata.gates.evaluation.report import Report


def require_matplotlib() -> None:
    """Raise an error early where matplotlib is missing.

    :raises ModelError: it is not installed; names the extra.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ModelError(
            "drawing needs matplotlib, which is not installed: pip install 'errata[plots]', or "
            "leave --plots out"
        ) from error


def draw(reports: Sequence[Report], folder: Path) -> list[Path]:
    """Draw ROC, precision and recall, reliability, and every kind of query.

    :param reports: of the gates, one line each.
    :param folder: made if it is not there.
    :return: the files written.
    :raises ModelError: matplotlib is not installed.
    """
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {"roc": _roc, "precision_recall": _precision_recall,
                "reliability": _reliability, "kinds": _kinds}  # fmt: skip
    written = []
    for name, paint in drawings.items():
        figure = paint(reports)
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=120, bbox_inches="tight")
        written.append(path)
    return written


def _panels(count: int, *, across: int = 2, width: float = 5.0, height: float = 4.2) -> Any:
    from matplotlib.figure import Figure

    rows = -(-count // across)
    figure = Figure(figsize=(width * min(across, count), height * rows), layout="constrained")
    axes = figure.subplots(rows, min(across, count), squeeze=False)
    for spare in axes.flat[count:]:
        spare.set_visible(False)
    return figure, axes.flat


def _suites(reports: Sequence[Report]) -> list[str]:
    return list(dict.fromkeys(sample.name for report in reports for sample in report.samples))


def _roc(reports: Sequence[Report]) -> Any:
    from sklearn.metrics import roc_curve

    suites = _suites(reports)
    figure, axes = _panels(len(suites))
    for suite, axis in zip(suites, axes, strict=False):
        for report in reports:
            for sample in report.samples:
                if sample.name == suite and len(np.unique(sample.truths)) == 2:
                    false, true, _ = roc_curve(sample.truths, sample.scores)
                    axis.plot(np.maximum(false, 1e-4), true, label=report.gate)
        axis.axhline(0.95, color="grey", linewidth=0.6, linestyle=":")
        axis.set(xscale="log", xlim=(1e-4, 1), ylim=(0, 1.01), title=_wrapped(suite),
                 xlabel="false hits, share of what is out of scope",
                 ylabel="recall")  # fmt: skip
        axis.legend(loc="lower right")
    return figure


def _precision_recall(reports: Sequence[Report]) -> Any:
    from sklearn.metrics import precision_recall_curve

    suites = _suites(reports)
    figure, axes = _panels(len(suites))
    for suite, axis in zip(suites, axes, strict=False):
        for report in reports:
            for sample in report.samples:
                if sample.name == suite and len(np.unique(sample.truths)) == 2:
                    precision, recall, _ = precision_recall_curve(sample.truths, sample.scores)
                    axis.plot(recall, precision, label=report.gate)
        axis.set(xlim=(0, 1.01), ylim=(0, 1.01), title=_wrapped(suite), xlabel="recall",
                 ylabel="precision")  # fmt: skip
        axis.legend(loc="lower left")
    return figure


def _reliability(reports: Sequence[Report]) -> Any:
    figure, axes = _panels(1)
    axis = axes[0]
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.6, linestyle=":")
    for report in reports:
        if report.reliability is not None:
            bins = calibration_bins(report.reliability.scores, report.reliability.truths)
            predicted, observed = zip(*bins, strict=True)
            axis.plot(predicted, observed, marker="o", markersize=4, label=report.gate)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title="Reliability, 15 bins of equal mass",
             xlabel="probability of the top candidate", ylabel="share that it governs")  # fmt: skip
    axis.legend(loc="upper left")
    return figure


def _kinds(reports: Sequence[Report]) -> Any:
    groups = list(dict.fromkeys(kind.group for report in reports for kind in report.kinds))
    longest = max(len({k.kind for r in reports for k in r.kinds if k.group == g}) for g in groups)
    figure, axes = _panels(len(groups), width=6.5, height=1.5 + 0.28 * longest)
    thick = 0.8 / len(reports)
    for group, axis in zip(groups, axes, strict=False):
        keys = list(dict.fromkeys(
            (k.label, k.kind) for r in reports for k in r.kinds if k.group == group
        ))  # fmt: skip
        for number, report in enumerate(reports):
            found = {(k.label, k.kind): k.fires for k in report.kinds if k.group == group}
            at = [place for place, key in enumerate(keys) if key in found]
            fires = [found[keys[place]] for place in at]
            values = np.array([one.mean for one in fires])
            spread = np.array([(one.low, one.high) for one in fires]).T
            axis.barh(np.array(at) + number * thick, values, thick, label=report.gate,
                      xerr=np.abs(spread - values), error_kw={"linewidth": 0.7})  # fmt: skip
        axis.set_yticks([place + 0.4 - thick / 2 for place in range(len(keys))],
                        [f"{kind} ({label})" for label, kind in keys])  # fmt: skip
        axis.invert_yaxis()
        axis.set(xlim=(0, 1), title=f"{group}: share that fires")
        axis.legend(loc="lower right")
    return figure


def _wrapped(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 44)
