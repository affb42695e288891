"""How a query asks about a fact: for its answer, whether it holds, or for something else.

Decided by words: a query asks about a fact and nothing else if its words are those of the fact's
question and answer, or words of grammar, and it swaps words rather than adding some. One value
more, in the place of the answer, makes it the false form of a yes-or-no question.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from errata.cache.errors import EditError
from errata.cache.records import Fact
from errata.cache.text.normalize import (
    normalize_query,
    plain_words,
    strip_accents,
    words_with_offsets,
)
from errata.cache.text.polarity import DEFAULT_LANGUAGE, polarity_words, verdict
from errata.cache.text.subject import subject_of
from errata.gates.text import FUNCTION_WORDS, NEGATIONS, asks_yes_no, same_word

QuestionForm = Literal["value", "true", "false"]
"""The query asks for the answer, whether the answer holds, or whether another value does."""

_AUXILIARIES = frozenset("isn aren wasn weren don doesn didn hasn haven hadn won wouldn".split())
_ARTICLES = frozenset({"a", "an", "the"})
_PREPOSITIONS = frozenset({"in", "on", "at", "to", "for", "from", "with", "of", "into", "在"})
_PLACES = frozenset({"where", "when"})
"""Interrogatives whose answer a question states behind a preposition: "born in Vienna"."""
_DETERMINERS = frozenset({"which", "what"})


@dataclass(frozen=True, slots=True)
class _Token:
    """A plain word, or one character of a script without spaces, as it is written."""

    plain: str
    written: str


def question_form(
    query: str, fact: Fact, language: str = DEFAULT_LANGUAGE, spare_words: int = 1
) -> QuestionForm | None:
    """Return how a query asks about a fact, None where it asks for something else.

    :param query: the query.
    :param fact: a fact with its answer.
    :param language: of the query (:func:`errata.gates.conditions.language.language_of`).
    :param spare_words: words that a yes-or-no question that names the answer may have beyond those
        of the fact.
    """
    if normalize_query(query) == normalize_query(fact.question):
        return "value"
    form = _form_by_words(query, fact, language, spare_words)
    # a fact that is itself a yes-or-no question has no value that another could replace
    return form if form == "value" or verdict(fact.answer) is None else None


def _form_by_words(query: str, fact: Fact, language: str, spare_words: int) -> QuestionForm | None:
    tokens, asked = _tokens(query), _tokens(fact.question)
    grammar, interrogatives = _grammar(language), _interrogatives(language)
    answer = [token.plain for token in _tokens(fact.answer)]
    content = [token.plain for token in asked if token.plain not in grammar | interrogatives]
    held = _held_by(tokens, answer)
    known = [token.plain for token in asked]
    new = [
        at for at, token in enumerate(tokens)
        if at not in held and token.plain not in grammar | interrogatives
        and not any(same_word(token.plain, one) for one in known)
    ]  # fmt: skip
    there = [token.plain for token in tokens]
    absent = {word for word in content if not any(same_word(word, one) for one in there)}
    kind = _kind_nouns(asked, grammar)
    # "which country is …" may be asked without "country" where a name tells what is meant
    missing = absent - kind if _is_name(fact.answer) else absent
    if not _names_subject(tokens, fact, certain=not missing):
        return None
    asks_value = _asks_value(query, tokens, interrogatives)
    if asks_value or not _is_question(query):
        if new or missing or (held and asks_value):
            return None
        return "true" if held else "value"
    if held:
        other = any(at and _is_name(tokens[at].written) for at in new)
        return "true" if not other and len(new) <= len(missing) + spare_words else None
    if not new:
        return None if missing else "false" if asks_yes_no(query) else "value"
    value = _other_value(tokens, new, fact, placed=bool(kind) or not _PLACES.isdisjoint(known))
    if value is None or len(new) - len(value) > (len(absent) if _is_name(fact.answer) else 0):
        return None
    return "false" if _is_name(fact.answer) or not missing else None


def _asks_value(query: str, tokens: Sequence[_Token], interrogatives: frozenset[str]) -> bool:
    """Return whether a query asks who, what or which, not "is it the city *where* …"."""
    if asks_yes_no(query):
        return False
    return any(token.plain in interrogatives for token in tokens)


def _is_question(query: str) -> bool:
    return query.rstrip().endswith(("?", "？", "؟"))


def _tokens(text: str) -> list[_Token]:
    return list(_split(text))


def _split(text: str) -> Iterator[_Token]:
    for plain, start, end in words_with_offsets(text):
        if any(unicodedata.east_asian_width(char) in "WF" for char in plain):
            yield from (_Token(char, char) for char in plain)
        else:
            yield _Token(plain, text[start:end])


@cache
def _grammar(language: str) -> frozenset[str]:
    """Return the words that say nothing of their own: of English, and those of the language."""
    found = {*FUNCTION_WORDS, *NEGATIONS, *_AUXILIARIES}
    for one in {DEFAULT_LANGUAGE, language} & polarity_words().keys():
        words = polarity_words()[one]
        found |= {strip_accents(word) for word in (*words.particles, *words.negations)}
    return frozenset(found)


@cache
def _interrogatives(language: str) -> frozenset[str]:
    known = polarity_words()
    found = known.get(language) or known[DEFAULT_LANGUAGE]
    return frozenset(strip_accents(word) for word in found.interrogatives)


def _held_by(tokens: Sequence[_Token], answer: Sequence[str]) -> frozenset[int]:
    """Return the positions of the answer in a query, none where it is not there."""
    size = len(answer)
    if any(word.isdigit() for word in answer):  # dates are written in several orders
        places = frozenset(at for at, token in enumerate(tokens) if token.plain in answer)
        return places if {tokens[at].plain for at in places} == set(answer) else frozenset()
    for start in range(len(tokens) - size + 1):
        if size and [token.plain for token in tokens[start : start + size]] == answer:
            return frozenset(range(start, start + size))
    return frozenset()


def _subject(fact: Fact) -> str:
    """Return the subject of a fact, an empty text where it is not clear."""
    try:
        return subject_of(fact)
    except EditError:
        return ""


def _names_subject(tokens: Sequence[_Token], fact: Fact, *, certain: bool) -> bool:
    """Return whether a query names the subject of a fact.

    :param certain: what to return where the subject is not clear.
    """
    subject = _subject(fact)
    if not subject:
        return certain
    there = {token.plain for token in tokens}
    return all(token.plain in there or token.plain in _ARTICLES for token in _tokens(subject))


def _kind_nouns(asked: Sequence[_Token], grammar: frozenset[str]) -> frozenset[str]:
    """Return the nouns that say what kind of thing is asked for: "which *country* is …"."""
    for at, token in enumerate(asked):
        if token.plain in _DETERMINERS:
            nouns = []
            for after in asked[at + 1 :]:
                if after.plain in grammar:
                    break
                nouns.append(after.plain)
            return frozenset(nouns[:2])
    return frozenset()


def _other_value(
    tokens: Sequence[_Token], new: Sequence[int], fact: Fact, *, placed: bool
) -> Sequence[int] | None:
    """Return the positions of one new value of the same form as the answer, in its place.

    :param placed: the value may stand behind a preposition: it is a place, a time, or one of a
        kind that the fact's question names.
    :return: None where there is none, or several.
    """
    name = _is_name(fact.answer) and any(_is_name(token.written) for token in tokens[1:])
    runs = _runs([at for at in new if not name or _is_name(tokens[at].written)], tokens, name)
    if len(runs) != 1:
        return None
    first, last = runs[0][0], runs[0][-1]
    size = len(_tokens(fact.answer))
    if last - first >= max(2 * size, size + 2):
        return None
    before = tokens[first - 1].plain if first else ""
    question = plain_words(fact.question)
    if before in _PREPOSITIONS and before not in question and not placed:
        return None
    return runs[0]


def _runs(places: Sequence[int], tokens: Sequence[_Token], name: bool) -> list[list[int]]:
    """Return the places as runs; articles and prepositions inside a name part none."""
    runs: list[list[int]] = []
    for at in places:
        between = range(runs[-1][-1] + 1, at) if runs else ()
        inside = all(tokens[i].plain in _ARTICLES | _PREPOSITIONS for i in between)
        if runs and (not between or (name and inside)):
            runs[-1].append(at)
        else:
            runs.append([at])
    return runs


def _is_name(text: str) -> bool:
    """Return whether a text begins as names and numbers do; scripts without case have none."""
    return not text[:1].islower()
