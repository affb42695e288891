"""How much of a large cache is in memory, and how the rest is searched."""

from __future__ import annotations

from dataclasses import dataclass, field

from errata.cache.index.inverted_file_config import InvertedFileConfig


@dataclass(frozen=True, slots=True)
class SegmentConfig:
    """When edits are read from disk as they become candidates, and how many at most.

    :param from_edits: edits made by program from which most of them are on disk only; below it all
        are in memory and found exactly.
    :param recent: edits in memory at most, beside those that depend on others, until they are
        moved; a change costs a time in proportion.
    :param records: edits that were read and are kept (each has a vector of d numbers a text).
    :param per_term: edits with a word at most for it to count; a query with a word of more is found
        by its other words, and by its vector.
    :param per_name: facts of one name read at most.
    :param per_answer: facts with one answer looked at at most, to take the nearest.
    :param filtered: vectors looked at at most where the caller's selection leaves most edits out.
    :param length_share: b of BM25, how much the number of an edit's words counts, 0 to 1.
    :param saturation: k1 of BM25.
    :param inverted: how the vectors are dealt out and searched.
    """

    from_edits: int = 10_000
    recent: int = 2_000
    records: int = 2_000
    per_term: int = 1_000
    per_name: int = 64
    per_answer: int = 10_000
    filtered: int = 4_096
    length_share: float = 0.75
    saturation: float = 1.2
    inverted: InvertedFileConfig = field(default_factory=InvertedFileConfig)
