"""Finding aliases of the subjects of facts in a text: Bombay, NYC, Kilimanjaro."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from errata.cache.errors import EditError
from errata.cache.records import Edit, Fact
from errata.cache.text.normalize import (
    WordOffsets,
    Words,
    needs_space,
    plain_words,
    strip_accents,
    strip_initials_dots,
    words_with_offsets,
)
from errata.cache.text.subject import OPENERS, Span, names_in, subject_of

_NAMES = Path(__file__).parent / "lexicon" / "names.txt"
_THE = re.compile(r"^the\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"\bthe\s+$", re.IGNORECASE)
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\n])[\"'“‘(\s]*$")
"""Before the first word of a sentence, which has a capital in any case."""
_INITIAL = re.compile(
    r"(?<=\b[^\W\d_])\."
    rf"(?!\W*$|\W+(?:{'|'.join(re.escape(word.capitalize()) for word in sorted(OPENERS))})\b)"
)
"""The dot of an initial inside a name: J. K. Rowling, the U.S. Army."""

Source = Literal["spelling", "alias", "list", "ambiguous", "initials"]


@dataclass(frozen=True, slots=True)
class AliasMatch:
    """A text in which a name is replaced by the one that facts use.

    :param text: the text.
    :param name: the plain words of the name that was replaced.
    :param edits: the facts with that subject.
    :param certain: whether the name means this subject only; else it may mean something else.
    """

    text: str
    name: Words
    edits: tuple[Edit, ...]
    certain: bool


@dataclass(frozen=True, slots=True)
class _Alias:
    """A name of a subject as it is written, and where it comes from."""

    written: str
    subject: Words
    source: Source


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A span of a text that may be another name of a subject."""

    span: Span
    name: Words
    subject: Words
    certain: bool


@dataclass(frozen=True, slots=True)
class AliasConfig:
    """Which names are looked for in a text.

    :param longest: words of a name at most, which bounds the time; an alias of a patch may be
        longer.
    :param short: letters of a name up to which its capitals have to match: WHO is not who.
    :param head: characters of a text in which names are looked for, which bounds the time.
    """

    longest: int = 6
    short: int = 4
    head: int = 2000


