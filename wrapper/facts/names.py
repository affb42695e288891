"""Invented names of several tokens: subjects and objects no model knows from training."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

_ONSETS = "b br c ch d dr f g gr h j k kr l m n p pr qu r s sh st t th tr v w z".split()
_VOWELS = "a e i o u a e i o u a e i o ai ea ou".split()
_CODAS = ("", "", "l", "m", "n", "nd", "r", "s", "st", "t", "x")


def invented_word(rng: random.Random, syllables: int | None = None) -> str:
    """Return a capitalised word of random syllables, two or three by default: "Shandrou"."""
    count = syllables or rng.choice((2, 2, 3))
    parts = []
    for i in range(count):
        coda = rng.choice(_CODAS) if i == count - 1 or rng.random() < 0.25 else ""
        parts.append(rng.choice(_ONSETS) + rng.choice(_VOWELS) + coda)
    return "".join(parts).capitalize()


def invented_name(rng: random.Random) -> str:
    """Return one or two invented words, as names of people and places."""
    if rng.random() < 0.4:
        return f"{invented_word(rng, 2)} {invented_word(rng)}"
    return invented_word(rng)


def similar_object(
    text: str, lower: Sequence[str], upper: Sequence[str], rng: random.Random
) -> str:
    """Return an invented object of the same form: a number for a number, words for words.

    :param text: the object to imitate.
    :param lower: vocabulary of lower-case phrases.
    :param upper: vocabulary of capitalised names.
    """
    if (len(text) <= 6 and (text.upper() == text or not text.isalpha())) or text[:1] == ".":
        return "".join(_same_class(character, rng) for character in text)
    count = min(len(text.split()), 3)
    if text[:1].islower() and lower:
        return " ".join(rng.choice(lower) for _ in range(count))
    if count > 1 and upper:
        return " ".join(rng.choice(upper) for _ in range(count))
    return invented_name(rng)


def _same_class(character: str, rng: random.Random) -> str:
    """Return a random character of the same class: digit, lower or upper case."""
    for kind in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
        if character in kind:
            return rng.choice(kind)
    return character
