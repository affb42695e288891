"""Reading WordNet's files of meanings (https://wordnet.princeton.edu/documentation/wndb5wn)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SYNTACTIC_MARKER = re.compile(r"\(.*\)")


@dataclass(frozen=True, slots=True)
class Synset:
    """A meaning.

    :param offset: its place in the file, by which pointers refer to it.
    :param file: number of the lexicographer's file; 15 holds places.
    :param words: the words with this meaning.
    :param pointers: relation, offset and part of speech of each related meaning.
    """

    offset: int
    file: str
    words: tuple[str, ...]
    pointers: tuple[tuple[str, int, str], ...]

    @property
    def single(self) -> bool:
        """Whether it is one thing (Bombay) and no kind of things (city)."""
        return any(relation == "@i" for relation, _, _ in self.pointers)


def synsets(path: Path) -> Iterator[Synset]:
    """Yield the meanings of a file.

    :param path: such as ``dict/data.noun``.
    """
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.startswith(" "):  # the licence
            continue
        offset, file, _, count, *rest = line.split(" | ")[0].split()
        size = 2 * int(count, 16)
        words = tuple(_SYNTACTIC_MARKER.sub("", word).replace("_", " ") for word in rest[:size:2])
        behind = rest[size + 1 :]
        pointers = tuple(
            (behind[i], int(behind[i + 1]), behind[i + 2]) for i in range(0, 4 * int(rest[size]), 4)
        )
        yield Synset(int(offset), file, words, pointers)
