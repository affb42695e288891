"""A run in a few sentences that need no knowledge of the field."""

from __future__ import annotations

from collections.abc import Sequence

from errata.compare.report.measures import FIVE
from errata.compare.report.summary import Block, Result, Summary, real
from errata.compare.report.tables import duration, shown

_SHARES = {
    "accuracy": "answers {} of the edited questions as edited",
    "generality": "{} of their rewordings",
    "portability": "{} of the questions that follow from them",
    "locality, neighbours": "{} of neighbouring questions",
    "locality, unrelated": "{} of unrelated questions",
}


def sentence(summary: Summary) -> str:
    """Return which backend came first, what the first two did, and what they cost."""
    block = summary.blocks[0]
    chosen = real(block)
    if summary.void:
        return (
            f"This run is void: {', '.join(summary.void)} did not put the model back bit for bit."
        )
    if not chosen:
        return "Only controls were measured."
    ranked = sorted(chosen, key=lambda result: -_average(result))
    told = [_order(block, ranked), *map(_told, ranked[:2]), _cost(summary, ranked[:2])]
    if "tune" in summary.split:
        told.insert(0, "TUNE SPLIT: these cases are there to choose settings by. Report figures of "
                    "the test split.")  # fmt: skip
    return " ".join(part for part in told if part)


def _order(block: Block, ranked: Sequence[Result]) -> str:
    title = f"{block.title[0].upper()}{block.title[1:]}, {max(r.cases for r in ranked):,} cases"
    first, *others = (f"{r.backend} ({_average(r):.0%})" for r in ranked)
    if not others:
        return f"{title}."
    return f"{title}. On the average of the shares below, {first} is ahead of {_listed(others)}."


def _told(result: Result) -> str:
    parts = {k: v.format(f"{m:.1%}") for k, v in _SHARES.items()
             if (m := result.mean(k)) is not None}  # fmt: skip
    edited = [parts[k] for k in FIVE[:3] if k in parts]
    kept = [parts[k] for k in FIVE[3:] if k in parts]
    text = _listed(edited)
    if kept:
        text += f"{', and' if edited else ''} leaves {_listed(kept)} exactly as they were"
    if result.unsupported:
        text += f" (of {result.cases + result.unsupported} edits it can make {result.cases})"
    return f"{result.backend} {text}."


def _cost(summary: Summary, results: Sequence[Result]) -> str:
    """Return what an edit takes, and what was trained before there was any."""
    parts = []
    for result in results:
        seconds = result.mean("seconds an edit")
        trained = sum(summary.trained.get(result.backend, {}).values())
        if seconds is not None:
            before = f" ({duration(trained)} of training beforehand)" if trained else ""
            parts.append(f"{shown(seconds, 's')} with {result.backend}{before}")
    return f"An edit takes {_listed(parts)}." if parts else ""


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _average(result: Result) -> float:
    found = [mean for name in FIVE if (mean := result.mean(name)) is not None]
    return sum(found) / len(found) if found else 0.0
