"""Conflicts between edits, found and reported."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from errata.cache.filters.regex import substitute
from errata.cache.precedence import effect, in_force, same_scope
from errata.cache.records import Edit, Fact, RegexPatch
from errata.cache.text.normalize import compare, rough_key

ConflictKind = Literal[
    "two answers",
    "duplicate",
    "shared example",
    "shadowed question",
    "rewritten answer",
    "expired",
    "pending",
]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A conflict that a person should resolve.

    :param kind: the kind of conflict.
    :param edits: the edits concerned, one or two.
    :param message: what is wrong, where (``file:line`` of each) and what to do.
    """

    kind: ConflictKind
    edits: tuple[Edit, ...]
    message: str

    def __str__(self) -> str:
        """Return the message."""
        return self.message


def conflicts(
    edits: Iterable[Edit],
    today: datetime.date | None = None,
    told_from: Callable[[Edit], bool] = lambda edit: True,
) -> tuple[Conflict, ...]:
    """Return the conflicts among edits.

    :param edits: all edits, in force or not.
    :param today: the day to judge dates by; the present one unless given.
    :param told_from: of which edits the place comes first where two are concerned; the later one's
        where that says it of both.
    """
    day = today or datetime.date.today()
    everything = tuple(edits)
    live = in_force(everything, day)
    return (
        *_dates(everything, day),
        *_two_answers(live, told_from),
        *_shared_examples(live, told_from),
        *_rewritten(live),
    )


def _place(edit: Edit) -> str:
    return str(edit.location) if edit.location is not None else f"edit {edit.id}"


def _dates(edits: Sequence[Edit], day: datetime.date) -> list[Conflict]:
    found = []
    for edit in edits:
        if edit.until is not None and edit.until < day:
            message = (
                f"{_place(edit)}: expired on {edit.until} and no longer in force: delete the patch "
                "or move until"
            )
            found.append(Conflict("expired", (edit,), message))
        elif edit.valid_from is not None and edit.valid_from > day:
            message = f"{_place(edit)}: not in force before {edit.valid_from}"
            found.append(Conflict("pending", (edit,), message))
    return found


def _two_answers(edits: Sequence[Edit], told_from: Callable[[Edit], bool]) -> list[Conflict]:
    """Return a conflict for each edit whose scope an earlier one of the same priority has."""
    groups: dict[tuple[str, ...], list[Edit]] = {}
    for edit in edits:
        groups.setdefault(_claim(edit), []).append(edit)
    found = []
    for group in groups.values():
        first: list[Edit] = []
        for edit in group:
            above = [one for one in first if same_scope(one, edit)]
            other = next((one for one in above if one.priority == edit.priority), None)
            if other is None:
                first.append(edit)
                continue
            one, two = (edit, other) if told_from(edit) or not told_from(other) else (other, edit)
            if effect(other) != effect(edit):
                message = (
                    f"{_place(one)}: {one.scope!r} is answered {effect(one)!r} here and "
                    f"{effect(two)!r} at {_place(two)}: delete one, or say which rules by "
                    "priority or supersedes; until then the later one speaks, "
                    f"{'the one here' if one is edit else 'the other'}"
                )
                found.append(Conflict("two answers", (other, edit), message))
            else:
                message = (
                    f"{_place(one)}: says of {one.scope!r} what {_place(two)} says: delete "
                    "one, and move its examples to the other"
                )
                found.append(Conflict("duplicate", (other, edit), message))
    return found


def _shared_examples(edits: Sequence[Edit], told_from: Callable[[Edit], bool]) -> list[Conflict]:
    """Return a conflict for each text that two edits of one priority are said to fire on."""
    known: dict[str, list[tuple[str, Edit]]] = {}
    found = []
    for edit in edits:
        for text in () if isinstance(edit, RegexPatch) else edit.examples:
            others = known.setdefault(rough_key(text), [])
            for listed, other in others:
                one_claim = same_scope(edit, other)  # its answers are compared already
                if (
                    other is not edit and not one_claim and edit.priority == other.priority
                    and effect(edit) != effect(other) and compare(listed, text) == "same"
                ):  # fmt: skip
                    one, two = edit, other
                    if told_from(other) and not told_from(edit):
                        one, two = other, edit
                    message = (
                        f"{_place(one)}: is listed to fire on {text!r}, as is {_place(two)}: "
                        "delete it from one, or say which rules by priority or supersedes"
                    )
                    found.append(Conflict("shared example", (other, edit), message))
            others.append((text, edit))
    return found


def _claim(edit: Edit) -> tuple[str, ...]:
    """Return a key that edits of one scope have in common."""
    if isinstance(edit, RegexPatch):
        return (edit.kind, edit.target, edit.pattern)
    return (edit.kind, rough_key(edit.scope))


def _rewritten(edits: Sequence[Edit]) -> list[Conflict]:
    facts = [edit for edit in edits if isinstance(edit, Fact)]
    found = []
    for patch in edits:
        if not isinstance(patch, RegexPatch):
            continue
        for fact in facts:
            text = fact.question if patch.target == "query" else fact.answer
            changed, _ = substitute(patch, text)
            if changed == text:
                continue
            if patch.target == "query":
                message = (
                    f"{_place(patch)}: the pattern rewrites the question of {_place(fact)} to "
                    f"{changed!r} before it is looked up, so that patch may never fire: ask the "
                    "rewritten question there, or narrow the pattern"
                )
                found.append(Conflict("shadowed question", (patch, fact), message))
            else:
                message = (
                    f"{_place(patch)}: the pattern rewrites the answer of {_place(fact)} to "
                    f"{changed!r}: write the answer so, or narrow the pattern"
                )
                found.append(Conflict("rewritten answer", (patch, fact), message))
    return found
