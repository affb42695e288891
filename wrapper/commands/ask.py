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
    cache_folder,
    patches_folder,
)
from errata.commands.output import (
    answer_json,
    console,
    decision_json,
    fired_where,
    reports_errors,
    say,
    say_json,
)

if TYPE_CHECKING:
    from errata.gates.base import Candidate, Decision


@reports_errors
def ask(
    question: Question,
    model: Model = opening.ATLAS,
    patches: Patches = None,
    cache: Cache = None,
    encoder: Encoder = None,
    gate: Gate = None,
    reasoner: Reasoner = None,
    backend: Annotated[
        str,
        typer.Option(
            "--backend", help="What makes the edits: cache, a pipeline (serac, ike) or an editor."
        ),
    ] = "cache",
    no_edits: Annotated[
        bool, typer.Option("--no-edits", help="Ask the model alone, as if there were no patch.")
    ] = False,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Use only patches of this tag (may be repeated)."),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer, in tokens.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a question: the answer, and which patch (file:line) fired, if any did.

    Examples:
        errata ask "What colour is a zebra's skin?"

        errata ask "What colour is a zebra's skin?" --no-edits

        errata ask "Who made you?" --patches patches/ --json

        errata ask "What is the capital of Kazakhstan?" --backend ike
    """
    editable = opening.open_model(
        model, patches_folder(patches, model), cache_folder(cache), encoder, gate, reasoner
    )
    if backend != "cache":
        with console(stderr=True).status(f"putting {backend} to use"):
            editable.use(backend)
    selected: Any = False if no_edits else {"tags": tag} if tag else True
    limits = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    answer = editable.ask(question, edits=selected, **limits)
    if as_json:
        say_json(answer_json(question, answer))
        return
    say(answer.text)
    places = fired_where(answer)
    note = f"corrected by {', '.join(places)}" if places else "no patch fired: the model's own"
    say(f"[{note}]", style="dim", stderr=True)


@reports_errors
def explain(
    question: Question,
    model: Model = opening.ATLAS,
    patches: Patches = None,
    cache: Cache = None,
    encoder: Encoder = None,
    gate: Gate = None,
    as_json: AsJson = False,
) -> None:
    """Explain why a patch fires on a question, or why none does; no answer is generated.

    Where the gate is in doubt, the base model is asked whether it takes the question for the
    patch's own: it does if it says the same to both.

    Examples:
        errata explain "What do zebras eat?"

        errata explain "Tell me the skin colour of a zebra." --json
    """
    editable = opening.open_model(
        model, patches_folder(patches, model), cache_folder(cache), encoder, gate
    )
    decision = editable.explain(question)
    if as_json:
        say_json(decision_json(decision))
        return
    say(_verdict(decision))
    _show_candidates(decision)


def _verdict(decision: Decision) -> str:
    if decision.hit:
        places = ", ".join(str(edit.location or edit.id) for edit in decision.fired)
        read = f"; read as: {decision.canonical_query}" if decision.canonical_query else ""
        then = f"; then asked: {decision.sub_question}" if decision.sub_question else ""
        return f"fires: {places}{read}{then} (route: {decision.route})"
    if not decision.candidates:
        return "nothing fires: no patch is anywhere near this question"
    if decision.near_misses:
        near = decision.near_misses[0]
        why = f"from {near.threshold:.3f} on"
        if near.probability >= near.threshold:
            why = "but no reasoner can answer by it"
        return (
            f"nothing fires; near miss: {near.location or near.edit_id} "
            f"(probability {near.probability:.3f}, {why})"
        )
    best = decision.candidates[0]
    return (
        f"nothing fires: the best candidate has probability {best.probability:.3f}, "
        f"its threshold is {best.threshold:.3f}"
    )


def _show_candidates(decision: Decision) -> None:
    from rich.table import Table
    from rich.text import Text

    if not decision.candidates:
        return
    fired = {edit.id for edit in decision.fired}
    near = {candidate.edit_id for candidate in decision.near_misses}
    table = Table("", "probability", "threshold", "relation", "patch", "question or condition")
    for candidate in decision.candidates:
        mark = _mark(candidate) if candidate.edit_id in fired else _near(candidate, near)
        cells = (
            mark,
            f"{candidate.probability:.3f}",
            f"{candidate.threshold:.3f}",
            candidate.relation,
            str(candidate.location or candidate.edit_id),
            candidate.scope,
        )
        table.add_row(
            *(Text(cell) for cell in cells), style="bold" if candidate.edit_id in fired else None
        )
    console().print(table)


def _mark(candidate: Candidate) -> str:
    return "fires: the model agrees" if candidate.base_agreed else "fires"


def _near(candidate: Candidate, near: set[str]) -> str:
    return "near miss" if candidate.edit_id in near else ""
