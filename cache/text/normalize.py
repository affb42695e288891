"""The normal forms in which texts are compared, and where a space belongs between two.

All other modules compare text by one of these:

- :func:`normalize`: Unicode form, case and white space; the base.
- :func:`normalize_query`: the base without marks at the end; for queries, questions, conditions.
- :func:`errata.cache.text.answer_match.normalize_answer`: the base without a full stop at the end.
- :func:`fold_secret`: characters without white space, decomposed; saved hashes depend on it.
- :func:`spelling`, :func:`rough_key` and :func:`compare`: what an author listed is found by these,
  and by nothing looser.
- :func:`words_with_offsets` and :func:`plain_words`: words without accents; for names.

The words of the gates (:mod:`errata.gates.text`) are separate: trained weights depend on them.

Spellings may differ as people's typing does: in white space, Unicode composition and width, the
form of quotation marks, marks that open or end a word or sentence, hyphens between letters, and
case, where it is that of a careless typist. What is left means something: a symbol (C and C#, 100
and 100%), a digit (3² and 32), the case of a unit (5 mW and 5 MW) or of a letter behind a mark (-a
and -A).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Set
from functools import lru_cache
from typing import Literal

import regex

Comparison = Literal["same", "other", "unrelated"]
Words = tuple[str, ...]
WordOffsets = tuple[str, int, int]
"""A plain word, its first character in the text and the one behind its last."""

LONGEST = 8
"""Words of the longest n-gram that is looked up as a name or an answer."""

UNIT = 3
"""Letters of a unit's symbol at most, prefix included: kWh, MHz. Behind a number they keep their
capitals, since Mb is not MB; longer words there are names (2018 FIFA) and fold."""
PREFIXED = 2
"""Letters of a symbol such as mW at most: small letter first, a capital later. No habit of typing
makes one (iOS, of three letters, is often typed IOS)."""

_QUOTES = str.maketrans("‘’‚‛`´“”„‟«»", "''''''\"\"\"\"\"\"")
_OPENING = "\"'([{¿¡「『《（【"
_CLOSING = ".,;:?!…\"')]}」』》）】。，、；：？！؟"
_BETWEEN_LETTERS = re.compile(r"(?<=[^\W\d_])[-‐‑‒–—/·・](?=[^\W\d_])")
_BEHIND_MARK = re.compile(r"^[^\w\s]+[^\W\d_](?![^\W\d_])")
_ALPHANUMERIC = re.compile(r"[^\W_]+")
_ASCII = re.compile(r"[A-Za-z0-9]+")
_ACCENTS = re.compile("[\u0300-\u036f]+")  # vowel signs of other scripts are letters
_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ı": "i"})
_ABBREVIATIONS = {"st": "saint", "mt": "mount"}
_WORD_CATEGORIES = frozenset("LNM")
_PUNCTUATION = frozenset({"Po", "Pd", "Pe", "Pf", "Ps", "Pi"})
_SURROGATES = re.compile("[\ud800-\udfff]")
_INITIALS = re.compile(r"(?<!\w)(?:[^\W\d_]\.)+[^\W\d_](?:\.|\b)(?!\w)")
_BEHIND = re.compile(r"[\"”'’)\]\s]*(.?)")


def normalize(text: str) -> str:
    """Return a text in NFKC, casefolded, each run of white space one space, none at the ends.

    :param text: any text; "Ｃａｆé  NOIR" gives "café noir".
    """
    # Case folding may leave NFKC: hence twice.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def normalize_query(text: str) -> str:
    """Return a query, question or condition normalized, without punctuation at its end.

    :param text: any text; one of punctuation alone keeps it, so that "???" differs from "!!!".
    """
    normal = normalize(text)
    end = len(normal)
    while end and (normal[end - 1] == " " or unicodedata.category(normal[end - 1]) in _PUNCTUATION):
        end -= 1
    return normal[:end] or normal


def has_surrogate(text: str) -> bool:
    """Return whether a text has a lone surrogate, and so cannot be written as UTF-8."""
    return _SURROGATES.search(text) is not None


def fold_secret(text: str) -> tuple[str, list[int]]:
    """Return a text's characters in NFKD, casefolded, without white space, and their positions.

    Each character is folded alone, so that a match has a position in the text. The hashes in patch
    files (``secret_hash``) are made of this form: it must not change.

    :param text: any text; lone surrogates become U+FFFD.
    :return: the folded text, and for each of its characters the index of the one it comes from.
    """
    folded: list[str] = []
    positions: list[int] = []
    for position, char in enumerate(_SURROGATES.sub("\ufffd", text)):
        for piece in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold()):
            if not piece.isspace():
                folded.append(piece)
                positions.append(position)
    return "".join(folded), positions


@lru_cache(maxsize=131_072)
def plain_words(name: str) -> Words:
    """Return the words of a name without accents, case, hyphens or a leading article.

    :param name: "The Sacré-Cœur" gives "sacre" and "coeur".
    """
    words = tuple(word for word, _, _ in words_with_offsets(name))
    return words[1:] if words[:1] == ("the",) else words


def words_with_offsets(text: str) -> Iterator[WordOffsets]:
    """Yield the plain words of a text with their offsets; "St." is "saint", "Mt." is "mount".

    :param text: any text.
    """
    dots = {match.end() - 1 for match in _INITIALS.finditer(text) if _abbreviates(match)}
    for start, end in _word_spans(text):
        word = strip_accents(text[start:end].casefold().translate(_LETTERS))
        if word:
            yield _ABBREVIATIONS.get(word, word), start, end + (end in dots)


def word_ngrams(words: Words) -> Iterator[Words]:
    """Yield the n-grams of words, of 1 to :data:`LONGEST` words."""
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + LONGEST) + 1):
            yield words[start:end]


def contains_any(text: str, names: Set[Words]) -> bool:
    """Return whether a text contains one of the names.

    :param text: any text.
    :param names: plain words each.
    """
    return not names.isdisjoint(word_ngrams(plain_words(text)))


def strip_accents(text: str) -> str:
    """Return a text without accents, in NFKD where it is not ASCII."""
    return text if text.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFKD", text))


def strip_initials_dots(text: str) -> str:
    """Return a text with its initials written without dots: "the U.S." gives "the US"."""
    return _INITIALS.sub(lambda match: match[0].replace(".", ""), text)


@lru_cache(maxsize=65536)
def spelling(text: str) -> tuple[str, ...]:
    """Return the words of a text as written, without the marks that mean nothing.

    :param text: any text.
    :return: its words; of a text of marks alone, these.
    """
    written = (text if text.isascii() else _in_full_width(text)).translate(_QUOTES)
    bare = (_bare(word) for word in _BETWEEN_LETTERS.sub(" ", written).split())
    return tuple(word for word in bare if word) or tuple(written.split())


def _in_full_width(text: str) -> str:
    """Return a text in NFC, with wide and narrow letters in their usual width."""
    wide = (
        unicodedata.normalize("NFKC", char)
        if unicodedata.decomposition(char).startswith(("<wide>", "<narrow>"))
        else char
        for char in unicodedata.normalize("NFC", text)
    )
    return "".join(wide)


@lru_cache(maxsize=65536)
def rough_key(text: str) -> str:
    """Return the letters and digits of a text, folded: equal for any two that compare at all.

    :param text: any text; one without letters and digits keeps its marks.
    """
    words = " ".join(spelling(text))
    if words.isascii():
        return " ".join(_ALPHANUMERIC.findall(words.casefold())) or words.casefold()
    # Case folding may leave NFKC: hence twice.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", words).casefold())
    return " ".join(_ALPHANUMERIC.findall(folded)) or folded


def compare(listed: str, text: str) -> Comparison:
    """Return whether a text is another spelling of a listed one.

    :param listed: a text that an author listed.
    :param text: any text.
    :return: ``same``; ``other`` where only what means something differs, which an encoder may not
        see; ``unrelated`` where the letters and digits differ.
    """
    if rough_key(listed) != rough_key(text):
        return "unrelated"
    one, two = spelling(listed), spelling(text)
    if one == two:
        return "same"
    if [word.casefold() for word in one] != [word.casefold() for word in two]:
        return "other"
    if _shouted(one) or _shouted(two):
        return "same"
    numbers = (False, *(any(map(str.isdigit, word)) for word in one))
    alike = (_typed_alike(*pair) for pair in zip(one, two, numbers, strict=False))
    return "same" if all(alike) else "other"


_UNSPACED = regex.compile(r"[\p{Line_Break=SA}\p{East_Asian_Width=W}\p{East_Asian_Width=F}]")
"""Characters of scripts without spaces between words, by Unicode's properties."""


