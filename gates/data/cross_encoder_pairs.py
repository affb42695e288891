"""Pairs for the cross-encoder, drawn again between validations."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from errata.cache.encoder import Encoder
from errata.facts.table import Split
from errata.gates.cross_encoder import edit_text
from errata.gates.data.conditions import condition_examples
from errata.gates.data.examples import LABELS, Example
from errata.gates.data.pairs import QuestionPair, open_examples, table_examples
from errata.gates.data.questions import QuestionBook
from errata.gates.data.statements import statement_examples
from errata.gates.data.trex import TrexRecords
from errata.gates.features import Scope

SHARES = {"table": 0.56, "conditions": 0.22, "open": 0.09, "mined": 0.13}
"""Shares of what is drawn without labelled pairs."""
STATEMENTS_SHARE = 0.35
"""Share of these that are statements and clozes, where there are any; the rest is as above."""
PAIRS_SHARE = 0.85
"""Share of labelled pairs, where there are any: they are learned slowly, and at this share facts
are not unlearned."""
DUPLICATE_COSINE = 0.92
"""Cosine above which two questions may be paraphrases."""
BLOCK = 4096
MIN_DRAW = 64
"""Pairs drawn at a time at least, so that every kind occurs."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair as the cross-encoder reads it.

    :param edit: the edit's side.
    :param query: the query.
    :param label: place in :data:`errata.gates.data.examples.LABELS`.
    :param kind: its kind, for tables.
    """

    edit: str
    query: str
    label: int
    kind: str


class PairSource:
    """Draws labelled pairs of one split.

    :param split: of the subjects, questions and conditions.
    :param pairs: labelled question pairs of the split; may be empty.
    :param open_questions: open questions of the split; may be empty.
    :param encoder: finds the edits that lie near an open question.
    :param statements: facts in statements and clozes, of the split; None, and there are none.
    :param pairs_share: share of labelled pairs, where there are any.
    """

    def __init__(
        self,
        split: Split,
        pairs: Sequence[QuestionPair],
        open_questions: Sequence[str],
        encoder: Encoder,
        statements: TrexRecords | None = None,
        pairs_share: float = PAIRS_SHARE,
    ) -> None:
        self._split: Split = split
        self._book = QuestionBook(split, held_out=split == "tune")
        self._pairs = list(pairs)
        self._open = list(open_questions)
        self._mined = list(self._mine(encoder)) if self._open else []
        self._near = nearest_questions(self._open, encoder)
        self._statements, self._pairs_share = statements, pairs_share

    @property
    def digest(self) -> str:
        """The SHA-256 of what is drawn from, without the facts table, which is shipped."""
        records = self._statements
        facts = None if records is None else (records.source.facts, dict(records.source.clozes))
        parts = (self._split, self._pairs, self._open, *([] if facts is None else [facts]),
                 *([] if self._pairs_share == PAIRS_SHARE else [self._pairs_share]))  # fmt: skip
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def draw(self, count: int, rng: random.Random) -> list[Pair]:
        """Return about ``count`` pairs of all kinds, shuffled."""
        left = count = max(count, MIN_DRAW)
        found: list[Pair] = []
        if self._pairs:
            for pair in _sample_rounds(self._pairs, int(count * self._pairs_share), rng):
                sides = (pair.a, pair.b) if rng.random() < 0.5 else (pair.b, pair.a)
                found.append(Pair(*sides, int(pair.same), "question pairs"))
            left -= len(found)
        if self._statements is not None:
            stated = statement_examples(self._statements, rng, int(left * STATEMENTS_SHARE))
            found += _to_pairs(stated)
            left -= len(stated)
        found += _to_pairs(table_examples(self._book, rng, int(left * SHARES["table"])))
        conditions = list(condition_examples(self._split, rng))
        rng.shuffle(conditions)
        found += _to_pairs(conditions[: int(left * SHARES["conditions"])], condition=True)
        if len(self._open) > 2:
            examples = self._open_examples(rng, left // 30)
            found += _to_pairs(examples[: int(left * SHARES["open"])])
        if self._mined:
            found += _to_pairs(rng.choices(self._mined, k=int(left * SHARES["mined"])))
        rng.shuffle(found)
        return found

    def _open_examples(self, rng: random.Random, most: int) -> list[Example]:
        """Return open questions against themselves with noise and their neighbours, shuffled.

        :param most: questions at most, without their neighbours.
        """
        some = rng.sample(range(len(self._open)), min(len(self._open), most))
        questions = [self._open[at] for at in some]
        near: list[list[int]] = []
        for one in some:
            near.append([len(questions) + place for place in range(len(self._near[one]))])
            questions += [self._open[at] for at in self._near[one]]
        near += [[]] * (len(questions) - len(some))
        examples = list(open_examples(questions, near, rng))
        rng.shuffle(examples)
        return examples

    def _mine(self, encoder: Encoder) -> Iterator[Example]:
        """Yield open questions against the nearest edits, none of which governs them."""
        items = [item for item in self._book.items if item.answer]
        scopes = [Scope(item.render(item.topic.forms[0]), "", item.answer) for item in items]
        rows = encoder.encode([scope.text for scope in scopes])
        queries = encoder.encode(self._open)
        for question, row in zip(self._open, queries, strict=True):
            for at in np.argsort(-(rows @ row))[:3].tolist():
                if row @ rows[at] < 0.85:  # above that it may be a paraphrase
                    yield Example(question, scopes[at], "none", "open, near an edit")


def _sample_rounds(
    pairs: Sequence[QuestionPair], count: int, rng: random.Random
) -> list[QuestionPair]:
    """Return a sample of pairs, none of them again before all have been drawn."""
    rounds, left = divmod(count, len(pairs))
    return [*pairs] * rounds + rng.sample(pairs, left)


def nearest_questions(questions: Sequence[str], encoder: Encoder) -> list[list[int]]:
    """Return the positions of the two questions nearest to each, at most.

    Near-duplicates are left out, and each question from its own list.
    """
    rows = encoder.encode(questions)
    found: list[list[int]] = []
    for start in range(0, len(rows), BLOCK):  # all at once, 50,000 questions would need 30 GB
        cosines = rows[start : start + BLOCK] @ rows.T
        cosines[cosines > DUPLICATE_COSINE] = -1.0
        for row, nearest in zip(cosines, np.argsort(-cosines, axis=1)[:, :2], strict=True):
            found.append([int(at) for at in nearest if row[at] > -1.0])
    return found


def _to_pairs(examples: Sequence[Example], *, condition: bool = False) -> list[Pair]:
    return [
        Pair(
            edit_text(one.scope, condition),
            one.query, LABELS.index(one.label), one.kind,
        )
        for one in examples
    ]  # fmt: skip
