"""Files of training data, each known by the keys of its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from errata.cache.errors import ErrataError
from errata.facts import FactSource
from errata.reasoners.data.rows import read_rows
from errata.reasoners.data.texts import RealTexts
from errata.reasoners.data.wikidata import with_wikidata

FACTS, PATTERNS = ("relation", "subject", "object"), ("relation", "pattern")
PAIRS, OPEN_QUESTIONS, INTENTS = ("a", "b", "same"), ("question", "answers"), ("text", "intent")
SHAPES = (FACTS, PATTERNS, PAIRS, OPEN_QUESTIONS, INTENTS)


def load_training_data(
    source: FactSource, paths: Sequence[Path]
) -> tuple[FactSource, RealTexts | None]:
    """Return a facts table with the facts of files added, and the texts of the others.

    :param source: the facts table.
    :param paths: files of JSON lines, plain or compressed with gzip.
    :return: the table; the texts, None where no file has any.
    :raises ErrataError: a file is missing or of no known shape, or two have the shape of one.
    """
    found: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for path in paths:
        found[_shape(path)].append(path)
    for shape, same in found.items():
        if shape != PAIRS and len(same) > 1:
            raise ErrataError(
                f"expected one file of {', '.join(shape)}, found {', '.join(map(str, same))}; "
                "join them, or name one"
            )
    one = {shape: same[0] for shape, same in found.items()}
    if FACTS in one:
        source = with_wikidata(source, one[FACTS], one.get(PATTERNS))
    elif PATTERNS in one:
        raise ErrataError(
            f"{one[PATTERNS]}: expected patterns beside a file of {', '.join(FACTS)}, found none; "
            "name it too"
        )
    if not {PAIRS, OPEN_QUESTIONS, INTENTS} & found.keys():
        return source, None
    return source, RealTexts.load(found[PAIRS], one.get(OPEN_QUESTIONS), one.get(INTENTS))


def _shape(path: Path) -> tuple[str, ...]:
    row = next(read_rows(path, ()), {})
    for shape in SHAPES:
        if row.keys() >= set(shape):
            return shape
    known = "; ".join(", ".join(shape) for shape in SHAPES)
    raise ErrataError(
        f"{path}: expected rows with the keys of one of these: {known}; found "
        f"{', '.join(map(str, row)) or 'no rows'}; name another file"
    )
