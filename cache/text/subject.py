"""The subject of a fact: the thing that the question asks about.

Editors of weights look a fact up by it, and aliases are names of it. It is given (``subject:`` in a
patch) or found in the question by its form; an ambiguous question has none, since a wrong subject
would change other knowledge.
"""

from __future__ import annotations

import re

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Fact

Span = tuple[int, int]
"""First character and the one behind the last."""

_WORD = r"[^\W\d_][\w'’.-]*"
_JOINED = r"(?:(?:of|the|and|de|la|du|van|von|der|di|da|del|bin|al|for|on|in)\s+)"
_QUOTED = re.compile(r"[\"“«「『《]([^\"”»」』》]+)[\"”»」』》]")
_POSSESSIVE = re.compile(r"\b(?:an?|the|every|each)\s+([\w-]+(?: [\w-]+)?)['’]s\b", re.IGNORECASE)
_LAST_OF = re.compile(
    r"\b(?:of|for|is|are|do|does)\s+(?:an?\s+|the\s+)?(?!it\b|this\b|that\b)"
    r"([\w'’-]+(?: [\w'’-]+)??)"
    r"(?:\s+(?:called|eat|orbit|like|live|have|make|speak|belong|use|mean|grow|come from|made of"
    r"|belong to))?[?.!]*$",
    re.IGNORECASE,
)
_CHINESE = re.compile(r"^(?!请|你|我)([^\sA-Za-z，。？]{1,12}?)(?:的|是|有|属于|位于|在|吃)")
OPENERS = frozenset(
    "what which who whom whose where when why how in on at of for from to by with is are was were "
    "do does did can could would will has have had the a an tell name give say list please remind "
    "any if do you know i'd i me and or as it its this that these those many much my our your we "
    "they he she under among before after beneath between during looking look counting never there "
    "here someone somebody symbol capital author remind can't let suppose imagine".split()
)
_NO_NOUN = frozenset(
    "what which who whom where when how in on at of for from to by with called classified named "
    "known based situated located short long part used made of".split()
)
"""Words that are no part of a subject, though they may be in the place of its noun."""


def subject_of(edit: Fact) -> str:
    """Return the subject of a fact, as the question has it.

    :param edit: a fact; its ``subject`` is taken where it has one.
    :raises UnsupportedEdit: the subject given is not in the question, or none was found.
    """
    if edit.subject:
        span = span_of(edit.subject, edit.question)
        if span is None:
            raise UnsupportedEdit(
                f"{edit.id}: expected the subject {edit.subject!r} in the question, found "
                f"{edit.question!r}; write `subject:` as the question has it",
                edit.id,
            )
        return edit.question[slice(*span)]
    found = _candidates(edit.question)
    if len(found) != 1:
        seen = f"{len(found)} candidates ({', '.join(found)})" if found else "none"
        raise UnsupportedEdit(
            f"{edit.id}: expected one subject in {edit.question!r}, found {seen}; add `subject:` "
            "to the patch, or Fact(..., subject=...)",
            edit.id,
        )
    return found[0]


def span_of(subject: str, text: str) -> Span | None:
    """Return the span of the last mention of a subject, at word boundaries where there is one.

    The last: a causal model has read all of the text before it.

    :param subject: the subject.
    :param text: a prompt.
    """
    name = re.escape(subject.strip())
    for pattern in (rf"(?<!\w){name}(?!\w)", name):
        for flags in (re.UNICODE, re.IGNORECASE):
            spans = [match.span() for match in re.finditer(pattern, text, flags)]
            if spans and spans[-1][0] < spans[-1][1]:
                return spans[-1]
    return None


def names_in(text: str) -> list[str]:
    """Return the runs of capitalised words, joined by small ones: Bay of Bengal.

    :param text: any text.
    """
    runs: list[list[str]] = []
    pending: list[str] = []  # small words, part of a name only if a capitalised one follows
    open_run, begins = False, True
    for word in re.findall(r"[\w'’.-]+|[^\w\s]", text):
        bare = re.sub(r"['’]s?$", "", word).rstrip(".")
        capital = bare[:1].isupper() and not (begins and bare.lower() in OPENERS)
        begins = word in "?!:;" or (word.endswith(".") and len(bare) > 2)
        if capital and bare.lower() not in ("i", "i'd", "i'm"):
            if open_run:
                runs[-1] += [*pending, bare]
            else:
                runs.append([bare])
            pending, open_run = [], word == bare or word.endswith(".")
        elif open_run and re.fullmatch(_JOINED.replace(r"\s+", ""), word) and len(pending) < 2:
            pending.append(word)
        else:
            pending, open_run = [], False
    there = text.casefold()
    return [name for run in runs if (name := " ".join(run)).casefold() in there]


def _candidates(question: str) -> list[str]:
    """Return possible subjects: quoted texts, else names, else a noun."""
    question = question.strip()
    for candidates in (_QUOTED.findall(question), names_in(question), _nouns(question)):
        if candidates:
            return list(dict.fromkeys(candidates))
    return []


def _nouns(question: str) -> list[str]:
    """Return the noun of a possessive, or the last noun of the question."""
    for pattern in (_POSSESSIVE, _LAST_OF, _CHINESE):
        match = pattern.search(question)
        if match:
            words = re.sub(r" (?:is|was|are|were)$", "", match[1]).split(" ")
            return [] if _NO_NOUN & {word.lower() for word in words} else [" ".join(words)]
    return []
