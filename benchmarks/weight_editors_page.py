"""The figures of ``weight_editors.py`` over cases, as tables and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from errata.intervals import wilson

MEASURES = {
    "ES": "new object likelier than the old one, on the question",
    "PS": "the same on held-out phrasings",
    "NS": "old object likelier than the new one, for subjects that share it",
    "NS, own object": "own object likelier than the new one, for other subjects",
    "accuracy": "says the new object",
    "generality": "says it on held-out phrasings",
    "locality": "same question about other subjects: says what it said",
    "same subject": "other questions about the subject: says what it said",
}
"""What is measured, in the order of the tables: the first four by likelihood."""

MODES = {
    "single": "One edit at a time",
    "batch": "All edits in one batch",
    "sequence": "One edit after the other",
}
PARTS = 5
BARS = (
    ("rome", "single", "ES", 0.95), ("rome", "single", "PS", 0.80), ("rome", "single", "NS", 0.75),
    ("ft", "single", "accuracy", 0.99),
)  # fmt: skip

Outcomes = Sequence[dict[str, Any]]
"""A dictionary for each case: hits and n of each measure, the seconds the edit took, and whether
the editor refused it."""


def mean_share(outcomes: Outcomes, name: str) -> dict[str, Any]:
    """Return the mean over cases of each case's share, with its 95% interval over cases."""
    counts = [one[name] for one in outcomes if one[name][1]]
    share = sum(hits / n for hits, n in counts) / len(counts) if counts else 0.0
    low, high = wilson(share, len(counts))
    prompts = sum(n for _, n in counts)
    return {"share": share, "low": low, "high": high, "cases": len(counts), "prompts": prompts}


def rates(outcomes: Outcomes) -> dict[str, Any]:
    """Return every measure, S, and the time of an edit."""
    found = {name: mean_share(outcomes, name) for name in MEASURES}
    shares = [found[name]["share"] for name in ("ES", "PS", "NS")]
    harmonic = len(shares) / sum(1 / share for share in shares) if all(shares) else 0.0
    seconds = sum(one["seconds"] for one in outcomes) / len(outcomes)
    refused = sum(one["refused"] for one in outcomes)
    return {
        "cases": len(outcomes), "refused": refused, "S": harmonic, "seconds an edit": seconds,
        **found,
    }  # fmt: skip


def summary(
    by_seed: Sequence[Outcomes], *, backend: str, mode: str, settings: str
) -> dict[str, Any]:
    """Return the report on one backend in one mode."""
    return {
        "backend": backend,
        "mode": mode,
        "settings": settings,
        **rates([one for outcomes in by_seed for one in outcomes]),
        "retention": retention(by_seed) if mode == "sequence" else [],
        "seeds": [rates(outcomes) for outcomes in by_seed],
    }


def retention(by_seed: Sequence[Outcomes]) -> list[dict[str, Any]]:
    """Return ES and accuracy of the edits by when they were made, the earliest first."""
    n = min(map(len, by_seed))
    size = -(-n // PARTS)
    parts = []
    for start in range(0, n, size):
        mine = [one for outcomes in by_seed for one in outcomes[start : start + size]]
        found = {name: mean_share(mine, name) for name in ("ES", "accuracy")}
        parts.append({"edits": [start + 1, min(start + size, n)], **found})
    return parts


def table(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return runs of one mode as lines of Markdown: a row for each measure."""
    lines = [
        f"{runs[0]['mode']}, {runs[0]['cases']} edits | "
        + " | ".join(run["backend"] for run in runs),
        "|".join(["---"] * (len(runs) + 1)),
        "S (harmonic mean of the next three) | "
        + " | ".join(f"{100 * run['S']:.1f}" for run in runs),
    ]
    for name, told in MEASURES.items():
        first = runs[0][name]
        n = f"{first['prompts']} prompts, n = {first['cases']}"
        lines.append(f"{name}: {told} ({n}) | " + " | ".join(cell(run[name]) for run in runs))
    lines.append("edits refused | " + " | ".join(str(run["refused"]) for run in runs))
    lines.append("seconds an edit | " + " | ".join(f"{run['seconds an edit']:.2f}" for run in runs))
    return [f"| {line} |" for line in lines]


def cell(found: dict[str, Any]) -> str:
    """Return a share with its interval, in per cent."""
    return f"{100 * found['share']:.1f} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def page(report: dict[str, Any]) -> str:
    """Return the page."""
    seeds = ", ".join(map(str, report["seeds"]))
    lines = [
        "# Editors of weights, measured",
        "",
        f"Made by `{report['command']}`; do not edit by hand.",
        "",
        f"Base model: {report['model']} (digest {report['base']}). {report['n']} counterfactual "
        f"edits for each of the seeds {seeds}, about subjects of the *{report['split']}* split of "
        "the facts table, each made by one question; the new object is another one of the same "
        "relation. Measured on the edited base model alone: no cache, no gate. Rates in per cent "
        "are means over cases of each case's share; in brackets 95% Wilson intervals whose n is "
        "the number of cases, since the prompts of one case are not independent. The first four "
        "are by likelihood, as CounterFact defines them (mean NLL a token, teacher-forced); the "
        "others by free greedy generation, compared whole. `none` is the unedited model. Times are "
        "wall time on one core that others used, too: only their order tells anything.",
    ]
    for mode, title in MODES.items():
        runs = [run for run in report["runs"] if run["mode"] == mode]
        if runs:
            lines += ["", f"## {title}", "", *_about(mode), *table(runs)]
    sequences = [run for run in report["runs"] if run["retention"]]
    if sequences:
        lines += ["", "### What is left of early edits", "", *_retention(sequences)]
    lines += ["", "## What was asked for", "", *_bars(report["runs"])]
    lines += ["", "## Settings", "", *_settings(report["runs"])]
    return "\n".join(lines) + "\n"


def _about(mode: str) -> list[str]:
    if mode == "single":
        return []
    how = "planned in one go" if mode == "batch" else "planned one by one on the weights so far"
    return [f"The edits of a seed are {how}; all is measured after the last of them.", ""]


def _retention(runs: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "Accuracy (free generation) and ES after the last edit, by when an edit was made.",
        "",
        "| edits | n | " + " | ".join(f"{r['backend']}: accuracy | ES" for r in runs) + " |",
        "|---" * (2 + 2 * len(runs)) + "|",
    ]
    for i, part in enumerate(runs[0]["retention"]):
        first, last = part["edits"]
        cells = [cell(run["retention"][i][name]) for run in runs for name in ("accuracy", "ES")]
        n = part["accuracy"]["cases"]
        lines.append(f"| {first} to {last} | {n} | " + " | ".join(cells) + " |")
    return lines


def _bars(runs: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["| editor, mode | measure | at least | found |", "|---|---|---|---|"]
    for backend, mode, name, bar in BARS:
        for run in runs:
            if (run["backend"], run["mode"]) == (backend, mode):
                met = "met" if run[name]["share"] >= bar else "**missed**"
                lines.append(
                    f"| {backend}, {mode} | {name} | {100 * bar:.0f} | {cell(run[name])}, {met} |"
                )
    return lines


def _settings(runs: Sequence[dict[str, Any]]) -> list[str]:
    told = {run["backend"]: run["settings"] for run in runs if run["settings"] != "None"}
    return ["Chosen on *tune* subjects.", ""] + [
        f"- {backend}: `{settings}`" for backend, settings in told.items()
    ]
