"""Labelled question pairs: edit the one question, ask the other."""

from __future__ import annotations

from dataclasses import replace

from errata.cache.records import Fact
from errata.compare.inputs.cases import DIFFERENT_QUESTION, SAME_QUESTION, Case, Probe
from errata.compare.inputs.loaders.records import Record, Source


class QuestionPairs:
    """Reads pairs of questions, ``{"a": …, "b": …, "same": 0 | 1}`` a record.

    ``a`` is edited, with a stored answer of its own, and ``b`` is asked: a *same question* has to
    fire that edit, a *different question* none. Only decisions are measured, with all edits in
    force together; no answers are generated. Of pairs with the same ``a`` the first is taken.
    """

    name = "question-pairs"

    def fits(self, source: Source) -> bool:
        """Return whether the first record has two questions and a label."""
        return source.first is not None and source.first.has("a", "b", "same")

    def cases(self, source: Source) -> list[Case]:
        """Return one case a question that is edited.

        :raises ErrataError: a record is malformed.
        """
        found: dict[str, Case] = {}
        for record in source.records:
            found.setdefault(record.text("a"), _case(record))
        return list(found.values())


def cases_of_split(cases: list[Case], split: str) -> list[Case]:
    """Return the cases of a split, ``test`` or ``tune``.

    Question pairs are split as for training gates, by the hash of a question's connected component
    (:func:`errata.gates.data.pairs.split_pairs`); all other cases carry their split, if any.

    :param cases: of a file.
    :param split: its name.
    """
    from errata.gates.data.pairs import QuestionPair, split_pairs

    pairs = {
        QuestionPair(case.edits[0].question, case.probes[0].prompt, False): case.id
        for case in cases
        if case.decisions_only
    }
    chosen = {pairs[pair] for pair in split_pairs(list(pairs)).get(split, ())}  # type: ignore[call-overload]
    return [
        replace(case, split=split)
        for case in cases
        if (case.id in chosen if case.decisions_only else case.split == split)
    ]


def _case(record: Record) -> Case:
    label = record.body.get("same")
    if label not in (0, 1):
        raise record.wrong("0 or 1 under 'same'", label)
    answer = f"stored answer {record.index}"
    kind = SAME_QUESTION if label else DIFFERENT_QUESTION
    probe = Probe(kind, record.text("b"), (answer,) if label else ())
    return Case(str(record.index), (Fact(record.text("a"), answer),), (probe,))
