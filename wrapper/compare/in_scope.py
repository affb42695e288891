"""Open questions that name what an edit is about, told from those that no edit is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from errata.cache.plain import Words, names_one, plain_words
from errata.compare.records import Record

UNRELATED, NAMING = "unrelated", "naming an edited subject"


def told_apart(records: Sequence[Record]) -> Iterator[Record]:
    """Yield records in which open questions that name an edited subject are a kind of their own.

    "what is the currency in france?" is nobody's false hit where an edit says which currency France
    has: whether such a question is in scope, no rule tells, so it counts on neither side.

    :param records: cases of one mode and size; of each draw, those whose edits were in force
        together. A case tells the subjects of its edits since they are recorded.
    """
    together = {seed: _subjects(r for r in records if r["seed"] == seed)
                for seed in {record["seed"] for record in records}}  # fmt: skip
    for record in records:
        alone = record["mode"] == "single"
        subjects = _subjects([record]) if alone else together[record["seed"]]
        if "locality" in record:  # not of a case whose edits the backend cannot make
            record = {**record, "locality": [_told(p, subjects) for p in record["locality"]]}
        yield record


def _subjects(records: Iterable[Record]) -> set[Words]:
    named = (edit.get("subject") for record in records for edit in record["edits"])
    return {words for subject in named if subject and (words := plain_words(subject))}


def _told(probe: Record, subjects: set[Words]) -> Record:
    if probe["kind"] != UNRELATED or not names_one(probe["prompt"], subjects):
        return probe
    return {**probe, "kind": NAMING}
