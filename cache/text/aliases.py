"""Texts that call what a fact is about by another name: Bombay, NYC, Kilimanjaro."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from errata.cache.errors import EditError
from errata.cache.records import Edit, Fact
from errata.cache.text.name_list import names_besides, other_names
from errata.cache.text.normalize import (
    WordOffsets,
    Words,
    plain_words,
    strip_accents,
    strip_initials_dots,
    words_with_offsets,
)
from errata.cache.text.spacing import needs_space
from errata.cache.text.subject import OPENERS, Span, names_in, subject_of

LONGEST = 6
"""Words of a name that is looked for; an alias may be longer."""
SHORT = 4
"""Letters of a name up to which it has to be written with the same capitals: WHO is not who."""
HEAD = 2000
"""Characters of a text in which names are looked for."""

_THE = re.compile(r"^the\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"\bthe\s+$", re.IGNORECASE)
_STOP = re.compile(r"(?:^|[.!?:;\n])[\"'“‘(\s]*$")
"""Before the first word of a sentence, whose capital tells nothing."""
_INITIAL = re.compile(
    r"(?<=\b[^\W\d_])\."
    rf"(?!\W*$|\W+(?:{'|'.join(re.escape(word.capitalize()) for word in sorted(OPENERS))})\b)"
)
"""The dot of an initial inside a name, no sentence's: J. K. Rowling, the U.S. Army."""

Source = Literal["spelling", "alias", "list", "besides", "initials"]


@dataclass(frozen=True, slots=True)
class AliasMatch:
    """A text with the name that facts have for something, where it has another.

    :param text: the text.
    :param name: the plain words of the name that stood there.
    :param edits: the facts with that subject.
    :param certain: whether it is another name of the same; else it may be something else.
    """

    text: str
    name: Words
    edits: tuple[Edit, ...]
    certain: bool


@dataclass(frozen=True, slots=True)
class _Name:
    """A name of a subject: as it is written, and who says so."""

    written: str
    subject: Words
    source: Source


