"""Yes, no and negation in several languages: what an answer affirms or denies.

The words are closed classes, in ``lexicon/polarity.tsv``, one language a line. Languages are those
of :mod:`errata.gates.conditions.language`.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from errata.cache.text.normalize import normalize, word_pattern

_LEXICON = Path(__file__).parent / "lexicon" / "polarity.tsv"
_CLAUSE = re.compile(r"[,;:.!?\n、。]+(?!\d)|\s[-–—]\s")
_SHORT_FORM = re.compile(r"n['’]t\b")
DEFAULT_LANGUAGE = "english"


@dataclass(frozen=True, slots=True)
class PolarityWords:
    """The words of one language, normalized.

    :param yes: words that affirm, the usual one first.
    :param no: words that deny, the usual one first.
    :param negations: words that negate a clause.
    :param particles: words that turn a statement into a question, or ask whether it is true.
    :param interrogatives: words that ask for a value: who, what, which.
    """

    yes: tuple[str, ...]
    no: tuple[str, ...]
    negations: tuple[str, ...]
    particles: tuple[str, ...]
    interrogatives: tuple[str, ...]


@cache
def polarity_words() -> Mapping[str, PolarityWords]:
    """Return the words of each language, by its English name in lower case."""
    with _LEXICON.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    columns = [field.name for field in fields(PolarityWords)]
    return {
        row["language"]: PolarityWords(
            *(tuple(map(normalize, filter(None, row[name].split("|")))) for name in columns)
        )
        for row in rows
    }


def yes_or_no(holds: bool, language: str) -> str:
    """Return the word for yes or no.

    :param holds: whether it is yes.
    :param language: English name in lower case; English where it is not in the lexicon.
    """
    known = polarity_words()
    found = known.get(language) or known[DEFAULT_LANGUAGE]
    word = (found.yes if holds else found.no)[0]
    return word[:1].upper() + word[1:]


def verdict(answer: str) -> bool | None:
    """Return whether an answer begins with yes (True) or no (False), None where with neither.

    :param answer: any text; "No, it is Astana." gives False.
    """
    text = normalize(answer).lstrip("*\"'“‘「¡¿ ")
    best: tuple[int, bool | None] = 0, None
    for words in polarity_words().values():
        for holds, forms in ((True, words.yes), (False, words.no)):
            for form in forms:
                longer = len(form) > best[0]
                if longer and text.startswith(form) and _ends_word(text, len(form)):
                    best = len(form), holds
    return best[1]


def is_negated(text: str, value: str = "", language: str = DEFAULT_LANGUAGE) -> bool:
    """Return whether a text negates a value everywhere it has it, or, without one, is negated.

    Clause by clause: "not Almaty, but Astana" does not negate Astana. Negations inside the value
    do not count, nor does a "no" that is a clause of its own.

    :param text: any text.
    :param value: what may be negated.
    :param language: of the text; English negations always count.
    """
    wanted = normalize(value)
    clauses = _clauses(text)
    found = [clause for clause in clauses if wanted in clause]
    if wanted and not found:
        found = [normalize(text)]
    rests = [clause.replace(wanted, " ") if wanted else clause for clause in found]
    return bool(rests) and all(_has_negation(rest, language) for rest in rests)


def _clauses(text: str) -> list[str]:
    return [clause for part in _CLAUSE.split(normalize(text)) if (clause := part.strip())]


def _has_negation(clause: str, language: str) -> bool:
    known = polarity_words()
    if any(clause in known[one].no for one in (DEFAULT_LANGUAGE, language) if one in known):
        return False  # a verdict
    return _SHORT_FORM.search(clause) is not None or any(
        re.search(pattern, clause) for pattern in _negations(language)
    )


@cache
def _negations(language: str) -> tuple[str, ...]:
    known = polarity_words()
    found = (known[one].negations for one in (DEFAULT_LANGUAGE, language) if one in known)
    return tuple(word_pattern(word) for words in found for word in words)


def _ends_word(text: str, end: int) -> bool:
    if end >= len(text) or unicodedata.east_asian_width(text[end - 1]) in "WF":
        return True
    return not text[end].isalnum()
