"""A run in a few sentences of plain language."""

from __future__ import annotations

from collections.abc import Sequence

from errata.compare.report.measures import PROPERTIES
from errata.compare.report.summary import Block, Result, Summary, without_controls
from errata.compare.report.tables import format_duration, format_value

_SHARES = {
    "accuracy": "answers {} of the edited questions as edited",
    "generality": "{} of their rewordings",
    "portability": "{} of the questions that follow from them",
    "locality, neighbours": "{} of neighbouring questions",
    "locality, unrelated": "{} of unrelated questions",
}


def headline(summary: Summary) -> str:
    """Return which backend came first, the figures of the first two, and what they cost."""
    block = summary.blocks[0]
    results = without_controls(block)
    if summary.void:
        return (
            f"This run is void: {', '.join(summary.void)} did not put the model back bit for bit."
        )
    if not results:
        return "Only controls were measured."
    ranked = sorted(results, key=lambda result: -_average(result))
    best = ranked[:2]
    sentences = [_ranking(block, ranked), *map(_shares, best), _cost(summary, best)]
    if "tune" in summary.split:
        sentences.insert(0, "TUNE SPLIT: these cases are there to choose settings by. Report "
                            "figures of the test split.")  # fmt: skip
    return " ".join(sentence for sentence in sentences if sentence)


def _ranking(block: Block, ranked: Sequence[Result]) -> str:
    fewest, most = (each(r.cases for r in ranked) for each in (min, max))
    cases = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    title = f"{block.title[0].upper()}{block.title[1:]}, {cases} cases"
    first, *others = (f"{r.backend} ({_average(r):.0%})" for r in ranked)
    if not others:
        return f"{title}."
    return f"{title}. On the average of the shares below, {first} is ahead of {_listed(others)}."


def _shares(result: Result) -> str:
    parts = {k: v.format(f"{m:.1%}") for k, v in _SHARES.items()
             if (m := result.mean(k)) is not None}  # fmt: skip
    edited = [parts[k] for k in PROPERTIES[:3] if k in parts]
    kept = [parts[k] for k in PROPERTIES[3:] if k in parts]
    text = _listed(edited)
    if kept:
        text += f"{', and' if edited else ''} leaves {_listed(kept)} exactly as they were"
    if result.unsupported:
        text += f" (of {result.cases + result.unsupported} edits it can make {result.cases})"
    return f"{result.backend} {text}."


def _cost(summary: Summary, results: Sequence[Result]) -> str:
    """Return the time an edit takes, and the training time before the first."""
    parts = []
    for result in results:
        seconds = result.mean("seconds an edit")
        trained = sum(summary.trained.get(result.backend, {}).values())
        if seconds is not None:
            before = f" ({format_duration(trained)} of training beforehand)" if trained else ""
            parts.append(f"{format_value(seconds, 's')} with {result.backend}{before}")
    return f"An edit takes {_listed(parts)}." if parts else ""


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _average(result: Result) -> float:
    found = [mean for name in PROPERTIES if (mean := result.mean(name)) is not None]
    return sum(found) / len(found) if found else 0.0
