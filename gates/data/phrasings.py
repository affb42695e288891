"""Relations beyond the facts table, and the ways to ask them: ``tables/phrasings.yaml``.

The table's relations are few: a gate trained on them alone would take any other question about a
known subject for one of them. ``{s}`` is the subject; ``{t}`` a second one, in relations where
their order matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from errata.gates.data.yaml_tables import load_table


@dataclass(frozen=True, slots=True)
class ExtraRelation:
    """One relation and the ways it is asked.

    :param kind: kind of its subjects, as in the facts table or :func:`extra_subjects`.
    :param name: the relation's name.
    :param forms: the ways to ask that are trained on.
    :param tune: those that only tuning asks, if there are enough.
    :param test: those that only the test asks, if there are enough.
    :param mixed: whether the forms ask different things: they serve as negatives only.
    """

    kind: str
    name: str
    forms: tuple[str, ...]
    tune: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    mixed: bool = False


@cache
def extra_subjects() -> Mapping[str, tuple[str, ...]]:
    """Return the subjects of the kinds that the facts table lacks."""
    return {kind: tuple(names) for kind, names in load_table("phrasings")["subjects"].items()}


@cache
def extra_relations() -> tuple[ExtraRelation, ...]:
    """Return the relations; no form of tune or test is among the trained forms of any."""
    rows = load_table("phrasings")["relations"]
    splits = [_split_forms(row["forms"]) for row in rows]
    trained = {form for forms, _, _ in splits for form in forms}

    def unseen(forms: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(form for form in forms if form not in trained)

    return tuple(
        ExtraRelation(
            row["kind"], row["name"], forms, unseen(tune), unseen(test), row.get("mixed", False)
        )
        for row, (forms, tune, test) in zip(rows, splits, strict=True)
    )


def _split_forms(forms: list[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the forms for training, tuning and the test; fewer than four are all trained on."""
    each = 0 if len(forms) < 4 else max(1, len(forms) // 6)
    kept = len(forms) - 2 * each
    return tuple(forms[:kept]), tuple(forms[kept : kept + each]), tuple(forms[kept + each :])
