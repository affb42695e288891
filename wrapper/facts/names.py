"""Invented names, several tokens long, for rows that teach reading from context."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

_ONSETS = "b br c ch d dr f g gr h j k kr l m n p pr qu r s sh st t th tr v w z".split()
_VOWELS = "a e i o u a e i o u a e i o ai ea ou".split()
_CODAS = ("", "", "l", "m", "n", "nd", "r", "s", "st", "t", "x")


def invented_word(rng: random.Random, syllables: int | None = None) -> str:
    """Return a word of two or three random syllables, such as "Shandrou", capitalised."""
    count = syllables or rng.choice((2, 2, 3))
    parts = []
    for i in range(count):
        coda = rng.choice(_CODAS) if i == count - 1 or rng.random() < 0.25 else ""
        parts.append(rng.choice(_ONSETS) + rng.choice(_VOWELS) + coda)
    return "".join(parts).capitalize()


def invented_name(rng: random.Random) -> str:
    """Return one invented word, or two as people and places have them."""
    if rng.random() < 0.4:
        return f"{invented_word(rng, 2)} {invented_word(rng)}"
    return invented_word(rng)


def like_shaped(text: str, lower: Sequence[str], upper: Sequence[str], rng: random.Random) -> str:
    """Return an invented object that looks like one: a number for a number, words for words.

    :param text: the object to be like.
    :param lower: words without a capital to make phrases of.
    :param upper: words with a capital to make names of.
    """
    if (len(text) <= 6 and (text.upper() == text or not text.isalpha())) or text[:1] == ".":
        return "".join(_other(character, rng) for character in text)
    count = min(len(text.split()), 3)
    if text[:1].islower() and lower:
        return " ".join(rng.choice(lower) for _ in range(count))
    if count > 1 and upper:
        return " ".join(rng.choice(upper) for _ in range(count))
    return invented_name(rng)


def _other(character: str, rng: random.Random) -> str:
    """Return a character of the same class."""
    for kind in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
        if character in kind:
            return rng.choice(kind)
    return character