class NameIndex:
    """Finds what a text calls otherwise than the facts do; never changed once built.

    Sure is a name that a fact itself has (``aliases``), one of the list that comes along if it is
    a single thing's (PRC), and the same in other letters (Sao Paulo). Likely are those without
    their capital, those of more than one subject or thing (Ceylon, which is an island, too), kinds
    of things (kettledrum), initials (UAE), and a part of a name or a name with more to it
    (Rembrandt van Rijn).

    :param edits: all edits.
    """

    def __init__(self, edits: Iterable[Edit]) -> None:
        self._edits: dict[Words, list[Edit]] = {}
        self._said: dict[Words, str] = {}
        self._names: dict[Words, dict[_Name, None]] = {}
        self._parts: dict[Words, Words | None] = {}  # None: it stands in several subjects
        self._unspaced: dict[str, Words] = {}
        self._longest = LONGEST
        for edit in edits:
            subject = _subject(edit)
            own = plain_words(subject)
            if own and isinstance(edit, Fact):
                if own not in self._edits:
                    self._edits[own] = []
                    self._know(subject, own)
                self._edits[own].append(edit)
                for alias in edit.aliases:
                    self._alias(alias, own)

    def renamed(self, text: str) -> Iterator[AliasMatch]:
        """Yield a text with another name in it replaced by that of facts, the sure ones first.

        :param text: any text; names are looked for in its first :data:`HEAD` characters.
        """
        head = text[:HEAD]
        words = list(words_with_offsets(head))
        places = _places(words, self._longest)
        named = (*self._named(head, places), *self._likely(head, words))
        found = {one[:3]: one[3] for one in sorted(named, key=lambda one: one[3])}
        for (span, name, subject), sure in sorted(found.items(), key=lambda one: not one[1]):
            spans = places.get(name, [span]) if name else [span]
            said = self._put(text, spans, subject)
            if said.casefold() != text.casefold():
                yield AliasMatch(said, name, tuple(self._edits[subject]), sure)

    def _know(self, subject: str, own: Words) -> None:
        """Take down all that a subject may be called without anybody having said so."""
        self._said[own] = subject
        for written, source in _called(subject):
            self._names.setdefault(plain_words(written), {})[_Name(written, own, source)] = None
        if 1 < len(own) <= LONGEST and proper(subject):
            for part in _inside(own):
                self._parts[part] = own if self._parts.get(part, own) == own else None

    def _names_of(self, words: Words) -> list[_Name]:
        """Return whose name some words are, and as what; of a subject its own, too."""
        own = [_Name(self._said[words], words, "spelling")] if words in self._said else []
        return [*own, *self._names.get(words, ())]

    def _alias(self, written: str, own: Words) -> None:
        words = plain_words(written)
        if not needs_space(" ", written) and len(written) > 1:
            self._unspaced[written] = own
        elif words and words != own:
            self._longest = max(self._longest, len(words))
            self._names.setdefault(words, {})[_Name(written, own, "alias")] = None

    def _named(
        self, text: str, places: Mapping[Words, Sequence[Span]]
    ) -> Iterator[tuple[Span, Words, Words, bool]]:
        """Yield what is written as another name of a subject is, the longest first."""
        for written in sorted(self._unspaced, key=len, reverse=True):
            own = self._unspaced[written]
            if written in text and self._said[own] not in text:
                at = text.index(written)
                yield (at, at + len(written)), (), own, True
        runs, longer = _runs(text), list[Span]()
        for key, spans in places.items():
            span = spans[0]
            if any(_within(span, other) for other in longer):
                continue
            known = [*self._names_of(key), *self._names_of(_undotted(text[slice(*span)]))]
            names = [name for name in known if _written(name, text, span, runs)]
            if names or key in other_names():
                longer.append(span)
            single = len({name.subject for name in names if name.source != "besides"}) == 1
            for name in names:
                outside = [s for s in places.get(name.subject, ()) if not _within(s, span)]
                if key != name.subject and outside:
                    continue  # it names the subject as it is, too
                if text[slice(*span)].casefold() != self._said[name.subject].casefold():
                    yield span, key, name.subject, single and _sure(name, key, text, span)

    def _likely(
        self, text: str, words: Sequence[WordOffsets]
    ) -> Iterator[tuple[Span, Words, Words, bool]]:
        """Yield what a name is that has a subject in it, or that stands in one subject only."""
        for run in _runs(text):
            inside = [placed for placed in words if run[0] <= placed[1] < run[1]]
            key = tuple(word for word, _, _ in inside)
            run = run[0], max((end for _, _, end in inside), default=run[1])
            if key in self._edits or len(key) > LONGEST:
                continue
            within = self._parts.get(key)
            known = any(map(proper, other_names().get(key, ())))  # Porto is no Porto Azzurro
            if within is not None and not known:
                yield run, key, within, False
            for part in _inside(key):
                if part in self._edits and proper(self._said[part]):
                    yield run, key, part, False

    def _put(self, text: str, spans: Sequence[Span], own: Words) -> str:
        subject = self._said[own]
        article = re.compile(rf"\bthe\s+{re.escape(subject)}\b", re.IGNORECASE)
        with_article = any(article.search(edit.scope) for edit in self._edits[own])
        for start, end in reversed(spans):
            before, behind = text[:start], text[end:]
            if proper(subject):  # whether it has an article is the name's own affair
                before = _ARTICLE.sub("", before) + ("the " if with_article else "")
            text = f"{before}{subject}{behind}"
        return text


def proper(name: str) -> bool:
    """Tell whether a name is one of a single thing, by its capital."""
    return _THE.sub("", name)[:1].isupper()


def _subject(edit: Edit) -> str:
    """Return what a fact is about, nothing where that is not clear."""
    if not isinstance(edit, Fact):
        return ""
    given = (edit.subject or "").strip()
    if given:
        return given if given.casefold() in edit.question.casefold() else ""
    return _found(edit.question)


