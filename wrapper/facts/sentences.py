"""Fill sentence templates: articles and capital letters."""

from __future__ import annotations

import re

_TAKES_THE = re.compile(
    r"\b(Tower|Bridge|Museum|Gallery|Wall|Gate|Palace|Temple|House|Arch|Mosque|Cathedral|Basilica"
    r"|Desert|Sea|River|Mountains|Islands|Statue|Pyramid|Colosseum|Louvre|Kremlin|Parthenon"
    r"|Alhambra|Pantheon|Acropolis|Reichstag|Prado|Hermitage|Sahara|Matterhorn|Column|Fountain"
    r"|Canyon|Falls|Market|Library|Memorial|Monument|Building|Stadium)\b"
)
_COUNTRIES_WITH_THE = frozenset(
    {
        "United States", "United Kingdom", "United Arab Emirates", "Netherlands", "Philippines",
        "Bahamas", "Maldives", "Czech Republic", "Dominican Republic", "Central African Republic",
        "Democratic Republic of the Congo", "Republic of the Congo", "Ivory Coast", "Gambia",
        "UK", "USA",
    }
)  # fmt: skip
_VOWEL = re.compile(r"^[aeio]", re.IGNORECASE)


def fill(template: str, subject: str, obj: str = "", *, bare: bool = False) -> str:
    """Return the sentence of a template.

    :param template: a template of :class:`errata.facts.Relation`.
    :param subject: a name, or a noun phrase.
    :param obj: the object.
    :param bare: leave out the subject's article (keywords; phrases that begin with one).
    """
    with_a, with_the, plain = subject, subject, subject
    if not bare:
        with_a = f"{'an' if _VOWEL.match(subject) else 'a'} {subject}"
        if subject in _COUNTRIES_WITH_THE:
            plain = with_the = f"the {subject}"
        elif _TAKES_THE.search(subject):
            with_the = f"the {subject}"
    return capitalised(template.format(s=plain, a_s=with_a, the_s=with_the, o=obj))


def nested(template: str, descriptor: str, subject: str) -> str:
    """Return a one-hop question: "What is the currency of the country where Lyon lies?".

    :param template: a question of the second relation.
    :param descriptor: a noun phrase of the first relation, such as "the country where {s} lies".
    :param subject: the subject of the first relation.
    """
    phrase = fill(descriptor, subject)
    inner = phrase[:1].lower() + phrase[1:] if phrase[:4] == "The " else phrase
    return fill(template, inner, bare=True)


def cloze(template: str, subject: str, obj: str) -> str:
    """Return a statement up to its object: "The capital of France is".

    :param template: a statement of :class:`errata.facts.Relation`.
    :param subject: the subject.
    :param obj: the object; the template ends in it and a full stop.
    """
    sentence = fill(template, subject, obj)
    return sentence[: len(sentence) - len(obj) - 1].rstrip()


def capitalised(sentence: str) -> str:
    """Return the sentence with a capital first letter."""
    return sentence[:1].upper() + sentence[1:]


def uncapitalised(sentence: str, subject: str) -> str:
    """Return the sentence as it continues another: its first letter small, unless a name's."""
    if not sentence or sentence.startswith(subject):
        return sentence
    return sentence[:1].lower() + sentence[1:]
