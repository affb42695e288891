"""Opposites, things and topics of WordNet, to train conditions on anything.

    python -m tools.wordnet DICT gates/data/lexicon

reads WordNet's ``dict`` folder (https://wordnet.princeton.edu) and writes ``traits.txt``,
``aspects.txt`` and ``topics.txt``, which :mod:`errata.gates.data.wordnet` reads. Words of
conditions that are tuned and tested on are left out.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from errata.cache.storage.atomic import write_atomically
from errata.gates.data.opinions import aspect_groups, trait_groups
from errata.gates.data.topics import part_groups, thing_groups, topic_groups
from errata.gates.data.wordnet import SORTS
from errata.gates.text import words
from tools.names.wordnet_files import Synset, synsets

FOOD = "13"
CONCRETE = frozenset("04 05 06 07 08 09 10 11 13 14 15 16 17 18 19 20 21 22 26 27".split())
MAX_WORDS = 6
"""Words of one pole, one thing or one topic."""
_QUANTITIES = frozenset(
    "all any both each every few first last many much next no none one other same second several "
    "some such that these third this those two zero half little own".split()
)


@dataclass(frozen=True, slots=True)
class _Sense(Synset):
    """A synset with corpus counts.

    :param counts: how often a corpus has each word in this sense.
    """

    counts: Mapping[str, int]

    def frequent(self, least: int = 1) -> list[str]:
        """Return the words that a corpus has in this sense, the most frequent first."""
        found = [word for word in self.words if self.counts.get(word.lower(), 0) >= least]
        return sorted(found, key=lambda word: -self.counts[word.lower()])


def main(folder: str, out: str) -> None:
    """Write the files.

    :param folder: WordNet's ``dict``.
    :param out: folder of the files, which is made.
    """
    counts = _corpus_counts(Path(folder))
    held_out = _held_out()
    adjectives = _read(Path(folder) / "data.adj", counts, "35")
    nouns = _read(Path(folder) / "data.noun", counts, "1")
    made = {
        "traits": _traits(adjectives, held_out),
        "aspects": _aspects(nouns, held_out),
        "topics": _topics(nouns, held_out),
    }
    Path(out).mkdir(exist_ok=True)
    for name, lines in made.items():
        write_atomically(Path(out) / f"{name}.txt", "".join(f"{line}\n" for line in lines).encode())


def _corpus_counts(folder: Path) -> dict[tuple[str, int], Counter[str]]:
    found: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for line in (folder / "index.sense").read_text(encoding="latin-1").splitlines():
        key, offset, _, count = line.split()
        lemma, sense = key.split("%")
        found[sense[0], int(offset)][lemma.replace("_", " ")] += int(count)
    return found


def _read(path: Path, counts: dict[tuple[str, int], Counter[str]], kinds: str) -> dict[int, _Sense]:
    found = {}
    for one in synsets(path):
        tagged = sum((counts.get((kind, one.offset), Counter()) for kind in kinds), Counter())
        found[one.offset] = _Sense(one.offset, one.file, one.words, one.pointers, tagged)
    return found


def _held_out() -> frozenset[str]:
    """Return the words of the conditions of other splits than train."""
    texts: list[str] = []
    for at, traits_ in enumerate(trait_groups()):
        if at % 5 >= 3:
            texts += [word for t in traits_ for pole in t.poles for word in pole[0]]
    for at, aspects_ in enumerate(aspect_groups()):
        if at % 5 >= 3:
            texts += [noun.text for a in aspects_ for noun in (a.name, *a.nouns)]
    for at, topics_ in enumerate(topic_groups()):
        if at % 5 >= 3:
            texts += [text for t in topics_ for text in (*t.names, *t.nouns)]
    for at, parts in enumerate(part_groups()):
        texts += [part.name for part in parts] if at % 5 >= 3 else []
    for at, things in enumerate(thing_groups()):
        texts += list(things) if at % 5 >= 3 else []
    return frozenset(word.plain for text in texts for word in words(text) if word.content)


def _usable(found: Iterable[str], held_out: frozenset[str]) -> list[str] | None:
    """Return plain words, or None where one of them belongs to another split."""
    kept = [w for w in dict.fromkeys(found) if re.fullmatch(r"[a-z]{3,13}", w)]
    return None if {_stem(w) for w in kept} & {_stem(w) for w in held_out} else kept[:MAX_WORDS]


def _stem(word: str) -> str:
    return word.removesuffix("s").removesuffix("e")


def _traits(synsets: dict[int, _Sense], held_out: frozenset[str]) -> Iterator[str]:
    def pole(synset: _Sense) -> list[str] | None:
        near = [synsets[o] for s, o, kind in synset.pointers if s == "&" and kind == "a"]
        return _usable((*synset.frequent(), *(w for one in near for w in one.frequent())), held_out)

    seen: set[frozenset[str]] = set()
    names = ("thing", "place", "person", "work", "food", "service", "text")
    for synset in synsets.values():
        for sign, other, kind in synset.pointers:
            if sign != "!" or kind != "a" or other not in synsets:
                continue
            one, two = pole(synset), pole(synsets[other])
            if not one or not two or {*one, *two} & _QUANTITIES or frozenset(one + two) in seen:
                continue
            seen.add(frozenset(one + two))
            sorts = " ".join(sorted(random.Random(one[0]).sample(names, 3)))
            yield f"{sorts}|{';'.join(one)}|{';'.join(two)}"


def _kinds_of(synset: _Sense, synsets: dict[int, _Sense]) -> Iterator[str]:
    below = [synsets[o] for s, o, kind in synset.pointers if s == "~" and kind == "n"]
    for one in sorted(below, key=lambda one: -max(one.counts.values(), default=0)):
        yield from one.frequent()[:1]
    for one in below:
        for s, o, kind in one.pointers:
            if s == "~" and kind == "n":
                yield from synsets[o].frequent(2)[:1]


def _aspects(synsets: dict[int, _Sense], held_out: frozenset[str]) -> Iterator[str]:
    for synset in synsets.values():
        least = 1 if synset.file == FOOD else 3
        names = _usable(synset.frequent(least), held_out) if synset.file in SORTS else None
        if not names:
            continue
        kinds = _usable((*names[1:], *_kinds_of(synset, synsets)), held_out)
        if kinds and len(kinds) >= 2:
            yield f"{SORTS[synset.file]}:the {names[0]}|{';'.join(kinds[:4])}"


def _topics(synsets: dict[int, _Sense], held_out: frozenset[str]) -> Iterator[str]:
    for synset in synsets.values():
        names = _usable(synset.frequent(2), held_out) if synset.file in CONCRETE else None
        if not names:
            continue
        kinds = _usable(_kinds_of(synset, synsets), held_out)
        above = [o for s, o, kind in synset.pointers if s in ("@", "@i") and kind == "n"]
        if kinds and len(kinds) >= 4 and above:
            yield f"{above[0]}|{_plural(names[0])}|{';'.join(kinds)}"


def _plural(noun: str) -> str:
    """Return the regular plural of a noun."""
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"
