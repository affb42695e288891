"""A gate for every language: pairs in English go to a trained gate, all others to a reader."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from errata.cache.encoder import EmbeddingCache
from errata.cache.errors import ModelError
from errata.cache.records import Edit, Fact, Hit, LanguagePatch, Query, RegexPatch, Vector
from errata.cache.text.language import is_english
from errata.cache.text.normalize import compare
from errata.gates.base import Scores, ThresholdGate
from errata.gates.classifier import ScopeClassifier
from errata.gates.conditions.parse import read_condition
from errata.gates.examples import moved
from errata.gates.layers import Array
from errata.gates.reader import Reader, TextPair

_SENTENCES = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])\s*|\n+")


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """Settings of the routed gate that are not trained.

    :param max_segments: segments of a query that are compared: it and its sentences, as in the
        gate for English.
    :param read_pairs: pairs of a segment and an example that are read for each edit, the nearest
        by cosine; the likeliest decides.
    """

    max_segments: int = 12
    read_pairs: int = 3


class RoutedGate(ThresholdGate):
    """Sends each pair of a query and an edit to the gate that reads its languages.

    Where query and question (or condition) are in English, the gate for English decides, as it does
    without this one. All other pairs are scored by a reader over a multilingual encoder; rules
    (:mod:`errata.gates.conditions`) hold in any language.

    :param english: the gate for English.
    :param reader: reads pairs in any languages.
    :param encoder: the multilingual encoder that the reader was trained with.
    :param config: settings that are not trained.
    :raises ModelError: the reader was trained with another encoder.
    """

    def __init__(
        self,
        english: ScopeClassifier,
        reader: Reader,
        encoder: EmbeddingCache,
        config: RoutingConfig | None = None,
    ) -> None:
        if encoder.fingerprint != reader.encoder:
            raise ModelError(
                f"this gate's reader was trained with the multilingual encoder {reader.encoder}, "
                f"found {encoder.fingerprint}; use that one, or train a reader for this one: "
                "`errata gate train-reader --out DIR`"
            )
        super().__init__(english.threshold, english.artifact.near)
        self.english, self.reader, self.encoder = english, reader, encoder
        self.agreement_threshold = english.agreement_threshold
        self.artifact, self.config = english.artifact, config or RoutingConfig()

    def score_unlisted(
        self, queries: Sequence[Query | str], edits: Sequence[Sequence[Edit | Hit]]
    ) -> list[Scores]:
        """Return calibrated probabilities of each query against its edits."""
        texts = [query if isinstance(query, str) else query.text for query in queries]
        plain = [[one.edit if isinstance(one, Hit) else one for one in some] for some in edits]
        across = [
            [at for at, edit in enumerate(some) if _across(text, edit)]
            for text, some in zip(texts, plain, strict=True)
        ]
        rest = [
            [some[at] for at in range(len(some)) if at not in places]
            for some, places in zip(edits, map(set, across), strict=True)
        ]
        read = iter(self._read([
            (text, some[at])
            for text, some, places in zip(texts, plain, across, strict=True)
            for at in places
        ]))  # fmt: skip
        scores = []
        for one, places, some in zip(
            self.english.score_unlisted(queries, rest), across, edits, strict=True
        ):
            if not places:
                scores.append(one)
                continue
            kept = [at for at in range(len(some)) if at not in set(places)]
            both = Scores(np.zeros(len(some)), np.zeros(len(some)))
            both.probability[kept], both.entailed[kept] = one.probability, one.entailed
            both.probability[places] = [next(read) for _ in places]
            scores.append(both)
        return scores

    def threshold_of(self, edit: Edit) -> float:
        """Return the probability from which an edit fires."""
        return self.english.threshold_of(edit)

    def _read(self, asked: Sequence[tuple[str, Edit]]) -> list[float]:
        """Return for each query and edit the reader's probability, on the gate's scale."""
        if not asked:  # loads no encoder
            return []
        sides = [(self._segments(text), *_sides(edit)) for text, edit in asked]
        every = list(dict.fromkeys(text for side in sides for some in side for text in some))
        rows = dict(zip(every, self.encoder.encode(every), strict=True))
        pairs: list[TextPair] = []
        places: list[slice] = []
        for (text, edit), (segments, examples, against) in zip(asked, sides, strict=True):
            near = self._nearest(text, edit, segments, examples, against, rows)
            places.append(slice(len(pairs), len(pairs) + len(near)))
            pairs += near
        vectors = [
            np.stack([rows[text] for text in side]) if side else np.zeros((0, 1), np.float32)
            for side in ([one.query for one in pairs], [one.text for one in pairs])
        ]
        probability: Array = self.reader(pairs, *vectors)
        scale = [self.english.default_threshold(edit) for _, edit in asked]
        return [
            moved(float(probability[where].max()), self.reader.threshold, threshold)
            if where.stop > where.start
            else 0.0
            for where, threshold in zip(places, scale, strict=True)
        ]

    def _nearest(
        self,
        text: str,
        edit: Edit,
        segments: Sequence[str],
        examples: Sequence[str],
        against: Sequence[str],
        rows: Mapping[str, Vector],
    ) -> list[TextPair]:
        """Return the nearest pairs of a segment and an example; none nearer a counterexample."""
        kept = [one for one in examples if compare(one, text) != "other"]
        if not kept:
            return []
        asked = np.stack([rows[one] for one in segments])
        cosines = np.einsum("sd,nd->sn", asked, np.stack([rows[one] for one in kept]))
        if against:
            others = np.einsum("sd,nd->sn", asked, np.stack([rows[one] for one in against]))
            if others.max() > cosines.max():
                return []
        subject = (edit.subject or "") if isinstance(edit, Fact) else ""
        order = np.argsort(-cosines, axis=None, kind="stable")[: self.config.read_pairs].tolist()
        return [TextPair(segments[at // len(kept)], kept[at % len(kept)], subject) for at in order]

    def _segments(self, text: str) -> tuple[str, ...]:
        """Return the segments of a query: its windows, and their sentences."""
        windows = self.encoder.windows(text)
        found = dict.fromkeys(windows)
        for window in windows:
            found |= dict.fromkeys(filter(None, map(str.strip, _SENTENCES.split(window))))
        return tuple(found)[: self.config.max_segments]


def _across(text: str, edit: Edit) -> bool:
    """Return whether a query and an edit are not both in English, and no rule decides on them."""
    if isinstance(edit, RegexPatch) or (is_english(text) and is_english(edit.scope)):
        return False
    return not (isinstance(edit, LanguagePatch) and read_condition(edit.condition).certain)


def _sides(edit: Edit) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the texts that fire an edit, and its counterexamples."""
    own = read_condition(edit.condition).text if isinstance(edit, LanguagePatch) else edit.scope
    return tuple(dict.fromkeys((own, *edit.examples))), edit.counterexamples
