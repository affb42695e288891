"""``errata triage``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands.audit_log import Log, Patch, Since, Until, log_filter
from errata.commands.options import AsJson, OwnPatches, own_patches
from errata.commands.output import (
    counted,
    location_of,
    one_line,
    print_json,
    print_line,
    reports_errors,
)

if TYPE_CHECKING:
    from errata.audit.triage import TriageCase

CHOICES = {"y": "fires", "n": "silent", "s": None, "q": None}
"""What is typed, and the list that the query is written into."""


@reports_errors
def triage(
    log: Log,
    patches: OwnPatches = None,
    since: Since = None,
    until: Until = None,
    patch: Patch = None,
    near: Annotated[
        float, typer.Option(min=0, max=1, help="Misses from this share of the threshold on.")
    ] = 0.5,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="Hits up to this share of the way to certainty.")
    ] = 0.5,
    all_hits: Annotated[
        bool, typer.Option("--all", help="Every hit, however sure the gate was.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go through near misses and narrow hits of a log, and teach the patches.

    Of each query it asks whether the patch should answer it. y writes the
    query under the patch's fires, n under its silent; s skips it, q ends.
    Comments and order of the file stay, and the file is read before it is
    replaced. From the next reload on the query is a listed example, and
    that decides. With --json the cases are listed and nothing is asked.

    Examples:
        errata triage audit.sqlite3

        errata triage audit.sqlite3 --since 1d --patch capitals.yaml --all

        errata triage audit.sqlite3 --json
    """
    from errata.audit.opening import open_log
    from errata.audit.triage import TriageConfig, triage_cases
    from errata.cache.patches.files import load_folder

    folder = own_patches(patches)
    with open_log(log) as opened:
        opened.require_text()
        logged = opened.read(log_filter(since, until, patch))
        cases = triage_cases(logged, load_folder(folder), TriageConfig(near, margin, all_hits))
    if as_json:
        print_json([_json(case) for case in cases])
        return
    if not cases:
        print_line("nothing to decide: no near miss, and no hit by a narrow margin; --all: any hit")
        return
    written = _ask_about(cases)
    print_line(f"{counted(written, 'example')} added; {counted(len(cases), 'case')} in all")
    load_folder(folder)  # each file was read before it was replaced; this is the folder


def _ask_about(cases: tuple[TriageCase, ...]) -> int:
    """Ask about cases one by one; return how many examples were written."""
    from errata.cache.errors import PatchError
    from errata.cache.patches.examples import add_example

    written = 0
    for number, case in enumerate(cases, 1):
        _show(case, f"{number} of {len(cases)}")
        choice = _choice()
        if choice == "q":
            break
        which = CHOICES[choice]
        if which is None:
            continue
        try:
            where = add_example(case.edit, "fires" if which == "fires" else "silent", case.query)
        except (PatchError, OSError) as error:
            print_line(f"error: {error}", style="red", stderr=True)
            continue
        written += 1
        print_line(f"{where}: added under {which}", style="dim")
    return written


def _show(case: TriageCase, place: str) -> None:
    times = "" if case.count == 1 else f", asked {case.count:,} times"
    print_line(f"\n[{place}] {one_line(case.query)}", style="bold")
    print_line(
        f"{case.outcome} (probability {case.probability:.3f}, threshold {case.threshold:.3f}"
        f"{times}): {location_of(case.edit)}\n  {case.edit.scope}"
    )


def _choice() -> str:
    """Return what a person chooses; the end of the input is q."""
    while True:
        try:
            typed = typer.prompt("Should this patch answer it? [y]es, [n]o, [s]kip, [q]uit")
        except typer.Abort:
            return "q"
        choice = str(typed).strip().lower()[:1]
        if choice in CHOICES:
            return choice


def _json(case: TriageCase) -> dict[str, Any]:
    return {
        "query": case.query,
        "count": case.count,
        "outcome": case.outcome,
        "probability": case.probability,
        "threshold": case.threshold,
        "id": case.edit.id,
        "location": location_of(case.edit),
        "scope": case.edit.scope,
    }
