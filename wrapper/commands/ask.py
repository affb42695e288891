"""``errata ask`` and ``errata explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands import opening
from errata.commands.options import (
    AsJson,
    Cache,
    Encoder,
    Gate,
    Model,
    Patches,
    Question,
    Reasoner,
    Resolvers,
    cache_folder,
    patches_folder,
    resolver_names,
)
from errata.commands.output import (
    answer_json,
    console,
    counted,
    decision_json,
    fired_locations,
    location_of,
    print_json,
    print_line,
    reports_errors,
)
from errata.commands.progress import working

if TYPE_CHECKING:
    from collections.abc import Iterator

    from errata.gates.base import Candidate, Decision
    from errata.output import Answer

Backend = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="How edits are applied: cache, a pipeline (serac, ike), or an editor.",
    ),
]
Mentions = Annotated[
    str,
    typer.Option(
        "--mentions",
        metavar="off|context",
        help="Whether a request that only names a patch's subject gets the patch as context.",
    ),
]
Tag = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="Use only patches with this tag; may be repeated."),
]

Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="TEXT",
        help="What a patch's rollout draws by, such as a user's id; by default the question.",
    ),
]

SHOWN = 6
"""Candidates that `errata explain` lists besides those that fire or nearly do."""


@reports_errors
def ask(
    question: Question,
    model: Model = opening.ATLAS,
    patches: Patches = None,
    cache: Cache = None,
    encoder: Encoder = None,
    gate: Gate = None,
    reasoner: Reasoner = None,
    resolvers: Resolvers = None,
    backend: Backend = "cache",
    mentions: Mentions = "off",
    no_edits: Annotated[
        bool, typer.Option("--no-edits", help="Ask the base model, without any patch.")
    ] = False,
    tag: Tag = None,
    key: Key = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Maximum length of the answer, in tokens."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question: print the answer, and the patches that fired (file:line).

    The answer goes to stdout, the note about the patches to stderr.

    Examples:
        errata ask "What colour is a zebra's skin?"

        errata ask "What colour is a zebra's skin?" --no-edits

        errata ask "Who made you?" --patches patches/ --json

        errata ask "What is the capital of Kazakhstan?" --backend ike
    """
    editable = opening.open_model(
        model, patches_folder(patches, model), cache_folder(cache), encoder, gate, reasoner,
        mentions, resolver_names(resolvers),
    )  # fmt: skip
    if backend != "cache":
        with working(f"applying the edits by {backend}"):
            editable.use(backend)
    selected: Any = False if no_edits else {"tags": tag} if tag else True
    options = _keyed(key)
    if max_new_tokens is not None:
        options["max_new_tokens"] = max_new_tokens
    with working("answering"):
        answer = editable.ask(question, edits=selected, **options)
    if as_json:
        print_json(answer_json(question, answer))
        return
    print_line(answer.text)
    print_line(f"[{_note(answer)}]", style="dim", stderr=True)


def _keyed(key: str | None) -> dict[str, Any]:
    """Return the argument that passes a key on, if there is one."""
    return {} if key is None else {"key": key}


def _note(answer: Answer) -> str:
    locations = fired_locations(answer)
    if not locations:
        return "no patch fired: the base model's answer"
    reached = "in its context" if answer.decision.mentioned else "fired"
    outcome = "".join(f"; the reasoner's answer was {one}" for one in answer.trace.outcomes if one)
    return f"{reached}: {', '.join(locations)}{outcome}"


