"""Attributes of version 0.1 are still there, under a warning."""

from __future__ import annotations

import numpy as np
import pytest

from errata import Fact
from errata.gates.base import Candidate, Decision, Scores

EDITS = (Fact("Where does pizza come from?", "Benin"), Fact("Who leads Benin?", "Ada"))
DECISION = Decision("q", (), EDITS, "verbatim", canonical_query="c", sub_question="s", hops=1)
CANDIDATE = Candidate("id", "fact", "q", 0.5, 0.9, "paraphrase", None, 0.3, True)


@pytest.mark.parametrize(
    ("record", "old", "new", "value"),
    [
        (DECISION, "renamed", "canonical_query", "c"),
        (DECISION, "further", "sub_question", "s"),
        (DECISION, "steps", "hops", 1),
        (DECISION, "asked", "effective_query", "s"),
        (DECISION, "in_force", "remaining_edits", EDITS[1:]),
        (CANDIDATE, "agreeing", "agreement_threshold", 0.3),
        (CANDIDATE, "agreed", "base_agreed", True),
    ],
)
def test_an_old_name_warns_and_says_the_new_one(record, old, new, value):
    with pytest.warns(DeprecationWarning, match=rf"\.{old}' is .*\.{new}' since version 0\.2"):
        assert getattr(record, old) == value
    assert getattr(record, new) == value


def test_scores_too():
    scores = Scores(np.ones(2), np.zeros(2))
    with pytest.warns(DeprecationWarning, match=r"Scores\.entailed"):
        assert scores.follows is scores.entailed
