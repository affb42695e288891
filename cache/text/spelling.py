"""When two spellings are one text: what an author listed is found by this, and by nothing looser.

Spellings may differ as people's typing does: in white space, Unicode composition and width, the
form of quotation marks, marks that open or end a word or sentence, hyphens between letters, and
case, where it is that of a careless typist. What is left means something: a symbol (C and C#, 100
and 100%), a digit (3² and 32), the case of a unit (5 mW and 5 MW) or of a letter behind a mark (-a
and -A).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

Comparison = Literal["same", "other", "unrelated"]

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


@lru_cache(maxsize=65536)
def spelling(text: str) -> tuple[str, ...]:
    """Return the words of a text as written, without the marks that mean nothing.

    :param text: any text.
    :return: its words; of a text of marks alone, these.
    """
    wide = (
        unicodedata.normalize("NFKC", char)
        if unicodedata.decomposition(char).startswith(("<wide>", "<narrow>"))
        else char
        for char in unicodedata.normalize("NFC", text)
    )
    written = "".join(wide).translate(_QUOTES)
    bare = (_bare(word) for word in _BETWEEN_LETTERS.sub(" ", written).split())
    return tuple(word for word in bare if word) or tuple(written.split())


@lru_cache(maxsize=65536)
def rough_key(text: str) -> str:
    """Return the letters and digits of a text, folded: equal for any two that compare at all.

    :param text: any text; one without letters and digits keeps its marks.
    """
    words = " ".join(spelling(text))
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
