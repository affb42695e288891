"""Other names, taken from WordNet and CLDR: Mumbai is Bombay, and Cape Verde is Cabo Verde.

    python -m errata.cache.text.name_list DICT LOCALENAMES CORE cache/text/lexicon

reads the ``dict`` folder of WordNet 3.1 (https://wordnet.princeton.edu) and the packages
cldr-localenames-full and cldr-core (https://cldr.unicode.org), and writes the file that comes along
in ``cache/lexicon/``: one meaning a line, its names separated by ``|``. Taken are single things
(persons, places, works, …), and of kinds of things the animals, artefacts, foods and substances.
What a name is not first of all the name of, it stands at with a ``~``: Washington is a city before
it is a man. Single things of one name stand there, too, so that it is known to be theirs.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from errata.cache.storage.atomic import write_atomically
from errata.cache.text.normalize import Words, plain_words
from errata.cache.text.territories import territory_names
from errata.cache.text.wordnet_files import Synset, synsets

HERE = Path(__file__).parent / "lexicon"
KINDS = frozenset({"05", "06", "13", "27"})
"""Animals, artefacts, foods and substances, by the number of WordNet's files of nouns."""


@cache
def other_names() -> Mapping[Words, tuple[str, ...]]:
    """Return all names of what a name means, itself among them, by its plain words.

    What means two things, once accents and the like are gone, is not among them.
    """
    meanings = [tuple(n for n in names if not n.startswith("~")) for names in _lines()]
    keys = Counter(key for names in meanings for key in set(map(plain_words, names)))
    return MappingProxyType(
        {key: names for names in meanings for key in map(plain_words, names) if keys[key] == 1}
    )


@cache
def names_besides() -> Mapping[Words, tuple[str, ...]]:
    """Return what a single thing is called besides by names that mean something else, too.

    Sri Lanka was Ceylon, and so is an island called.
    """
    found: dict[Words, dict[str, None]] = defaultdict(dict)
    for names in _lines():
        if any(name.startswith("~") for name in names):
            bare = [name.removeprefix("~") for name in names]
            for name in bare:
                found[plain_words(name)] |= dict.fromkeys(bare)
    return MappingProxyType({key: tuple(names) for key, names in found.items()})


@cache
def _lines() -> tuple[tuple[str, ...], ...]:
    lines = (HERE / "names.txt").read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split("|")) for line in lines)


# -- making it ---------------------------------------------------------------------------------


def main(wordnet: str, localenames: str, core: str, out: str) -> None:
    """Write the file.

    :param wordnet: WordNet's ``dict``.
    :param localenames: the package cldr-localenames-full, unpacked.
    :param core: the package cldr-core, unpacked.
    :param out: where to.
    """
    first = dict(_first_senses(Path(wordnet) / "index.noun"))
    meanings = [
        names
        for synset in synsets(Path(wordnet) / "data.noun")
        if (names := _names_of(synset, first))
    ]
    _add(meanings, territory_names(Path(localenames), Path(core)), first.keys())
    text = "".join(f"{'|'.join(names)}\n" for names in sorted(set(map(tuple, meanings))))
    write_atomically(Path(out) / "names.txt", text.encode())


def _first_senses(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each lemma with the place of its most frequent sense."""
    for line in path.read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):
            lemma, _, count, *rest = line.split()
            yield lemma.replace("_", " "), int(rest[-int(count)])


def _names_of(synset: Synset, first: Mapping[str, int]) -> list[str]:
    """Return the names of a meaning that count, none where there is nothing to tell by them."""
    own = {word: first.get(word.lower()) == synset.offset for word in synset.words}
    if not synset.single:  # its Latin name nobody asks by
        listed = synset.file in KINDS
        own = {name: listed for name, usual in own.items() if usual and name == name.lower()}
    names: dict[Words, str] = {}
    for name, usual in sorted(own.items(), key=lambda one: not one[1]):
        if plain_words(name) and (usual or synset.single):
            names.setdefault(plain_words(name), name if usual else f"~{name}")
    alone = [name for name in names.values() if not name.startswith("~") and synset.single]
    return list(names.values()) if len(names) > 1 or alone else []


def _add(meanings: list[list[str]], territories: Iterable[Words], known: Collection[str]) -> None:
    """Add what territories are called to their meanings; what means something else is left out."""
    at = _only_meanings(meanings)
    for names in territories:
        there = next((at[key] for key in map(plain_words, names) if key in at), None)
        own = {plain_words(name.removeprefix("~")) for name in there or ()}
        new = [n for n in names if plain_words(n) not in own and n.lower() not in known]
        if there is not None:
            there += new
        elif len(new) > 1:
            meanings.append(new)


def _only_meanings(meanings: Iterable[list[str]]) -> dict[Words, list[str]]:
    """Return what each name first of all means, or else the only thing that it means."""
    usual: dict[Words, list[str]] = {}
    besides: dict[Words, list[list[str]]] = defaultdict(list)
    for names in meanings:
        for name in names:
            if name.startswith("~"):
                besides[plain_words(name)].append(names)
            else:
                usual[plain_words(name)] = names
    return {name: found[0] for name, found in besides.items() if len(found) == 1} | usual


if __name__ == "__main__":
    main(*sys.argv[1:])
