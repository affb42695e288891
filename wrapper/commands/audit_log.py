"""``errata log``."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from errata.commands.options import AsJson
from errata.commands.output import (
    counted,
    one_line,
    print_line,
    printable,
    reports_errors,
)

if TYPE_CHECKING:
    from errata.audit.log import LogFilter
    from errata.audit.records import LoggedDecision, LoggedPatch

SHOWN = 50
"""Decisions that are listed as text."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
"""Seconds of the units in which an age is given."""


def moment(value: str | None, option: str = "--since") -> float | None:
    """Return a time as seconds since 1970.

    :param value: an age (``30m``, ``2h``, ``7d``, ``1w``) or a date or time (``2027-01-31``,
        ``2027-01-31T12:00``), local unless it says otherwise.
    :param option: its name, for the message.
    :raises typer.BadParameter: it is neither.
    """
    if value is None:
        return None
    age = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", value.strip())
    if age is not None:
        return time.time() - float(age[1]) * UNITS[age[2]]
    try:
        return datetime.datetime.fromisoformat(value.strip()).timestamp()
    except ValueError as error:
        raise typer.BadParameter(
            f"expected an age such as 2h or 7d, or a date such as 2027-01-31, found {value!r}",
            param_hint=option,
        ) from error


Log = Annotated[
    str,
    typer.Argument(
        metavar="LOG",
        help="The SQLite file, or PostgreSQL URL, that EditableModel(..., audit=LOG) writes.",
        show_default=False,
    ),
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="From then on: 2h, 7d, or 2027-01-31."),
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Before then: as --since.")
]
Patch = Annotated[
    str | None,
    typer.Option(
        "--patch", metavar="WHICH", help="That fired or nearly did: an id, file or file:line."
    ),
]


def _route(value: str | None) -> str | None:
    """Return the name of a route.

    :raises typer.BadParameter: it is none.
    """
    from errata.gates.base import Route

    if value is not None and value not in get_args(Route):
        raise typer.BadParameter(f"expected {', '.join(get_args(Route))}, found {value!r}")
    return value


def log_filter(
    since: str | None, until: str | None, patch: str | None = None, route: str | None = None,
    min_probability: float | None = None, max_probability: float | None = None,
) -> LogFilter:  # fmt: skip
    """Return the filter that options of a command describe."""
    from errata.audit.log import LogFilter

    return LogFilter(
        moment(since), moment(until, "--until"), patch, route, min_probability, max_probability
    )


@reports_errors
def log(
    log: Log,
    since: Since = None,
    until: Until = None,
    patch: Patch = None,
    route: Annotated[
        str | None,
        typer.Option(
            "--route", metavar="ROUTE", help="verbatim, reason, refuse or base.", callback=_route
        ),
    ] = None,
    min_probability: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="P", help="At least that probable.")
    ] = None,
    max_probability: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="P", help="At most that probable.")
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last", min=1, metavar="N", help="The newest N alone.")
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
) -> None:
    """List what was decided about queries, oldest first, from an audit log.

    A probability is that of the patch that fired; of a miss, that of the
    best candidate. Without --last the newest 50 are shown as text, and all
    as JSON and CSV.

    Examples:
        errata log audit.sqlite3 --since 2h

        errata log audit.sqlite3 --patch capitals.yaml:12 --max-probability 0.8

        errata log audit.sqlite3 --route base --csv > misses.csv
    """
    from errata.audit.opening import open_log

    wanted = log_filter(since, until, patch, route, min_probability, max_probability)
    with open_log(log) as opened:
        if as_csv:
            _print_csv(opened.read(wanted, last))
            return
        if as_json:
            _print_json_list(map(logged_json, opened.read(wanted, last)))
            return
        shown = list(opened.read(wanted, last or SHOWN))
        for one in shown:
            _show(one)
        print_line(f"{counted(len(shown), 'decision')} of {opened.count(wanted):,}")


def logged_json(one: LoggedDecision) -> dict[str, Any]:
    """Return the fields of a logged decision."""
    return {
        "time": iso(one.time),
        "query": one.query,
        "route": one.route,
        "shadow": one.shadow,
        "fired": [_patch_json(patch) for patch in one.fired],
        "probability": one.probability,
        "threshold": one.threshold,
        "listed": one.listed,
        "runner_up": None if one.runner_up is None else _patch_json(one.runner_up),
        "runner_up_probability": one.runner_up_probability,
        "runner_up_threshold": one.runner_up_threshold,
        "hops": one.hops,
        "effective_query": one.effective_query,
        "conversation": one.conversation,
        "withheld": [_patch_json(patch) for patch in one.withheld],
        "replaced": [_patch_json(patch) for patch in one.replaced],
        "decision_ms": one.decision_ms,
        "total_ms": one.total_ms,
        "gate": one.gate,
        "model": one.model,
        "patches": one.patches,
    }


def iso(seconds: float) -> str:
    """Return a time in ISO 8601, UTC."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(
        timespec="milliseconds"
    )


def _patch_json(patch: LoggedPatch) -> dict[str, Any]:
    return {"id": patch.id, "location": patch.location or None, "scope": patch.scope}


def _print_json_list(rows: Iterable[dict[str, Any]]) -> None:
    """Print a list, one element at a time: a log may be larger than the memory."""
    import json

    between = "[\n"
    for row in rows:
        typer.echo(between + printable(json.dumps(row, ensure_ascii=False)), nl=False)
        between = ",\n"
    typer.echo("[]" if between == "[\n" else "\n]")


def _print_csv(decisions: Iterable[LoggedDecision]) -> None:
    import csv
    import sys

    from errata.audit.records import LoggedDecision

    columns = list(logged_json(LoggedDecision(0.0, "", "base")))
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    for one in decisions:
        row = logged_json(one)
        for key in ("fired", "withheld", "replaced"):
            row[key] = " ".join(patch["location"] or patch["id"] for patch in row[key])
        best = row["runner_up"]
        row["runner_up"] = "" if best is None else best["location"] or best["id"]
        writer.writerow(row)


def _show(one: LoggedDecision) -> None:
    """Print a decision: the query, and under it what fired or came nearest."""
    route = one.route + (" (shadow)" if one.shadow else "")
    style = "bold" if one.fired else None
    print_line(f"{iso(one.time)[:19]}Z  {route:8}  {one_line(one.query)}", style=style)
    if one.fired:
        names = ", ".join(patch.name for patch in one.fired)
        listed = ", listed" if one.listed else ""
        print_line(f"    {names}{_probability(one.probability, one.threshold)}{listed}")
    elif one.runner_up is not None:
        odds = _probability(one.runner_up_probability, one.runner_up_threshold)
        print_line(f"    did not fire: {one.runner_up.name}{odds}")
    for each in one.withheld:
        print_line(f"    withheld by its rollout: {each.name}")
    for each in one.replaced:
        print_line(f"    replaced text: {each.name}")


def _probability(probability: float | None, threshold: float | None) -> str:
    if probability is None or threshold is None:
        return ""
    return f" (probability {probability:.3f}, from {threshold:.3f} on)"
