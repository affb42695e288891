"""Examples made of what people ask: which edits govern it, and which do not."""

from __future__ import annotations

import random

import numpy as np

from errata.cache.records import Fact
from errata.facts import FactSource
from errata.reasoners.abstention import AbstentionPenalties
from errata.reasoners.data.examples import (
    EDIT_QUESTION,
    LOCALITY,
    REAL_LOCALITY,
    REAL_PARAPHRASE,
    ReasonerExample,
)
from errata.reasoners.data.groups import GroupGenerator
from errata.reasoners.data.questions import Questions, questions_of
from errata.reasoners.data.texts import RealTexts
from errata.reasoners.training import thresholds


def test_questions_that_pairs_connect_are_of_one_split():
    pairs = [(f"What is thing {i}?", f"Which thing is {i}?", True) for i in range(200)]
    pairs += [(f"Which thing is {i}?", f"Why is thing {i}?", False) for i in range(200)]
    found = {split: questions_of(pairs, split) for split in ("train", "tune", "test")}
    shown = {split: {*one.same, *one.different} for split, one in found.items()}
    assert sum(map(len, shown.values())) == 600 and all(shown.values())
    for one in found.values():
        assert all(text in one.different for text in one.same if text.startswith("Which"))


def test_related_questions_share_the_rarest_word_and_ask_something_else():
    pairs = [
        ("Who was Hume?", "What man was Hume?", True), ("What man was Hume?", "Hume?", True),
        ("What did Hume write?", "What did Kant write?", False), ("What was it?", "It?", False),
        ("Why was that?", "That?", False),
    ]  # fmt: skip
    questions = Questions.of(pairs)
    assert questions.related("Who was Hume?") == ["What did Hume write?"]
    assert questions.related("Kant") == ["What did Kant write?"]
    assert questions.related("Xyzzy") == []


def test_what_people_ask_is_governed_by_some_edits_and_not_by_others():
    pairs = [(f"What is thing {i}?", f"Which thing is {i}?", True) for i in range(200)]
    pairs += [(f"Which thing is {i}?", f"Why is thing {i}?", False) for i in range(200)]
    generator = GroupGenerator(FactSource.load(), "train", random.Random(2), RealTexts(pairs))
    asked = [one for _ in range(300) for one in generator.group()]
    real = [one for one in asked if one.kind in (REAL_PARAPHRASE, REAL_LOCALITY)]
    assert {one.answer is None for one in real} == {True, False}
    for one in real:
        assert (one.answer is None) == (one.kind == REAL_LOCALITY)
        assert one.query != one.edits[0].scope
    assert {"cloze", "alias"} <= {one.kind for one in asked if one.answer}


def test_the_decision_is_fitted_to_the_kinds_that_an_edit_governs_and_those_it_does_not(
    monkeypatch,
):
    edits = (Fact("Who wrote Faust?", "Goethe"),)
    examples = [ReasonerExample(EDIT_QUESTION, edits, f"own {i}?", "Goethe") for i in range(8)]
    examples += [ReasonerExample(LOCALITY, edits, f"other {i}?", None) for i in range(2)]
    margins = np.array([-6.0] * 7 + [3.0, 4.0, 1.0])
    monkeypatch.setattr(thresholds, "_margins", lambda *_: margins)
    fitted = thresholds.fit_decision_penalty(examples, AbstentionPenalties, 2)
    assert -6.0 < fitted.default < 1.0
    assert not fitted.depends_on_base
    # the other way about the kinds that are governed decide
    margins[:8], margins[8:] = 2.0, (1.0, 5.0)
    assert 2.0 <= thresholds.fit_decision_penalty(examples, AbstentionPenalties, 2).default < 5.0
