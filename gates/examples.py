"""An edit's examples: those listed decide, and the nearest ones count beside a trained score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from errata.cache.encoder import TextEncoder
from errata.cache.records import (
    Edit,
    Fact,
    Hit,
    LanguagePatch,
    Listed,
    Query,
    RegexPatch,
    SourceLocation,
)
from errata.cache.text.normalize import compare, rough_key, spelling
from errata.gates.layers import odds_of, probability_of
from errata.gates.wording import Wording

SLOPES = (
    "offset", "trained", "familiar", "cosine", "repeated", "more", "steeper", "factual",
    "factual_steeper", "factual_more", "high", "high_overlap", "factual_trained",
    "factual_repeated", "negation",
)  # fmt: skip
"""The fitted coefficients of :class:`ExampleConfig`, in the order of their inputs."""


@dataclass(frozen=True, slots=True)
class NearestExamples:
    """How near a query is to what is listed for an edit.

    :param texts: the edit's examples, nearest first, without those that differ from the query only
        in what an encoder may not see (5 mW and 5 MW).
    :param cosines: their cosines.
    :param counterexample: cosine of the nearest counterexample; -1 without any.
    :param number: how many of the texts teach: the question with an alias in it adds nothing.
    """

    texts: tuple[str, ...]
    cosines: tuple[float, ...]
    counterexample: float
    number: int

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
    (:func:`errata.cache.text.normalize.compare`); a spelling of texts on both lists is on none.

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
    tests = edit.tests
    places = [("fires", one) for one in tests.fires] + [("silent", one) for one in tests.silent]
    if found[0] not in places or len(tests.lines) < len(places):
        return edit.location
    return SourceLocation(edit.location.path, tests.lines[places.index(found[0])])


def listed_or_near(query: Query, hit: Hit) -> tuple[Listed | None, bool]:
    """Return the list a query is on; if none, whether it is nearest to a counterexample.

    :param query: any query.
    :param hit: the edit, as the cache found it for the query.
    """
    on_list = listed(hit.edit, query.text)
    if on_list is not None or not hit.examples:
        return on_list, False
    cosines = [score for text, score in hit.examples if compare(text, query.text) != "other"]
    if isinstance(hit.edit, LanguagePatch):  # the condition is an example of itself
        cosines.append(hit.score)
    return None, hit.counterexample > max(cosines, default=-1.0)


def nearest_examples(
    query: Query | str, edit: Edit | Hit, encoder: TextEncoder, *, also: str = ""
) -> NearestExamples:
    """Return how near a query is to the examples of an edit.

    :param query: encoded, or a text.
    :param edit: as the cache found it, or as it is.
    :param encoder: encodes what comes without vectors.
    :param also: a text that counts as an example, such as a condition; none where empty.
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
    if also and also not in plain.examples:
        more = (also, _cosines(query, (also,), encoder)[0])
        ranked = tuple(sorted((*ranked, more), key=lambda pair: -pair[1]))
    kept = [pair for pair in ranked if compare(pair[0], text) != "other"]
    texts, cosines = tuple(pair[0] for pair in kept), tuple(pair[1] for pair in kept)
    renamed = plain.renamed if isinstance(plain, Fact) else ()
    number = max(sum(example not in renamed for example in texts), min(1, len(texts)))
    return NearestExamples(texts, cosines, against, number)


def moved(probability: float, threshold: float, to: float) -> float:
    """Return a probability with its log-odds moved so that a threshold comes to another one.

    :param probability: 0 to 1.
    :param threshold: what it is compared with.
    :param to: what the result is compared with.
    """
    odds, old, new = (
        math.log(p / (1 - p)) for p in (min(1 - 1e-9, max(1e-9, one))
                                        for one in (probability, threshold, to))
    )  # fmt: skip
    return 1.0 / (1.0 + math.exp(-(odds - old + new)))


