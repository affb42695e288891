"""Texts that call what a fact is about by another name: Bombay, NYC, Kilimanjaro."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from errata.cache.errors import EditError
from errata.cache.name_list import Words, other_names
from errata.cache.plain import Placed, placed_words, plain_words
from errata.cache.records import Edit, Fact
from errata.cache.spacing import spaced
from errata.cache.subjects import Span, names_in, span_of, subject_of

LONGEST = 6
"""Words of a name that is looked for."""
SHORT = 4
"""Letters of a name up to which it has to be written with the same capitals: WHO is not who."""
MOST = 3
"""Ways of saying a text again, at most."""

_APART = re.compile(r"\s(?:and|at|for|in|on)\s")
"""Stands between two names as often as in one."""
_THE = re.compile(r"^the\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"\bthe\s+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Renamed:
    """A text with the name that facts have for something, where it has another.

    :param text: the text.
    :param edits: ids of the facts with that subject.
    :param sure: whether it is another name of the same. A part of a name ("Victoria" for "Lake
        Victoria") may be something else.
    """

    text: str
    edits: frozenset[str]
    sure: bool


@dataclass(frozen=True, slots=True)
class _Name:
    """A name of a subject, as it is written."""

    written: str
    subject: str


class NameIndex:
    """Finds what a text calls otherwise than the facts do; never changed once built.

    Another name is one that a fact has (``aliases``), one of the list that comes along, the
    same in other letters (São Paulo, Sao Paulo; Mount St. Helens), or the initials (UAE). Surely
    none, but likely one, is a part of a name, and a name with more to it (Rembrandt van Rijn).

    :param edits: all edits.
    """

    def __init__(self, edits: Iterable[Edit]) -> None:
        self._ids: dict[str, list[str]] = {}
        self._names: dict[Words, dict[_Name, None]] = {}
        self._parts: dict[Words, set[str]] = {}
        self._with_article: set[str] = set()
        self._unspaced: dict[_Name, None] = {}
        for edit in edits:
            subject = _subject(edit)
            if subject is not None:
                if subject not in self._ids:
                    self._ids[subject] = []
                    self._know(subject)
                if f"the {subject}".casefold() in edit.scope.casefold():
                    self._with_article.add(subject)
                self._ids[subject].append(edit.id)
                for alias in edit.aliases if isinstance(edit, Fact) else ():
                    self._name(alias, subject)

    def renamed(self, text: str) -> tuple[Renamed, ...]:
        """Return a text with other names in it replaced by those of facts, one at a time.

        The surest first, and of them the longest names.

        :param text: any text.
        """
        words = list(placed_words(text))
        names = [name for run in names_in(text) for name in _APART.split(run)]
        runs = [span for name in names if (span := span_of(name, text))]
        found = dict.fromkeys((*self._named(text, words, runs), *self._likely(text, words, runs)))
        return tuple(sorted(found, key=lambda one: not one.sure))[:MOST]

    def _know(self, subject: str) -> None:
        """Take down all that a subject may be called without anybody having said so."""
        own = plain_words(subject)
        listed = [name for name in other_names().get(own, ()) if proper(name) == proper(subject)]
        for name in (subject, *listed, *_initials(subject)):
            self._name(name, subject)
        if len(own) > 1 and proper(subject):
            for part in _inside(own):
                self._parts.setdefault(part, set()).add(subject)

    def _name(self, written: str, subject: str) -> None:
        words = plain_words(written)
        if not spaced(" ", written):
            self._unspaced[_Name(written, subject)] = None
        elif 0 < len(words) <= LONGEST:
            self._names.setdefault(words, {})[_Name(written, subject)] = None

    def _named(self, text: str, words: Sequence[Placed], runs: Sequence[Span]) -> Iterator[Renamed]:
        """Yield what is written as another name of a subject is.

        Not as part of a longer name. Without its capital a word may be another one, or stand in a
        longer name: "mass" is Massachusetts only likely.
        """
        for name in self._unspaced:
            if name.written in text and name.subject not in text:
                at = text.index(name.written)
                yield self._said(text, (at, at + len(name.written)), name.subject, sure=True)
        longer: list[Span] = []
        for key, span in _keys(words):
            if any(a <= span[0] and span[1] <= b for a, b in longer):
                continue
            if key in self._names or key in other_names():
                longer.append(span)
            for name in self._names.get(key, ()):
                if _written(name.written, text, span, runs) and not span_of(name.subject, text):
                    capital = text[span[0]].isupper() or not proper(name.written)
                    yield self._said(text, span, name.subject, sure=capital or len(key) > 1)

    def _likely(
        self, text: str, words: Sequence[Placed], runs: Sequence[Span]
    ) -> Iterator[Renamed]:
        """Yield what a name is that has a subject in it, or that stands in one subject only."""
        for start, end in runs:
            key = tuple(word for word, a, b in words if start <= a and b <= end)
            if self._subjects(key):
                continue
            within = self._parts.get(key, set())
            if len(within) == 1:
                yield self._said(text, (start, end), *within, sure=False)
            for part in _inside(key):
                for name in self._subjects(part):
                    if proper(name.subject):
                        yield self._said(text, (start, end), name.subject, sure=False)

    def _subjects(self, words: Words) -> list[_Name]:
        """Return the names that are a subject's own."""
        return [name for name in self._names.get(words, ()) if name.written == name.subject]

    def _said(self, text: str, span: Span, subject: str, *, sure: bool) -> Renamed:
        before, behind = text[: span[0]], text[span[1] :]
        if proper(subject):  # whether it has an article is the name's own affair
            before = _ARTICLE.sub("", before)
            before += "the " if subject in self._with_article else ""
        return Renamed(f"{before}{subject}{behind}", frozenset(self._ids[subject]), sure)


def proper(name: str) -> bool:
    """Tell whether a name is one of a single thing, by its capital."""
    return _THE.sub("", name)[:1].isupper()


def _subject(edit: Edit) -> str | None:
    if not isinstance(edit, Fact) or edit.subject:
        return edit.subject if isinstance(edit, Fact) else None
    try:
        return subject_of(edit)
    except EditError:
        return None


def _keys(words: Sequence[Placed]) -> Iterator[tuple[Words, Span]]:
    """Yield the words that stand together, with their place, the longest first."""
    for size in range(min(LONGEST, len(words)), 0, -1):
        for start in range(len(words) - size + 1):
            run = words[start : start + size]
            yield tuple(word for word, _, _ in run), (run[0][1], run[-1][2])


def _inside(words: Words) -> Iterator[Words]:
    """Yield what stands together in a name, the longest first, the whole name left out."""
    for size in range(len(words) - 1, 0, -1):
        for start in range(len(words) - size + 1):
            yield words[start : start + size]


def _initials(name: str) -> Iterator[str]:
    """Yield the initials of a name of three words or more."""
    letters = [word[0] for word in name.split() if word[0].isupper()]
    if len(letters) > 2:
        yield "".join(letters)


def _written(written: str, text: str, span: Span, runs: Sequence[Span]) -> bool:
    """Tell whether a name stands in a text as it is written, and not as part of a longer one."""
    start, end = span
    here = text[start:end]
    if not proper(written):
        return True
    if len(written) <= SHORT and here != written:
        return False
    return here == here.casefold() or not any(
        a <= start and end <= b and (a, b) != span for a, b in runs
    )