@lru_cache(maxsize=131_072)
def _found(question: str) -> str:
    try:
        return subject_of(Fact(question))
    except EditError:
        return ""


@lru_cache(maxsize=131_072)
def _called(subject: str) -> tuple[tuple[str, Source], ...]:
    """Return what a subject may be called besides: names of the list, initials."""
    own = plain_words(subject)
    found: dict[str, Source] = {}
    for name in other_names().get(own, ()):
        if proper(name) == proper(subject) and plain_words(name) != own:
            found.setdefault(name, "list")
    for name in names_besides().get(own, ()):
        if proper(subject) and plain_words(name) != own:
            found.setdefault(name, "besides")
    letters = "".join(word[0] for word in subject.split() if word[0].isupper())
    if len(letters) > 2:
        found.setdefault(letters, "initials")
    return tuple(found.items())


def _places(words: Sequence[WordOffsets], longest: int) -> dict[Words, list[Span]]:
    """Return where words stand together, the longest first."""
    found: dict[Words, list[Span]] = defaultdict(list)
    for size in range(min(longest, len(words)), 0, -1):
        for start in range(len(words) - size + 1):
            run = words[start : start + size]
            found[tuple(word for word, _, _ in run)].append((run[0][1], run[-1][2]))
    return found


def _inside(words: Words) -> Iterator[Words]:
    """Yield what stands together in a name, the longest first, the whole name left out."""
    for size in range(len(words) - 1, 0, -1):
        for start in range(len(words) - size + 1):
            yield words[start : start + size]


def _undotted(written: str) -> Words:
    """Return the words of a name with initials as they are without their dots, or none."""
    bare = strip_initials_dots(written)
    return () if bare == written else tuple(word for word, _, _ in words_with_offsets(bare))


def _runs(text: str) -> list[Span]:
    """Return where the names of a text stand, without an article before them.

    "and", "in" and "on" stand between two.
    """
    found, at = list[Span](), 0
    text = _INITIAL.sub("-", text)
    for run in () if text.isupper() else names_in(text):
        for name in re.split(r"\s(?:and|for|in|on)\s", run):
            name = _THE.sub("", name)
            start = text.find(name, at)
            if name and start >= 0:
                at = start + len(name)
                found.append((start, at))
    return found


def _within(span: Span, other: Span) -> bool:
    return other[0] <= span[0] and span[1] <= other[1]


def _written(name: _Name, text: str, span: Span, runs: Sequence[Span]) -> bool:
    """Tell whether a name may stand there: not in a longer name, and not as a word like others."""
    here, bare = text[slice(*span)], _THE.sub("", name.written).strip(".!?")
    lower = here == here.casefold()
    if not lower and any(_within(span, run) and span != run for run in runs):
        return False
    if len(bare) <= SHORT and (not _same_letters(here, bare) or text.isupper()):
        return False
    if not proper(name.written):
        return lower or bool(_STOP.search(text[: span[0]]))  # a Puma is no cougar
    return here.casefold() not in OPENERS or not (lower or _STOP.search(text[: span[0]]))


def _same_letters(here: str, name: str) -> bool:
    """Tell whether a text has a name's letters and capitals, whatever its accents and dots."""
    return strip_accents(here).replace(".", "") == strip_accents(name).replace(".", "")


def _sure(name: _Name, key: Words, text: str, span: Span) -> bool:
    """Tell whether who writes this there means the subject."""
    here, first = text[slice(*span)], bool(_STOP.search(text[: span[0]]))
    capitals = sum(char.isupper() for char in here)
    shown = here[0].isupper() and not text.isupper() and (not first or capitals > 1)
    if name.source == "alias":
        here, bare = here.replace(".", ""), _THE.sub("", name.written).replace(".", "")
        return here == bare if not first else len(key) > 1 and here[1:] == bare[1:]
    if name.source == "spelling":
        return shown or len(key) > 1
    # Jones may be any Jones
    part = key in _inside(name.subject) or name.subject in _inside(key)
    return name.source == "list" and proper(name.written) and shown and not part
