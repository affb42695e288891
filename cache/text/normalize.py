"""The normal forms in which texts are compared.

All other modules compare text by one of these:

- :func:`normalize`: Unicode form, case and white space; the base.
- :func:`normalize_query`: the base without marks at the end; for queries, questions, conditions.
- :func:`errata.cache.text.answer_match.normalize_answer`: the base without a full stop at the end.
- :func:`fold_secret`: characters without white space, decomposed; saved hashes depend on it.
- :func:`words_with_offsets` and :func:`plain_words`: words without accents; for names.

The words of the gates (:mod:`errata.gates.text`) are separate: trained weights depend on them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Set
from functools import lru_cache

Words = tuple[str, ...]
WordOffsets = tuple[str, int, int]
"""A plain word, its first character in the text and the one behind its last."""

LONGEST = 8
"""Words of the longest n-gram that is looked up as a name or an answer."""

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