@reports_errors
def explain(
    question: Question,
    model: Model = opening.ATLAS,
    patches: Patches = None,
    cache: Cache = None,
    encoder: Encoder = None,
    gate: Gate = None,
    key: Key = None,
    resolvers: Resolvers = None,
    as_json: AsJson = False,
) -> None:
    """Explain why a patch fires on a question, or why none does; prints no answer.

    Lists the candidates with probability, threshold and relation (paraphrase
    or entailed), and the resolvers that changed what the gate decided.

    Examples:
        errata explain "What do zebras eat?"

        errata explain "Tell me the skin colour of a zebra." --json

        errata explain "What do zebras eat?" --key user-17
    """
    editable = opening.open_model(
        model, patches_folder(patches, model), cache_folder(cache), encoder, gate,
        resolvers=resolver_names(resolvers),
    )  # fmt: skip
    with working("deciding"):
        decision = editable.explain(question, **_keyed(key))
    if as_json:
        print_json(decision_json(decision))
        return
    print_line(_verdict(decision))
    for candidate in decision.withheld:
        print_line(
            f"withheld by its rollout: {location_of(candidate) or candidate.edit_id} "
            f"(probability {candidate.probability:.3f}, threshold {candidate.threshold:.3f})"
        )
    if decision.resolvers:
        changed = ", ".join(decision.changed_by) or "none"
        print_line(f"resolvers: {', '.join(decision.resolvers)}; changed by: {changed}")
    _show_candidates(decision)


def _verdict(decision: Decision) -> str:
    if decision.hit:
        return "\n".join(_fired(decision))
    if not decision.candidates:
        return "nothing fires: no patch is a candidate for this question"
    if decision.near_misses:
        near = decision.near_misses[0]
        reason = f"threshold {near.threshold:.3f}"
        if near.probability >= near.threshold:
            reason = f"above its threshold {near.threshold:.3f}, but no reasoner supports the patch"
        return (
            f"nothing fires; near miss: {location_of(near) or near.edit_id} "
            f"(probability {near.probability:.3f}, {reason})"
        )
    best = decision.candidates[0]
    return (
        f"nothing fires: the best candidate has probability {best.probability:.3f}, "
        f"threshold {best.threshold:.3f}"
    )


def _fired(decision: Decision) -> Iterator[str]:
    locations = ", ".join(location_of(edit) or edit.id for edit in decision.fired)
    hops = f", hops: {decision.hops}" if decision.hops else ""
    yield f"fires: {locations} (route: {decision.route}{hops})"
    for edit in decision.overruled:
        yield f"overrules: {location_of(edit) or edit.id}, of the same scope"
    if decision.canonical_query:
        yield f"canonical query: {decision.canonical_query}"
    if decision.sub_question:
        yield f"sub-question: {decision.sub_question}"


def _show_candidates(decision: Decision) -> None:
    from rich.table import Table
    from rich.text import Text

    fired = {edit.id for edit in decision.fired}
    near = {candidate.edit_id for candidate in decision.near_misses}
    shown = [
        candidate for i, candidate in enumerate(decision.candidates)
        if i < SHOWN or candidate.listed or candidate.edit_id in fired | near
    ]  # fmt: skip
    if not shown:
        return
    table = Table("", "probability", "threshold", "relation")
    table.add_column("patch", overflow="fold")
    for candidate in shown:
        cells = (
            _mark(candidate, fired, near),
            f"{candidate.probability:.3f}",
            f"{candidate.threshold:.3f}",
            candidate.relation,
            f"{location_of(candidate) or candidate.edit_id}\n{candidate.scope}",
        )
        table.add_row(
            *(Text(cell) for cell in cells), style="bold" if candidate.edit_id in fired else None
        )
    console().print(table)
    omitted = len(decision.candidates) - len(shown)
    if omitted:
        print_line(f"{counted(omitted, 'more candidate')}: --json lists all", style="dim")


def _mark(candidate: Candidate, fired: set[str], near: set[str]) -> str:
    if candidate.listed is not None:
        fires = "fires" if candidate.listed == "fires" else "silent"
        place = candidate.listed_at or "its tests"
        return f"{fires}: listed in {place}"
    if candidate.edit_id in fired:
        return "fires: base agrees" if candidate.base_agreed else "fires"
    if candidate.near_silent:
        return "nearer to a silent example"
    return "near miss" if candidate.edit_id in near else ""
