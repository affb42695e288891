"""Invented names, several tokens long, for rows that teach reading from context."""

from __future__ import annotations

import random

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
