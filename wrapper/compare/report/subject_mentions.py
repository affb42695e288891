"""Open questions that name what an edit is about, told from those that no edit is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from errata.cache.text.normalize import Words, names_one, plain_words
from errata.compare.run.records import Record

UNRELATED, NAMING = "unrelated", "naming an edited subject"


def told_apart(records: Sequence[Record]) -> Iterator[Record]:
    """Yield records in which open questions that name an edited subject are a kind of their own.

    "what is the currency in france?" is nobody's false hit where an edit says which currency France
    has: whether such a question is in scope, no rule tells, so it counts on neither side.

    :param records: a backend's, of one mode and size, in the order they were made. A case tells the
        subjects of its edits since they are recorded.
    """
    groups = _together(records)
    subjects: dict[tuple[int, int], set[Words]] = defaultdict(set)
    for group, record in zip(groups, records, strict=True):
        subjects[group] |= _subjects(record)
    for group, record in zip(groups, records, strict=True):
        if "locality" in record:  # not of a case whose edits the backend cannot make
            told = [_told(probe, subjects[group]) for probe in record["locality"]]
            record = {**record, "locality": told}
        yield record


def _together(records: Sequence[Record]) -> list[tuple[int, int]]:
    """Return for each record its draw and which of the draw's groups of edits was in force.

    Positions count from 0 in every group: an edit alone, a chunk of a batch. Of a sequence all
    cases of one size are judged after the same edits.
    """
    last: dict[int, int] = {}
    group: dict[int, int] = defaultdict(int)
    found = []
    for record in records:
        seed, position = record["seed"], record["position"]
        if record["mode"] != "sequential" and position <= last.get(seed, -1):
            group[seed] += 1
        last[seed] = position
        found.append((seed, group[seed]))
    return found


def _subjects(record: Record) -> set[Words]:
    named = (edit.get("subject") for edit in record["edits"])
    return {words for subject in named if subject and (words := plain_words(subject))}


def _told(probe: Record, subjects: set[Words]) -> Record:
    if probe["kind"] != UNRELATED or not names_one(probe["prompt"], subjects):
        return probe
    return {**probe, "kind": NAMING}
