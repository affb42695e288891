"""Labelled pairs for training gates, and readers of files of further pairs and questions."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from errata.cache.errors import ModelError
from errata.facts.table import Split
from errata.gates.data.augment import in_message, mistyped, noisy
from errata.gates.data.conditions import condition_examples
from errata.gates.data.examples import Example
from errata.gates.data.jsonl import json_lines, only_keys, text_at
from errata.gates.data.questions import Item, Label, LabelledQuery, QuestionBook
from errata.gates.data.splits import TEST_TENTHS, hash_tenth
from errata.gates.features import Scope


@dataclass(frozen=True, slots=True)
class QuestionPair:
    """Two real questions and whether they are paraphrases."""

    a: str
    b: str
    same: bool


def scope_of(item: Item, rng: random.Random, *, subject_share: float = 0.5) -> Scope:
    """Return an edit's side for an item, in one of its trained forms.

    :param subject_share: share of scopes whose subject is given and not left to be guessed.
    """
    draw = rng.random()
    forms = item.topic.forms
    # the plainest forms come first, and most edits are written in them
    template = forms[0] if draw < 0.5 else rng.choice(forms[:6] if draw < 0.8 else forms)
    subject = item.subject if rng.random() < subject_share and item.subject != "you" else ""
    answer = item.answer if rng.random() < 0.85 else ""
    return Scope(item.render(template, other="another"), subject, answer)


def table_examples(book: QuestionBook, rng: random.Random, most: int) -> list[Example]:
    """Return pairs of the facts table and of the extra relations.

    Relations take turns, so that those with few subjects are learned as well as the others; the
    table's come three times as often as the extra ones.

    :param most: pairs at most.
    """
    turns = sorted(book.by_topic.items()) * 3
    turns = [(key, items) for at, (key, items) in enumerate(turns)
             if items[0].topic.base is not None or at < len(book.by_topic)]  # fmt: skip
    found: list[Example] = []
    while turns and len(found) < most:
        rng.shuffle(turns)
        for _, items in turns:
            found += _item_examples(book, rng.choice(items), rng)
            if len(found) >= most:
                break
    return found[:most]


def _item_examples(book: QuestionBook, item: Item, rng: random.Random) -> Iterator[Example]:
    if any("{t}" in form for form in item.topic.forms):
        yield from _ordered_examples(book, item, rng)
        return
    far = rng.choice(book.items)
    far_question = far.render(rng.choice(far.topic.forms), other="another")
    easy = [LabelledQuery(far_question, "none", "unrelated")] if far.subject != item.subject else []
    for one in (
        *book.paraphrases(item, rng),
        *book.entailed(item, rng),
        *book.neighbours(item, rng),
    ):
        text = one.text
        if one.kind in ("paraphrase", "other relation", "other subject", "yes or no"):
            text = noisy(text, rng)
        yield Example(text, scope_of(item, rng), one.label, one.kind, item.topic.name)
    for one in easy:
        yield Example(one.text, scope_of(item, rng), "none", one.kind, item.topic.name)


def _ordered_examples(book: QuestionBook, item: Item, rng: random.Random) -> Iterator[Example]:
    """Yield pairs of a relation between two things, where their order matters."""
    others = [o.subject for o in book.by_topic[item.kind, item.topic.name]]
    others = [name for name in others if name != item.subject]
    if len(others) < 2:
        return
    second, third = rng.sample(others, 2)
    forms = item.topic.forms
    scope = Scope(item.render(forms[0], other=second))
    for form in forms:
        yield Example(
            noisy(item.render(form, other=second), rng), scope, "paraphrase", "two things"
        )
    if item.topic.name != "distance":
        swapped = item.render(rng.choice(forms), second, item.subject)
        yield Example(swapped, scope, "none", "turned round")
    yield Example(item.render(rng.choice(forms), other=third), scope, "none", "other subject")
    yield Example(item.render(rng.choice(forms), third, second), scope, "none", "other subject")


def open_examples(
    questions: Sequence[str], neighbours: Sequence[Sequence[int]], rng: random.Random
) -> Iterator[Example]:
    """Yield pairs of open questions: each against itself with noise, and against its neighbours.

    :param neighbours: for each question, the positions of those nearest to it, never itself.
    """
    for position, question in enumerate(questions):
        scope = Scope(question)
        yield Example(in_message(question, rng), scope, "paraphrase", "open, in a message")
        yield Example(mistyped(question, rng), scope, "paraphrase", "open, mistyped")
        for near in neighbours[position][:2]:
            yield Example(noisy(questions[near], rng), scope, "none", "open, near")


def pair_examples(pairs: Iterable[QuestionPair]) -> Iterator[Example]:
    """Yield examples of labelled question pairs, each both ways."""
    for pair in pairs:
        label: Label = "paraphrase" if pair.same else "none"
        yield Example(pair.a, Scope(pair.b), label, "question pairs")
        yield Example(pair.b, Scope(pair.a), label, "question pairs")


def read_pairs(path: str | Path) -> list[QuestionPair]:
    """Read labelled question pairs, JSON lines ``{"a", "b", "same"}``, gzipped or not.

    :raises ModelError: a line is malformed, a text empty, a label missing, or all labels the
        same; names the file and line.
    """
    found = []
    for where, row in json_lines(path):
        only_keys(where, row, ("a", "b", "same"))
        if row["same"] not in (0, 1):
            raise ModelError(
                f"{where}: expected same to be 0 or 1, found {row['same']!r}; label the pair, or "
                "delete the line"
            )
        texts = text_at(where, row, "a"), text_at(where, row, "b")
        found.append(QuestionPair(*texts, bool(row["same"])))
    if len({pair.same for pair in found}) < 2:
        raise ModelError(
            f"{path}: expected pairs that are the same and pairs that are not, found only one sort "
            f"among {len(found)}; add pairs of the other sort"
        )
    return found


def read_open_questions(path: str | Path) -> list[str]:
    """Read open questions, JSON lines with a key ``question``, gzipped or not.

    :raises ModelError: a line has no question, or there is no line; names the file and line.
    """
    found = [text_at(where, row, "question") for where, row in json_lines(path)]
    if not found:
        raise ModelError(f"{path}: expected JSON lines with a question each, found none")
    return found


def open_split(question: str) -> Split:
    """Return the split of an open question: tenths 0 to 4 test, 5 tune, the rest train."""
    tenth = hash_tenth(question)
    return "test" if tenth < TEST_TENTHS else "tune" if tenth == 5 else "train"


def split_pairs(pairs: Sequence[QuestionPair]) -> dict[Split, list[QuestionPair]]:
    """Return the pairs by split: all of one connected component of questions on one side.

    The tenth of a component is that of its smallest question; 0 is test, 1 tune.
    """
    parent: dict[str, str] = {}

    def root(text: str) -> str:
        parent.setdefault(text, text)
        while parent[text] != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for pair in pairs:
        one, other = sorted((root(pair.a), root(pair.b)))
        parent[other] = one  # the smaller stays the root, so that the root names the component
    found: dict[Split, list[QuestionPair]] = defaultdict(list)
    names: dict[int, Split] = {0: "test", 1: "tune"}
    for pair in pairs:
        found[names.get(hash_tenth(root(pair.a)), "train")].append(pair)
    return found


__all__ = [
    "Example",
    "QuestionPair",
    "condition_examples",
    "open_examples",
    "open_split",
    "pair_examples",
    "read_open_questions",
    "read_pairs",
    "scope_of",
    "split_pairs",
    "table_examples",
]
