"""How candidates are found, and the indexes that they are found in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from errata.cache.index.base import VectorIndex
from errata.cache.index.terms import CharacterIndex, WordIndex
from errata.cache.records import Edit, RegexPatch, Vector


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """How candidates are found beside the k nearest by vectors.

    :param by_words: candidates of a query more, by its words, as a share of k: an encoder may miss
        a rare word (SWIFT, BIC) that both texts have.
    :param by_answer: candidates of a query more that it names the answer of, as a share of k: "Of
        which country is Gitega the capital?" shares nothing else with the inverse question.
    :param unreadable_share: share of unknown tokens above which candidates are also found by
        characters, since an encoder gives unknown words one meaning. English with a few foreign
        names stays below.
    :param margin: candidates beyond k that are scored exactly before the k best are taken: an
        index rounds, and an approximate one errs.
    """

    by_words: float = 0.25
    by_answer: float = 0.5
    unreadable_share: float = 0.2
    margin: int = 8


@dataclass(frozen=True, slots=True, eq=False)
class SearchIndexes:
    """Indexes over the texts by which edits are found; never changed once shared.

    :param index: their vectors, by text.
    :param characters: their characters.
    :param words: their words.
    :param owners: the ids of the edits that each text belongs to.
    :param vectors: float32 [d] by text, counterexamples included.
    """

    index: VectorIndex
    characters: CharacterIndex
    words: WordIndex
    owners: Mapping[str, tuple[str, ...]]
    vectors: Mapping[str, Vector]


def searched_texts(edit: Edit) -> tuple[str, ...]:
    """Return the texts by which an edit is found: its scope and its examples.

    Regex patches have none: they are applied to every text.
    """
    if isinstance(edit, RegexPatch):
        return ()
    return tuple(dict.fromkeys((edit.scope, *edit.examples)))


def encoded_texts(edit: Edit) -> tuple[str, ...]:
    """Return the texts of an edit that are encoded: also its counterexamples."""
    found = searched_texts(edit)
    return (*found, *edit.counterexamples) if found else ()
