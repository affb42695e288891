"""What people do to a question: typing errors, small talk around it, and changes of its sense.

Used to make training and test pairs; every function takes its random generator.
"""

from __future__ import annotations

import random
import re

from errata.gates.text import words

_AROUND = (
    "Hi there, quick question: {q}",
    "{q} Thanks!",
    "Hello! {q}",
    "Please answer briefly. {q}",
    "I am doing a crossword and need help. {q}",
    "My son asked me this for his homework: {q}",
    "Question: {q}\nAnswer:",
    "Q: {q} A:",
    "{q} Please keep it short.",
    "{q} I forgot.",
    "Can you help me with this one: {q}",
    "I was wondering about something. {q} Thank you in advance.",
    "We had a quiz last night and nobody knew the answer. {q}",
    "{q} Answer in one word.",
)
_AROUND_LOWER = (
    "i was wondering {q}",
    "quick question {q}",
    "{q} please",
    "ok so {q}",
    "hey {q}",
    "{q} i need it for school",
)
_NEAR_KEYS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o",
    "q": "wa", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc",
    "y": "tu", "z": "x",
}  # fmt: skip
_WAYS_ROUND = (
    "the north of {s}",
    "the neighbour of {s}",
    "the brother of {s}",
    "the rival of {s}",
    "the successor of {s}",
    "the opposite of {s}",
    "the country that {s} defeated",
    "somebody who looks like {s}",
    "the oldest part of {s}",
    "New {s}",
    "Upper {s}",
    "{s} Street",
    "{s} Junior",
    "Little {s}",
    "the {s} of Ruritania",
    "Saint {s}",
    "{s} County",
)
_PLACES = frozenset({"country", "city", "landmark", "nature", "state", "university"})
_FURTHER = (
    "{s} Beach", "{s} Falls", "Port {s}", "{s} Valley", "North {s}", "{s} Hills", "Fort {s}",
    "East {s}", "{s} Springs", "{s} Airport", "{s} Castle", "Lake {s}", "{s} Bay", "Mount {s}",
    "South {s}", "{s} Cathedral", "{s} Harbour", "{s} Island",
)  # fmt: skip
"""Names of other places that a place's name is part of."""
_MENTIONS = (
    "My aunt lives near {s}.",
    "I like {s}.",
    "We were talking about {s} last night.",
    "{s} is what my homework is about.",
    "I read a book about {s}.",
    "Have you heard of {s}?",
    "I am going to write something about {s}.",
    "I don't know much about {s}.",
    "Do you like {s}?",
    "Tell me a joke about {s}.",
    "Write a poem about {s}.",
    "Tell me something about {s}.",
    "{s}",
    "What do you think of {s}?",
    "Translate {s} into French.",
    "My teacher said a lot about {s} today.",
    "Who told you about {s}?",
    "Here is a picture of {s}.",
)
_YEARS = ("1850", "1914", "1800", "the Middle Ages", "2090", "the year 1000", "1750")


def mistyped(text: str, rng: random.Random) -> str:
    """Return the text with one letter of one long word mistyped; short texts stay."""
    long_words = [word for word in words(text) if len(word.text) >= 5 and word.text.isalpha()]
    if not long_words:
        return text
    word = rng.choice(long_words)
    at = word.start + rng.randrange(1, len(word.text) - 1)
    letter, following = text[at], text[at + 1]
    way = rng.randrange(4)
    if way == 0:
        return text[:at] + text[at + 1 :]
    if way == 1:
        return text[:at] + following + letter + text[at + 2 :]
    if way == 2:
        return text[:at] + letter + text[at:]
    return text[:at] + rng.choice(_NEAR_KEYS.get(letter.lower(), letter)) + text[at + 1 :]


def careless(text: str) -> str:
    """Return the text as typed in haste: lower case, no marks at its end."""
    return text.lower().rstrip("?.! ")


def in_message(text: str, rng: random.Random) -> str:
    """Return the question inside a longer message."""
    if rng.random() < 0.3:
        return rng.choice(_AROUND_LOWER).format(q=careless(text))
    return rng.choice(_AROUND).format(q=text)


def noisy(text: str, rng: random.Random) -> str:
    """Return the text as somebody might have typed it, most often unchanged."""
    draw = rng.random()
    if draw < 0.25:
        text = careless(text)
    if 0.2 < draw < 0.4:
        text = mistyped(text, rng)
    if draw > 0.85:
        text = in_message(text, rng)
    return text


def negation(text: str) -> str | None:
    """Return the question negated, or None where no verb is found to negate."""
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
    bare = past.rstrip("?. ")
    year = rng.choice(_YEARS)
    return rng.choice((f"{bare} in {year}?", f"{bare} before {year}?", f"Around {year}, {bare}?"))


def mention(subject: str, rng: random.Random) -> str:
    """Return a sentence that names the subject and asks nothing of it, or nothing definite."""
    return rng.choice(_MENTIONS).format(s=subject)


def way_round(subject: str, rng: random.Random) -> str:
    """Return a noun phrase that names the subject and means something else."""
    return rng.choice(_WAYS_ROUND).format(s=subject)


def namesake(name: str, other: str, kind: str, rng: random.Random) -> str | None:
    """Return another's name that shares a part with this one: David Hume where David Bowie is.

    None where the name has no part to share, or the kind none that is shared by many.

    :param name: the subject's.
    :param other: another subject's of its kind, whose parts are borrowed.
    """
    if kind in _PLACES and not name.startswith("the "):
        return rng.choice(_FURTHER).format(s=name)
    mine, theirs = name.split(), other.split()
    if kind != "person" or len(mine) < 2 or len(theirs) < 2 or mine[-1] == theirs[-1]:
        return None
    if mine[0] == theirs[0]:
        return None
    kept = rng.random() < 0.7
    return " ".join((*mine[:-1], theirs[-1]) if kept else (*theirs[:-1], mine[-1]))
