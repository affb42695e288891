"""Which edits are made together, and after which of them who is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.compare.inputs.cases import Case
from errata.compare.run.settings import Mode


@dataclass(frozen=True, slots=True)
class Step:
    """Edits that are made, and the cases that are judged after the last of them.

    :param size: edits in force when they are judged (cases, where a case has several edits).
    :param made: groups of cases; the edits of a group are made in one go.
    :param judged: cases.
    """

    size: int
    made: tuple[tuple[Case, ...], ...]
    judged: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """Steps on top of one another; after the last, all edits are taken out.

    :param mode: how edits are made.
    :param steps: in order.
    """

    mode: Mode
    steps: tuple[Step, ...]


def units(mode: Mode, sizes: Sequence[int], cases: Sequence[Case]) -> list[Unit]:
    """Return the units of a mode.

    :param mode: ``single``, ``batch`` or ``sequential``.
    :param sizes: numbers of edits; those above the number of cases become that number. A sequence
        is measured after its last edit as well.
    :param cases: in the order in which their edits are made.
    """
    if mode == "single":
        return [Unit(mode, (Step(1, ((case,),), (case,)),)) for case in cases]
    counts = sorted({min(size, len(cases)) for size in sizes})
    if mode == "sequential":  # whatever the sizes, measured after the last edit, too
        counts = sorted({*counts, len(cases)})
    if mode == "batch":
        chunks = [
            (size, tuple(cases[start : start + size]))
            for size in counts
            for start in range(0, len(cases), size)
        ]
        return [Unit(mode, (Step(size, (chunk,), chunk),)) for size, chunk in chunks]
    steps = [
        Step(last, tuple((case,) for case in cases[first:last]), tuple(cases[:last]))
        for first, last in zip((0, *counts), counts, strict=False)
    ]
    return [Unit(mode, tuple(steps))]
