"""``errata replay``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.cache.errors import ErrataError
from errata.commands import opening
from errata.commands.audit_log import Log, Patch, Since, Until, log_filter
from errata.commands.options import AsJson, Cache, Encoder, Gate, Model, cache_folder
from errata.commands.output import (
    counted,
    error_json,
    one_line,
    print_json,
    print_line,
    reports_errors,
)
from errata.commands.progress import progress
from errata.json_forms import replayed_json

if TYPE_CHECKING:
    from errata.audit.replay import ReplayedQuery, Verdict
    from errata.model import EditableModel

Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, help="Decide in N processes (needs errata\\[ray])."
    ),
]
DIFFERENT, TROUBLE = 1, 2
"""Exit codes of a diff tool."""


@reports_errors
def replay(
    log: Log,
    patches: Annotated[Path, typer.Option("--patches", metavar="DIR", help="The patches to try.")],
    model: Model = opening.ATLAS,
    cache: Cache = None,
    encoder: Encoder = None,
    gate: Gate = None,
    since: Since = None,
    until: Until = None,
    patch: Patch = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """List the logged queries that other patches would answer otherwise.

    Each query of the log is decided again, with the patches of DIR; printed
    is what the log says and what is decided now, where they differ. A
    decision differs if another patch, another text of it, or another route
    answers. Patterns in answers are not replayed: the log has no answers.

    Exit codes, as of diff: 0, no query would be answered otherwise; 1, some
    would; 2, an error.

    Examples:
        errata replay audit.sqlite3 --patches patches/

        errata replay audit.sqlite3 --patches new/ --since 7d --json
    """
    try:
        found, total = _replay(
            log, log_filter(since, until, patch),
            lambda: opening.open_model(model, patches, cache_folder(cache), encoder, gate), workers,
        )  # fmt: skip
    except ErrataError as error:
        if as_json:
            print_json({"error": error_json(error)})
        else:
            print_line(f"error: {error}", style="red", stderr=True)
        raise typer.Exit(TROUBLE) from None
    from errata.audit.replay import merged

    different = merged(one for one in found if one.differs)
    queries = sum(one.count for one in different)
    if as_json:
        print_json(
            {
                "replayed": total,
                "different": queries,
                "queries": [replayed_json(one) for one in different],
            }
        )
    else:
        for one in different:
            times = "" if one.count == 1 else f" ({one.count:,} times)"
            print_line(f"{one_line(one.query)}{times}", style="bold")
            print_line(f"  - {_text(one.before)}", style="red")
            print_line(f"  + {_text(one.after)}{_changed(one)}", style="green")
        print_line(f"{queries:,} of {counted(total, 'decision')} would be another now")
    if different:
        raise typer.Exit(DIFFERENT)


def _replay(
    log: str, wanted: Any, open_model: Callable[[], EditableModel], workers: int | None
) -> tuple[list[ReplayedQuery], int]:
    """Return the queries of a log, decided again, and the number of logged decisions."""
    from errata.audit.opening import open_log
    from errata.audit.replay import replay as replayed

    with open_log(log) as opened:
        opened.require_text()
        logged = list(opened.read(wanted))
    if workers is None:
        editable = open_model()
        partial = _has_rollouts(editable)
        with progress("replaying", len(logged)) as advance:
            found = list(replayed(logged, editable, by_conversation=partial, progress=advance))
        return found, len(logged)
    from errata.distributed import RayDecider, RayPool

    with RayPool(open_model, workers) as pool, progress("replaying", len(logged)) as advance:
        partial = next(pool.map(lambda one, _: _has_rollouts(one), [None]))
        decider = RayDecider(pool)
        found = list(
            replayed(
                logged, decider, by_conversation=partial, batch=decider.batch, progress=advance
            )
        )
    return found, len(logged)


def _has_rollouts(editable: EditableModel) -> bool:
    return any(edit.rollout < 1 for edit in editable.edits)


def _changed(one: ReplayedQuery) -> str:
    """Return what the places of the patches do not show: that one says something else now."""
    pairs = list(zip(one.before.patches, one.after.patches, strict=False))
    same = [(a, b) for a, b in pairs if (a.name, a.scope) == (b.name, b.scope)]
    return ", which says something else" if any(a.content != b.content for a, b in same) else ""


def _text(verdict: Verdict) -> str:
    probability = "" if verdict.probability is None else f" (probability {verdict.probability:.3f})"
    names = ", ".join(f"{patch.name} {patch.scope!r}" for patch in verdict.patches)
    return f"{verdict.route}: {names}{probability}" if names else f"{verdict.route}: no patch"
