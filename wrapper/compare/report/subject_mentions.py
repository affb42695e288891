"""Open questions that mention an edit's subject, counted apart from unrelated ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from errata.cache.text.normalize import Words, contains_any, plain_words
from errata.compare.run.records import Record

UNRELATED, NAMING = "unrelated", "naming an edited subject"


def separate_subject_mentions(records: Sequence[Record]) -> Iterator[Record]:
    """Yield records in which open questions that mention an edited subject are a separate kind.

    "what is the currency in france?" is no false hit of an edit about France's currency. Whether
    such a question is in scope is open, so it counts neither for nor against locality.

    :param records: a backend's, of one mode and size, in the order they were written. The subjects
        are those of the recorded edits.
    """
    groups = _edit_groups(records)
    subjects: dict[tuple[int, int], set[Words]] = defaultdict(set)
    for group, record in zip(groups, records, strict=True):
        subjects[group] |= _subjects(record)
    for group, record in zip(groups, records, strict=True):
        if "locality" in record:  # absent where the backend does not support the edits
            probes = [_reclassified(probe, subjects[group]) for probe in record["locality"]]
            record = {**record, "locality": probes}
        yield record


def _edit_groups(records: Sequence[Record]) -> list[tuple[int, int]]:
    """Return for each record its seed and the number of its group of edits in force together.

    Positions count from 0 in every group: a single edit, or a chunk of a batch. In a sequence all
    cases of one size are evaluated after the same edits.
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
    subjects = (edit.get("subject") for edit in record["edits"])
    return {words for subject in subjects if subject and (words := plain_words(subject))}


def _reclassified(probe: Record, subjects: set[Words]) -> Record:
    if probe["kind"] != UNRELATED or not contains_any(probe["prompt"], subjects):
        return probe
    return {**probe, "kind": NAMING}
