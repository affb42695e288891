"""Which edits are applied together, and after which of them each case is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.compare.inputs.cases import Case
from errata.compare.run.settings import Mode


@dataclass(frozen=True, slots=True)
class Step:
    """Edits to apply, and the cases to evaluate after the last of them.

    :param size: edits in force at the evaluation (cases, where a case has several edits).
    :param applied: groups of cases; the edits of a group are applied in one go.
    :param evaluated: cases.
    """

    size: int
    applied: tuple[tuple[Case, ...], ...]
    evaluated: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class EditBatch:
    """Steps on top of one another; after the last, all edits are undone.

    :param mode: how edits are applied.
    :param steps: in order.
    """

    mode: Mode
    steps: tuple[Step, ...]


def edit_batches(mode: Mode, sizes: Sequence[int], cases: Sequence[Case]) -> list[EditBatch]:
    """Return the batches of edits of a mode.

    :param mode: ``single``, ``batch`` or ``sequential``.
    :param sizes: numbers of edits; those above the number of cases become that number. A sequence
        is measured after its last edit as well.
    :param cases: in the order in which their edits are applied.
    """
    if mode == "single":
        return [EditBatch(mode, (Step(1, ((case,),), (case,)),)) for case in cases]
    counts = sorted({min(size, len(cases)) for size in sizes})
    if mode == "sequential":  # whatever the sizes, measured after the last edit, too
        counts = sorted({*counts, len(cases)})
    if mode == "batch":
        chunks = [
            (size, tuple(cases[start : start + size]))
            for size in counts
            for start in range(0, len(cases), size)
        ]
        return [EditBatch(mode, (Step(size, (chunk,), chunk),)) for size, chunk in chunks]
    steps = [
        Step(last, tuple((case,) for case in cases[first:last]), tuple(cases[:last]))
        for first, last in zip((0, *counts), counts, strict=False)
    ]
    return [EditBatch(mode, tuple(steps))]
