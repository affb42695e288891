"""Other names, taken from WordNet: Mumbai is Bombay, and the timpani is a kettledrum.

    python -m errata.cache.name_list DICT cache/lexicon

reads the ``dict`` folder of WordNet 3.1 (https://wordnet.princeton.edu) and writes the file that
comes along in ``cache/lexicon/``: one meaning a line, its names separated by ``|``. Taken are
single things (persons, places, works, …), and of kinds of things the animals, artefacts, foods and
substances. A name stands only where it is first of all the name of that: Washington is a city
before it is a man. Single things of one name stand there, too, so that it is known to be theirs.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from errata.cache.atomic import write_atomically
from errata.cache.plain import Words, plain_words

HERE = Path(__file__).parent / "lexicon"
KINDS = frozenset({"05", "06", "13", "27"})
"""Animals, artefacts, foods and substances, by the number of WordNet's files of nouns."""


@cache
def other_names() -> Mapping[Words, tuple[str, ...]]:
    """Return all names of what a name means, itself among them, by its plain words.

    What means two things, once accents and the like are gone, is not among them.
    """
    lines = (HERE / "names.txt").read_text(encoding="utf-8").splitlines()
    meanings = [tuple(line.split("|")) for line in lines]
    keys = Counter(key for names in meanings for key in set(map(plain_words, names)))
    return MappingProxyType(
        {key: names for names in meanings for key in map(plain_words, names) if keys[key] == 1}
    )


def main(folder: str, out: str) -> None:
    """Write the file.

    :param folder: WordNet's ``dict``.
    :param out: where to.
    """
    first = dict(_first_senses(Path(folder) / "index.noun"))
    meanings = sorted(set(_meanings(Path(folder) / "data.noun", first)))
    text = "".join(f"{'|'.join(names)}\n" for names in meanings)
    write_atomically(Path(out) / "names.txt", text.encode())


def _first_senses(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each lemma with the place of its most frequent sense."""
    for line in path.read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):
            lemma, _, count, *rest = line.split()
            yield lemma, rest[-int(count)]


def _meanings(path: Path, first: Mapping[str, str]) -> Iterator[Words]:
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.startswith(" "):
            continue
        place, file, _, count, *rest = line.split(" | ")[0].split()
        words = [re.sub(r"\(.*\)", "", word) for word in rest[: 2 * int(count, 16) : 2]]
        own = [word.replace("_", " ") for word in words if first.get(word.lower()) == place]
        if "@i" not in rest:  # a kind of thing; its Latin name nobody asks by
            own = [name for name in own if name == name.lower()] if file in KINDS else []
        names = {plain_words(name): name for name in reversed(own) if plain_words(name)}
        if len(names) > 1 or (names and "@i" in rest):
            yield tuple(reversed(names.values()))


if __name__ == "__main__":
    main(*sys.argv[1:])