@dataclass(frozen=True, slots=True)
class ExampleConfig:
    """How the trained score and the nearest examples are combined.

    ``errata gate fit-examples`` fits the coefficients; the fields that have a default are chosen,
    with these reasons.

    :param offset: of the log-odds.
    :param trained: slope of the trained log-odds, times their share.
    :param familiar: slope of that share.
    :param cosine: slope of the cosine of the nearest example.
    :param repeated: slope of the nearness of a repetition.
    :param more: slope of ln n of n examples.
    :param steeper: what the slope of the cosine gains by ln n.
    :param factual: slope of how much the query asks for a fact about a named thing, not for help;
        this and what follows counts where the edit's question is not familiar.
    :param factual_steeper: what the slope of the cosine gains there. The name alone brings other
        statements about the same thing as near as 0.8, where requests in other words are at 0.5.
    :param factual_more: what the slope of ln n gains there.
    :param factual_trained: slope of the trained log-odds there; unless it is 0, the networks read
        whatever a query for a fact is held against. It is the query's sort that counts and not the
        edit's, which would rank the edits of a FAQ about one subject by their wording.
    :param factual_repeated: what the slope of the nearness of a repetition gains there.
    :param high: what the slope of the cosine gains from ``high_from``.
    :param high_overlap: the same, times the overlap of words.
    :param negation: where only one of the texts has a negation, times the overlap of words: in
        other words "it does not work" and "it is broken" are the same.
    :param familiar_from: familiarity from which the trained score counts at all.
    :param familiar_to: familiarity from which it counts in full. The ramp leaves out what the
        networks were not trained on (customers' requests are at 0.06, statements at 0.3) and takes
        in questions about other subjects (0.95).
    :param near_from: nearness, -ln(1.03 - cosine), from which a repetition counts in spite of the
        trained score: cosine 0.895. Questions about another relation or subject stay below.
    :param factual_from: probability of a fact from which a query counts as asking for one at all.
    :param factual_to: probability from which it counts as asking for one in full.
    :param high_from: cosine from which shared words count.
    :param most_examples: examples from which more do not count, as in what this was fitted on.
    :param logit_clip: limit of the trained log-odds, either way.
    """

    offset: float
    trained: float
    familiar: float
    cosine: float
    repeated: float
    more: float
    steeper: float
    factual: float = 0.0
    factual_steeper: float = 0.0
    factual_more: float = 0.0
    high: float = 0.0
    high_overlap: float = 0.0
    factual_trained: float = 0.0
    factual_repeated: float = 0.0
    negation: float = 0.0
    familiar_from: float = 0.6
    familiar_to: float = 0.75
    near_from: float = 2.0
    factual_from: float = 0.2
    factual_to: float = 0.8
    high_from: float = 0.75
    most_examples: int = 3
    logit_clip: float = 8.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a query and an edit.

    :param share: the trained score's share.
    :param trained: the trained probability, where it counts.
    :param cosine: of the nearest example.
    :param examples: how many there are.
    :param factual: how much the query asks for a fact about a named thing; of the query, so that it
        does not decide which edit is the nearest.
    :param wording: how the words of the query and the nearest example differ.
    """

    share: float
    trained: float
    cosine: float
    examples: int
    factual: float = 0.0
    wording: Wording = field(default_factory=Wording)


@dataclass(frozen=True, slots=True, eq=False)
class ExampleCalibration:
    """The probability that an edit governs a query, from the trained score and its examples.

    A logistic regression on the cosine of the nearest example, the number of examples, the sort of
    query, how the texts' words differ, and the trained score. That counts by how familiar the
    edit's question is, from nothing to in full (stacking with features: Sill et al. 2009,
    arXiv:0911.0460), and of a query for a fact, where that is fitted: elsewhere it is no better
    than chance, and is not computed.

    :param weights: of an encoding in the log-odds of familiarity and of a fact, float [2, d].
    :param offsets: of these log-odds, [2].
    :param config: the coefficients.
    """

    weights: NDArray[np.float32]
    offsets: tuple[float, float]
    config: ExampleConfig

    def share(self, vector: NDArray[np.float32]) -> float:
        """Return the trained score's share, 0 to 1.

        :param vector: encoding of the edit's question, float32 [d].
        """
        return self._ramp(0, vector, self.config.familiar_from, self.config.familiar_to)

    def reads(self, share: float, factual: float) -> bool:
        """Return whether the trained score counts, and the networks have to read the pair.

        :param share: of the trained score.
        :param factual: how much the query asks for a fact.
        """
        return bool(share or (factual and self.config.factual_trained))

    def factual(self, vector: NDArray[np.float32]) -> float:
        """Return how much a query asks for a fact about a named thing, 0 to 1.

        :param vector: encoding of the query, float32 [d].
        """
        return self._ramp(1, vector, self.config.factual_from, self.config.factual_to)

    def _ramp(self, row: int, vector: NDArray[np.float32], start: float, end: float) -> float:
        odds = float(vector @ self.weights[row]) + self.offsets[row]
        probability = probability_of(odds)
        return min(1.0, max(0.0, (probability - start) / (end - start)))

    def probability(self, evidence: Evidence) -> float:
        """Return the probability that the edit governs."""
        slopes = [getattr(self.config, name) for name in SLOPES]
        return probability_of(float(np.dot(slopes, self.inputs(evidence))))

    def inputs(self, evidence: Evidence) -> tuple[float, ...]:
        """Return what the coefficients are multiplied with, in their order."""
        config, share, cosine = self.config, evidence.share, evidence.cosine
        odds = odds_of(evidence.trained, config.logit_clip)
        nearness = max(0.0, -math.log(1.03 - min(1.0, cosine)) - config.near_from)
        number = (
            math.log(min(evidence.examples, config.most_examples)) if evidence.examples else 0.0
        )
        high, fact = max(0.0, cosine - config.high_from), evidence.factual
        wording = evidence.wording
        unread = (fact, fact * cosine, fact * number, high, high * wording.overlap,
                  fact * odds, fact * nearness, wording.negation * wording.overlap)  # fmt: skip
        return (1.0, share * odds, share, cosine, nearness, number, cosine * number,
                *((1.0 - share) * one for one in unread))  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Return the card's entry; the weights are stored with the gate's arrays."""
        familiarity, factual = self.offsets
        return {"familiarity_offset": familiarity, "factual_offset": factual,
                **asdict(self.config)}  # fmt: skip

    @classmethod
    def of_card(cls, entry: Mapping[str, Any], weights: NDArray[np.float32]) -> ExampleCalibration:
        """Return what :meth:`as_json` gave.

        :param weights: [2, d], or, of a gate fitted before there were two, [d].
        :raises KeyError, TypeError, ValueError: the entry is malformed.
        """
        names = [one.name for one in fields(ExampleConfig)]
        settings = {name: float(entry[name]) for name in names if name in entry}
        settings["most_examples"] = int(entry["most_examples"])
        rows = np.atleast_2d(np.asarray(weights, np.float32))
        rows = np.concatenate([rows, np.zeros((2 - len(rows), rows.shape[1]), np.float32)])
        offsets = float(entry["familiarity_offset"]), float(entry.get("factual_offset", -50.0))
        return cls(rows, offsets, ExampleConfig(**settings))  # type: ignore[arg-type]


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


_LISTS: WeakKeyDictionary[Edit, Mapping[str, tuple[tuple[Listed, str], ...]]] = WeakKeyDictionary()
"""By edit, for as long as it lives."""


def _lists(edit: Edit) -> Mapping[str, tuple[tuple[Listed, str], ...]]:
    """Return the listed texts of an edit by their rough key."""
    known = _LISTS.get(edit)
    if known is not None:
        return known
    found: dict[str, tuple[tuple[Listed, str], ...]] = {}
    if not isinstance(edit, RegexPatch):
        for which, texts in (("fires", edit.examples), ("silent", edit.counterexamples)):
            for text in texts:
                key = rough_key(text)
                found[key] = (*found.get(key, ()), (which, text))  # type: ignore[arg-type]
    return _LISTS.setdefault(edit, MappingProxyType(found))