def needs_space(before: str, after: str) -> bool:
    """Return whether a space belongs between a text and its continuation.

    None does next to a character of a script without them (Chinese, Thai, …), or after an empty
    text.
    """
    return bool(before) and not (_wide(before[-1]) or _wide(after[:1] or " "))


def word_pattern(text: str) -> str:
    """Return a pattern that finds a text at word boundaries; in scripts without them, anywhere."""
    before = r"(?<!\w)" if needs_space(" ", text) else ""
    after = r"(?!\w)" if needs_space(text, " ") else ""
    return f"{before}{re.escape(text)}{after}"


def _wide(char: str) -> bool:
    """Return whether a character is of a script that writes no spaces between words."""
    return _UNSPACED.match(char) is not None


def _abbreviates(initials: re.Match[str]) -> bool:
    """Return whether the last dot of initials does not also end a sentence."""
    behind = _BEHIND.match(initials.string, initials.end())
    following = behind[1] if behind else ""
    return initials[0].endswith(".") and following != "" and not following.isupper()


def _word_spans(text: str) -> Iterator[tuple[int, int]]:
    if text.isascii():
        yield from (match.span() for match in _ASCII.finditer(text))
        return
    start = None
    for place, char in enumerate(text):
        within = unicodedata.category(char)[0] in _WORD_CATEGORIES
        if within and start is None:
            start = place
        elif not within and start is not None:
            yield start, place
            start = None
    if start is not None:
        yield start, len(text)


def _bare(word: str) -> str:
    """Return a word without the marks of a sentence around it; 5! and 6' keep theirs."""
    inner = word.lstrip(_OPENING).rstrip(_CLOSING)
    end = word.rstrip(".,;:?…。，？")
    if end[-1:] in ("!", "'", '"') and (inner[-1:].isdigit() or len(inner) == 1):
        return end.lstrip(_OPENING)
    return inner


def _shouted(words: tuple[str, ...]) -> bool:
    """Return whether a text is all in capitals, and more than a number and its unit."""
    longest = max((sum(map(str.isalpha, word)) for word in words), default=0)
    return longest > UNIT and all(word == word.upper() for word in words)


def _typed_alike(one: str, two: str, behind_number: bool) -> bool:
    """Return whether two words that differ in case at most are one word, typed otherwise."""
    if one == two:
        return True
    if _BEHIND_MARK.match(one):
        return False
    if one.islower() or two.islower():
        return True
    letters = sum(map(str.isalpha, one))
    symbol = any(word[:1].islower() for word in (one, two)) and letters <= PREFIXED
    return not (symbol or (behind_number and letters <= UNIT))
