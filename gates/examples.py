"""What an author listed: decided before any gate scores, and taught to every gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from errata.cache.encoder import TextEncoder
from errata.cache.records import Edit, Hit, Query, RegexPatch, SourceLocation
from errata.cache.text.spelling import compare, rough_key, spelling
from errata.gates.base import Listed


@dataclass(frozen=True, slots=True)
class NearestExamples:
    """How near a query is to what is listed for an edit.

    :param texts: the edit's examples, nearest first, without those that differ from the query only
        in what an encoder may not see (5 mW and 5 MW).
    :param cosines: their cosines.
    :param counterexample: cosine of the nearest counterexample; -1 without any.
    """

    texts: tuple[str, ...]
    cosines: tuple[float, ...]
    counterexample: float

    @property
    def cosine(self) -> float:
        """The cosine of the nearest example; -1 without any."""
        return self.cosines[0] if self.cosines else -1.0

    @property
    def against(self) -> bool:
        """Whether the query is nearer to a counterexample than to any example."""
        return self.counterexample > self.cosine


def listed(edit: Edit, text: str) -> Listed | None:
    """Return the list of an edit that a text is on, None where it is on none.

    A text as written in a list comes first, then another spelling of one
    (:mod:`errata.cache.text.spelling`); a spelling of texts on both lists is on none.

    :param edit: any edit.
    :param text: any text.
    """
    found = {which for which, _ in _listings(edit, text)}
    return found.pop() if len(found) == 1 else None


def listed_at(edit: Edit, text: str) -> SourceLocation | None:
    """Return where the list of an edit has a text, None where that is in no file."""
    found = _listings(edit, text)
    if edit.location is None or not found:
        return None
    which, listed_text = found[0]
    tests = edit.tests
    places = [("fires", one) for one in tests.fires] + [("silent", one) for one in tests.silent]
    if (which, listed_text) not in places or len(tests.lines) < len(places):
        return edit.location
    return SourceLocation(edit.location.path, tests.lines[places.index((which, listed_text))])


def nearest_examples(
    query: Query | str, edit: Edit | Hit, encoder: TextEncoder, *, with_scope: bool = False
) -> NearestExamples:
    """Return how near a query is to the examples of an edit.

    :param query: encoded, or a text.
    :param edit: as the cache found it, or as it is.
    :param encoder: encodes what comes without vectors.
    :param with_scope: count a condition as an example of itself.
    """
    text = query if isinstance(query, str) else query.text
    plain = edit.edit if isinstance(edit, Hit) else edit
    if isinstance(edit, Hit) and edit.examples:
        ranked, against = edit.examples, edit.counterexample
    else:
        examples = plain.examples
        scores = _cosines(query, (*examples, *plain.counterexamples), encoder)
        pairs = zip(examples, scores[: len(examples)], strict=True)
        ranked = tuple(sorted(pairs, key=lambda pair: -pair[1]))
        against = max(scores[len(examples) :], default=-1.0)
    if with_scope and plain.scope not in plain.examples:
        condition = (plain.scope, _cosines(query, (plain.scope,), encoder)[0])
        ranked = tuple(sorted((*ranked, condition), key=lambda pair: -pair[1]))
    kept = [pair for pair in ranked if compare(pair[0], text) != "other"]
    return NearestExamples(
        tuple(example for example, _ in kept), tuple(score for _, score in kept), against
    )


def _listings(edit: Edit, text: str) -> list[tuple[Listed, str]]:
    """Return the entries of an edit's lists that a text is: as written, else another spelling."""
    known = _lists(edit).get(rough_key(text), ())
    written = [pair for pair in known if spelling(pair[1]) == spelling(text)]
    return written or [pair for pair in known if compare(pair[1], text) == "same"]


def _cosines(query: Query | str, texts: tuple[str, ...], encoder: TextEncoder) -> list[float]:
    """Return the cosine of the query's best window with each text."""
    if not texts:
        return []
    if isinstance(query, str):
        windows = encoder.encode(encoder.windows(query))
    elif query.vectors.size:
        windows = query.vectors
    else:
        windows = encoder.encode(query.windows)
    # einsum: BLAS rounds differently in batches of different size
    best = np.einsum("wd,nd->nw", windows, encoder.encode(texts)).max(axis=1)
    return [float(score) for score in np.clip(best, -1.0, 1.0)]


@lru_cache(maxsize=32768)
def _lists(edit: Edit) -> Mapping[str, tuple[tuple[Listed, str], ...]]:
    """Return the listed texts of an edit by their rough key."""
    found: dict[str, tuple[tuple[Listed, str], ...]] = {}
    if not isinstance(edit, RegexPatch):
        for which, texts in (("fires", edit.examples), ("silent", edit.counterexamples)):
            for text in texts:
                key = rough_key(text)
                found[key] = (*found.get(key, ()), (which, text))  # type: ignore[arg-type]
    return MappingProxyType(found)