class AliasIndex:
    """Finds names in a text that differ from the subjects of the facts; never changed once built.

    Certain are a fact's own ``aliases``, a name of the shipped list that means one thing only
    (PRC), and other spellings (Sao Paulo). Uncertain are these without their capitals, names of
    several subjects or things (Ceylon, also an island), kinds of things (kettledrum), initials
    (UAE), and a part of a name or a name with more to it (Rembrandt van Rijn).

    :param edits: all edits.
    :param config: which names are looked for.
    """

    def __init__(self, edits: Iterable[Edit], config: AliasConfig | None = None) -> None:
        self.config = config or AliasConfig()
        self._edits: dict[Words, list[Edit]] = {}
        self._subjects: dict[Words, str] = {}  # as they are written
        self._aliases: dict[Words, dict[_Alias, None]] = {}
        self._parts: dict[Words, Words | None] = {}  # None: part of several subjects
        self._unspaced: dict[str, Words] = {}
        self._longest = self.config.longest
        for edit in edits:
            written = subject_or_empty(edit)
            subject = plain_words(written)
            if subject and isinstance(edit, Fact):
                if subject not in self._edits:
                    self._edits[subject] = []
                    self._add_subject(written, subject)
                self._edits[subject].append(edit)
                for alias in edit.aliases:
                    self._add_alias(alias, subject)

    def matches(self, text: str) -> Iterator[AliasMatch]:
        """Yield the text with another name in it replaced by that of facts, certain ones first.

        :param text: any text; names are looked for in its first ``config.head`` characters.
        """
        head = text[: self.config.head]
        words = list(words_with_offsets(head))
        spans_of = spans_by_words(words, self._longest)
        candidates = [*self._by_name(head, spans_of), *self._by_part(head, words)]
        distinct = {
            (one.span, one.name, one.subject): one
            for one in sorted(candidates, key=lambda one: one.certain)
        }
        for one in sorted(distinct.values(), key=lambda one: not one.certain):
            spans = spans_of.get(one.name, [one.span]) if one.name else [one.span]
            replaced = self._replaced(text, spans, one.subject)
            if replaced.casefold() != text.casefold():
                yield AliasMatch(replaced, one.name, tuple(self._edits[one.subject]), one.certain)

    def named(self, text: str) -> tuple[Edit, ...]:
        """Return the facts whose subject a text names, as they name it or by a certain alias.

        :param text: any text; names are looked for in its first ``config.head`` characters.
        """
        head, found = text[: self.config.head], dict[str, Edit]()
        runs = name_spans(head)
        for key, spans in spans_by_words(list(words_with_offsets(head)), self._longest).items():
            edits = self._edits.get(key, ())
            own = _Alias(self._subjects.get(key, ""), key, "spelling")
            lower = proper(own.written) and head != head.casefold()  # to roast a turkey
            spans = [span for span in spans if not (lower and head[span[0]].islower())]
            short = self.config.short
            if edits and any(_may_stand(own, head, span, runs, short) for span in spans):
                found |= {edit.id: edit for edit in edits}
        for match in self.matches(text):
            found |= {edit.id: edit for edit in match.edits if match.certain}
        return tuple(found.values())

    def _add_subject(self, written: str, subject: Words) -> None:
        """Add every known alias of a subject, and the parts of its name."""
        self._subjects[subject] = written
        for name, source in known_aliases(written):
            self._aliases.setdefault(plain_words(name), {})[_Alias(name, subject, source)] = None
        if 1 < len(subject) <= self.config.longest and proper(written):
            for part in parts_of(subject):
                known = self._parts.get(part, subject)
                self._parts[part] = subject if known == subject else None

    def _add_alias(self, written: str, subject: Words) -> None:
        words = plain_words(written)
        if not needs_space(" ", written) and len(written) > 1:
            self._unspaced[written] = subject
        elif words and words != subject:
            self._longest = max(self._longest, len(words))
            self._aliases.setdefault(words, {})[_Alias(written, subject, "alias")] = None

    def _aliases_at(self, words: Words) -> list[_Alias]:
        """Return the aliases with these words, the subject itself among them."""
        subject = self._subjects.get(words)
        spelling = [] if subject is None else [_Alias(subject, words, "spelling")]
        return [*spelling, *self._aliases.get(words, ())]

    def _by_name(self, text: str, spans_of: Mapping[Words, Sequence[Span]]) -> Iterator[_Candidate]:
        """Yield the spans that are an alias of a subject, the longest first."""
        for written in sorted(self._unspaced, key=len, reverse=True):
            subject = self._unspaced[written]
            if written in text and self._subjects[subject] not in text:
                start = text.index(written)
                yield _Candidate((start, start + len(written)), (), subject, True)
        runs, longer = name_spans(text), list[Span]()
        for key, spans in spans_of.items():
            span = spans[0]
            if any(_within(span, other) for other in longer):
                continue
            undotted = _words_without_dots(text[slice(*span)])
            known = [*self._aliases_at(key), *self._aliases_at(undotted)]
            aliases = [
                alias for alias in known if _may_stand(alias, text, span, runs, self.config.short)
            ]
            if aliases or key in synonyms():
                longer.append(span)
            subjects = {alias.subject for alias in aliases if alias.source != "ambiguous"}
            for alias in aliases:
                outside = [s for s in spans_of.get(alias.subject, ()) if not _within(s, span)]
                if key != alias.subject and outside:
                    continue  # the text also names the subject itself
                if text[slice(*span)].casefold() != self._subjects[alias.subject].casefold():
                    certain = len(subjects) == 1 and _is_certain(alias, key, text, span)
                    yield _Candidate(span, key, alias.subject, certain)

    def _by_part(self, text: str, words: Sequence[WordOffsets]) -> Iterator[_Candidate]:
        """Yield the names that contain a subject, or are a part of one subject only."""
        for start, end in name_spans(text):
            inside = [word for word in words if start <= word[1] < end]
            key = tuple(word for word, _, _ in inside)
            span = start, max((word_end for _, _, word_end in inside), default=end)
            if key in self._edits or len(key) > self.config.longest:
                continue
            whole = self._parts.get(key)
            taken = any(map(proper, synonyms().get(key, ())))  # Porto is no Porto Azzurro
            if whole is not None and not taken:
                yield _Candidate(span, key, whole, False)
            for part in parts_of(key):
                if part in self._edits and proper(self._subjects[part]):
                    yield _Candidate(span, key, part, False)

    def _replaced(self, text: str, spans: Sequence[Span], subject: Words) -> str:
        written = self._subjects[subject]
        article = re.compile(rf"\bthe\s+{re.escape(written)}\b", re.IGNORECASE)
        with_article = any(article.search(edit.scope) for edit in self._edits[subject])
        for start, end in reversed(spans):
            before, behind = text[:start], text[end:]
            if proper(written):  # names differ in whether they have an article
                before = _ARTICLE.sub("", before) + ("the " if with_article else "")
            text = f"{before}{written}{behind}"
        return text


def proper(name: str) -> bool:
    """Return whether a name is a proper name, by its capital."""
    return _THE.sub("", name)[:1].isupper()


# -- the shipped list, built by tools/names -----------------------------------------------------


@cache
def synonyms() -> Mapping[Words, tuple[str, ...]]:
    """Return all names of what a name means, itself among them, by its plain words.

    Plain words with two meanings are left out.
    """
    meanings = [tuple(n for n in names if not n.startswith("~")) for names in _meanings()]
    keys = Counter(key for names in meanings for key in set(map(plain_words, names)))
    return MappingProxyType(
        {key: names for names in meanings for key in map(plain_words, names) if keys[key] == 1}
    )


@cache
def ambiguous_synonyms() -> Mapping[Words, tuple[str, ...]]:
    """Return the names of things one of whose names more often means something else.

    Sri Lanka was Ceylon, which is also the name of the island.
    """
    found: dict[Words, dict[str, None]] = defaultdict(dict)
    for names in _meanings():
        if any(name.startswith("~") for name in names):
            bare = [name.removeprefix("~") for name in names]
            for name in bare:
                found[plain_words(name)] |= dict.fromkeys(bare)
    return MappingProxyType({key: tuple(names) for key, names in found.items()})


