"""Augmentation of questions: typing errors, small talk around them, and changes of their sense.

The words come from ``tables/augment.yaml``; every function takes its random generator.
"""

from __future__ import annotations

import random
import re
from typing import Any

from errata.gates.data.yaml_tables import load_table
from errata.gates.text import words


def _table(key: str) -> Any:
    return load_table("augment")[key]


def mistyped(text: str, rng: random.Random) -> str:
    """Return the text with one letter of one long word mistyped; short texts stay."""
    long_words = [word for word in words(text) if len(word.text) >= 5 and word.text.isalpha()]
    if not long_words:
        return text
    word = rng.choice(long_words)
    at = word.start + rng.randrange(1, len(word.text) - 1)
    letter, following = text[at], text[at + 1]
    change = rng.randrange(4)
    if change == 0:
        return text[:at] + text[at + 1 :]
    if change == 1:
        return text[:at] + following + letter + text[at + 2 :]
    if change == 2:
        return text[:at] + letter + text[at:]
    typed: str = rng.choice(_table("adjacent_keys").get(letter.lower(), letter))
    return text[:at] + typed + text[at + 1 :]


def careless(text: str) -> str:
    """Return the text in lower case, without punctuation at its end."""
    return text.lower().rstrip("?.! ")


def in_message(text: str, rng: random.Random) -> str:
    """Return the question inside a longer message."""
    lower = rng.random() < 0.3
    message: str = rng.choice(_table("messages_lower" if lower else "messages"))
    return message.format(q=careless(text) if lower else text)


def noisy(text: str, rng: random.Random) -> str:
    """Return the text with random noise: lower case, a typo, a message around it; often none."""
    draw = rng.random()
    if draw < 0.25:
        text = careless(text)
    if 0.2 < draw < 0.4:
        text = mistyped(text, rng)
    if draw > 0.85:
        text = in_message(text, rng)
    return text


def negation(text: str) -> str | None:
    """Return the question negated, or None where it has no verb to negate."""
    changed = re.sub(
        r"\b(is|are|was|were|does|do|did|can|has) (?!not\b)", r"\1 not ", text, count=1
    )
    return changed if changed != text else None


def at_another_time(text: str, rng: random.Random) -> str | None:
    """Return the question about another time, or None where it has no verb to change."""
    past = re.sub(r"\bis\b", "was", re.sub(r"\bare\b", "were", text, count=1), count=1)
    past = re.sub(r"\bdoes\b", "did", re.sub(r"\bdo\b", "did", past, count=1), count=1)
    if past == text:
        return None
    stem = past.rstrip("?. ")
    year = rng.choice(_table("times"))
    return rng.choice((f"{stem} in {year}?", f"{stem} before {year}?", f"Around {year}, {stem}?"))


def mention(subject: str, rng: random.Random) -> str:
    """Return a sentence that names the subject and asks nothing definite of it."""
    text: str = rng.choice(_table("mentions"))
    return text.format(s=subject)


def other_noun_phrase(subject: str, rng: random.Random) -> str:
    """Return a noun phrase that names the subject and means something else."""
    text: str = rng.choice(_table("other_noun_phrases"))
    return text.format(s=subject)


def namesake(name: str, other: str, kind: str, rng: random.Random) -> str | None:
    """Return a name that shares a part with this one: David Hume for David Bowie, or None.

    :param name: of the subject.
    :param other: name of another subject of its kind, whose parts are borrowed.
    """
    if kind in _table("place_kinds") and not name.startswith("the "):
        place: str = rng.choice(_table("place_names"))
        return place.format(s=name)
    mine, theirs = name.split(), other.split()
    if kind != "person" or len(mine) < 2 or len(theirs) < 2 or mine[-1] == theirs[-1]:
        return None
    if mine[0] == theirs[0]:
        return None
    kept = rng.random() < 0.7
    return " ".join((*mine[:-1], theirs[-1]) if kept else (*theirs[:-1], mine[-1]))
