"""Read and write the cases of a comparison, in every known format."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from errata.cache.errors import ErrataError
from errata.cache.storage.atomic import write_atomically
from errata.compare.inputs.cases import Case
from errata.compare.inputs.loaders.base import Format
from errata.compare.inputs.loaders.counterfact import CounterFact
from errata.compare.inputs.loaders.jsonl import ErrataLines, dump
from errata.compare.inputs.loaders.knowedit import KnowEdit
from errata.compare.inputs.loaders.mquake import MQuAKE
from errata.compare.inputs.loaders.patches import Patches
from errata.compare.inputs.loaders.question_pairs import QuestionPairs, cases_of_split
from errata.compare.inputs.loaders.records import Source, read_source
from errata.compare.inputs.loaders.rippleedits import RippleEdits
from errata.compare.inputs.loaders.zsre import ZsRE

_FORMATS: tuple[Format, ...] = (
    ErrataLines(), CounterFact(), MQuAKE(), ZsRE(), KnowEdit(), RippleEdits(), QuestionPairs(),
    Patches(),
)  # fmt: skip
FORMATS: Mapping[str, Format] = MappingProxyType({known.name: known for known in _FORMATS})
"""Formats by name, in the order in which a file is tried for them."""


def load_cases(
    path: str | Path,
    format: str | None = None,
    n: int | None = None,
    seed: int = 0,
    split: str | None = None,
) -> list[Case]:
    """Return the cases of a file or folder.

    :param path: a JSON list or JSON lines, gzipped or not, or a folder of patches.
    :param format: a key of :data:`FORMATS`; by default detected from the content.
    :param n: how many at most, drawn at random and in random order; all, in the file's order, if
        None.
    :param seed: of the draw.
    :param split: only cases of this split, ``test`` or ``tune``; None takes all.
    :raises ErrataError: the file cannot be read, is of no known format, or a record is malformed;
        names file and index or line.
    """
    source = read_source(path)
    cases = _format(source, format).cases(source)
    _check_ids(cases, source)
    if split is not None:
        cases = cases_of_split(cases, split)
    if n is None:
        return cases
    return random.Random(f"cases/{seed}").sample(cases, min(n, len(cases)))


def write_cases(cases: Sequence[Case], path: str | Path) -> None:
    """Write cases in errata's format, atomically.

    :param cases: :func:`load_cases` returns equal ones.
    :param path: a file, replaced if it is there.
    :raises ErrataError: the disk refuses.
    """
    lines = [json.dumps(dump(case), ensure_ascii=False) + "\n" for case in cases]
    try:
        write_atomically(Path(path), "".join(lines).encode())
    except OSError as error:
        raise ErrataError(
            f"{path}: expected a file that can be written, found: {error}; name another one"
        ) from error


def _format(source: Source, name: str | None) -> Format:
    if name is not None:
        if name not in FORMATS:
            raise ErrataError(f"expected a format, one of {', '.join(FORMATS)}, found {name!r}")
        return FORMATS[name]
    fitting = next((known for known in FORMATS.values() if known.fits(source)), None)
    if fitting is None:
        keys = ", ".join(source.first.body) if source.first else "none"
        raise ErrataError(
            f"{source.path}: expected a file of one of the formats {', '.join(FORMATS)}, found "
            f"records with the keys {keys}; correct the file, or name its format"
        )
    return fitting


def _check_ids(cases: Sequence[Case], source: Source) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise ErrataError(
                f"{source.path}: expected an id for each case, found {case.id!r} twice; rename one"
            )
        seen.add(case.id)