@cache
def _meanings() -> tuple[tuple[str, ...], ...]:
    lines = _NAMES.read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split("|")) for line in lines)


@lru_cache(maxsize=131_072)
def known_aliases(subject: str) -> tuple[tuple[str, Source], ...]:
    """Return every known alias of a subject: names of the list, and its initials."""
    words = plain_words(subject)
    found: dict[str, Source] = {}
    for name in synonyms().get(words, ()):
        if proper(name) == proper(subject) and plain_words(name) != words:
            found.setdefault(name, "list")
    for name in ambiguous_synonyms().get(words, ()):
        if proper(subject) and plain_words(name) != words:
            found.setdefault(name, "ambiguous")
    initials = "".join(word[0] for word in subject.split() if word[0].isupper())
    if len(initials) > 2:
        found.setdefault(initials, "initials")
    return tuple(found.items())


# -- subjects and places in a text --------------------------------------------------------------


def subject_or_empty(edit: Edit) -> str:
    """Return the subject of a fact, an empty text where there is none or it is not clear."""
    if not isinstance(edit, Fact):
        return ""
    given = (edit.subject or "").strip()
    if given:
        return given if given.casefold() in edit.question.casefold() else ""
    return _subject_in(edit.question)


@lru_cache(maxsize=131_072)
def _subject_in(question: str) -> str:
    try:
        return subject_of(Fact(question, id="any"))  # an id, lest one is computed
    except EditError:
        return ""


def spans_by_words(words: Sequence[WordOffsets], longest: int) -> dict[Words, list[Span]]:
    """Return the spans of all n-grams of words, the longest n-grams first."""
    found: dict[Words, list[Span]] = defaultdict(list)
    for size in range(min(longest, len(words)), 0, -1):
        for start in range(len(words) - size + 1):
            gram = words[start : start + size]
            found[tuple(word for word, _, _ in gram)].append((gram[0][1], gram[-1][2]))
    return found


def parts_of(words: Words) -> Iterator[Words]:
    """Yield the n-grams of a name but the whole name, the longest first."""
    for size in range(len(words) - 1, 0, -1):
        for start in range(len(words) - size + 1):
            yield words[start : start + size]


def _words_without_dots(written: str) -> Words:
    """Return the words of a name with its initials undotted; none where it has no initials."""
    undotted = strip_initials_dots(written)
    if undotted == written:
        return ()
    return tuple(word for word, _, _ in words_with_offsets(undotted))


def name_spans(text: str) -> list[Span]:
    """Return the spans of capitalised names, without a leading article; "and", "in" part them."""
    found, start = list[Span](), 0
    text = _INITIAL.sub("-", text)
    for run in () if text.isupper() else names_in(text):
        for name in re.split(r"\s(?:and|for|in|on)\s", run):
            name = _THE.sub("", name)
            at = text.find(name, start)
            if name and at >= 0:
                start = at + len(name)
                found.append((at, start))
    return found


def _within(span: Span, other: Span) -> bool:
    return other[0] <= span[0] and span[1] <= other[1]


def _may_stand(alias: _Alias, text: str, span: Span, runs: Sequence[Span], short: int) -> bool:
    """Return whether a span may be the alias: part of no longer name, and no common word.

    :param short: letters of a name up to which its capitals have to match.
    """
    here, bare = text[slice(*span)], _THE.sub("", alias.written).strip(".!?")
    lower = here == here.casefold()
    if not lower and any(_within(span, run) and span != run for run in runs):
        return False
    if len(bare) <= short and (not _same_letters(here, bare) or text.isupper()):
        return False
    first = bool(_SENTENCE_START.search(text[: span[0]]))
    if not proper(alias.written):
        return lower or first  # a Puma is no cougar
    return here.casefold() not in OPENERS or not (lower or first)


def _same_letters(here: str, name: str) -> bool:
    """Return whether two names have the same letters and capitals, accents and dots apart."""
    return strip_accents(here).replace(".", "") == strip_accents(name).replace(".", "")


def _is_certain(alias: _Alias, key: Words, text: str, span: Span) -> bool:
    """Return whether an alias written like this means its subject."""
    here, first = text[slice(*span)], bool(_SENTENCE_START.search(text[: span[0]]))
    capitals = sum(char.isupper() for char in here)
    capitalised = here[0].isupper() and not text.isupper() and (not first or capitals > 1)
    if alias.source == "alias":
        here, bare = here.replace(".", ""), _THE.sub("", alias.written).replace(".", "")
        return here == bare if not first else len(key) > 1 and here[1:] == bare[1:]
    if alias.source == "spelling":
        return capitalised or len(key) > 1
    # Jones may be any Jones.
    part = key in parts_of(alias.subject) or alias.subject in parts_of(key)
    return alias.source == "list" and proper(alias.written) and capitalised and not part
