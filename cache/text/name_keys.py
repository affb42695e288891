"""The names by which a fact is found in an index, and those that a text may have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from errata.cache.records import Edit, Fact
from errata.cache.text.aliases import (
    AliasConfig,
    known_aliases,
    name_spans,
    parts_of,
    proper,
    spans_by_words,
)
from errata.cache.text.normalize import (
    Words,
    needs_space,
    plain_words,
    strip_initials_dots,
    words_with_offsets,
)

_CONFIG = AliasConfig()


def name_keys(written: str, aliases: Iterable[str] = ()) -> set[Words]:
    """Return the plain words of the subject of a fact and of its other names.

    :param written: the subject.
    :param aliases: the fact's own.
    """
    subject = plain_words(written)
    if not subject:
        return set()
    known = (plain_words(name) for name, _ in known_aliases(written))
    return {subject, *known, *map(plain_words, aliases)} - {()}


def name_parts(written: str) -> Iterator[tuple[Words, Words]]:
    """Yield the parts of the name of a fact's subject, each with the whole name."""
    subject = plain_words(written)
    if 1 < len(subject) <= _CONFIG.longest and proper(written):
        yield from ((part, subject) for part in parts_of(subject))


def names_in_text(text: str) -> set[Words]:
    """Return the n-grams of words that may be a name in a text, also with initials undotted."""
    head = text[: _CONFIG.head]
    found = set(spans_by_words(list(words_with_offsets(head)), _CONFIG.longest))
    undotted = strip_initials_dots(head)
    if undotted != head:
        found |= set(spans_by_words(list(words_with_offsets(undotted)), _CONFIG.longest))
    return found


def parts_in_text(text: str) -> set[Words]:
    """Return the words of the capitalised names in a text, each of which may be part of a name."""
    head = text[: _CONFIG.head]
    words = list(words_with_offsets(head))
    return {
        tuple(word for word, at, _ in words if start <= at < end) for start, end in name_spans(head)
    }


def has_plain_names(edit: Edit) -> bool:
    """Return whether all names of a fact are found by their words: none is long or unspaced."""
    aliases = edit.aliases if isinstance(edit, Fact) else ()
    return all(
        needs_space(" ", alias) and len(plain_words(alias)) <= _CONFIG.longest for alias in aliases
    )
