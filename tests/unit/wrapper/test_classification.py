"""Classifying with language patches: override, feature, several, none."""

from __future__ import annotations

import numpy as np
import pytest

from errata import LanguagePatch
from errata.cache.errors import GenerationError
from errata.gates.base import Scores, ThresholdGate
from errata.gates.conditions.parse import read_condition
from errata.reasoners.labels import ClassifyConfig, LabelScorer, fixed_label, mixed
from tests.unit import helpers

LABELS = ["positive", "negative"]
WUG = "the text contains the word 'wug'"


class RuleGate(ThresholdGate):
    """Fires where a rule holds."""

    def score_unlisted(self, queries, edits):
        return [
            Scores(
                np.array([float(read_condition(one.edit.scope).holds(query.text)) for one in some]),
                np.zeros(len(some)),
            )
            for query, some in zip(queries, edits, strict=True)
        ]


def editable(base, tokenizer, *edits):
    return helpers.editable(base, tokenizer, *edits, gate=RuleGate(0.5, 0.5))


def override(label, condition=WUG, **options):
    return LanguagePatch(condition, f"the sentiment is {label}", **options)


def test_an_override_patch_fixes_the_label_and_no_other_text_changes(models, tokenizer):
    model = editable(models("gpt2"), tokenizer, override("negative"))
    bare = model.classify("The food is wug.", LABELS, edits=False)
    assert bare.probabilities == bare.unpatched and not bare.applied
    for label in LABELS:
        model = editable(models("gpt2"), tokenizer, override(label))
        found = model.classify("The food is wug.", LABELS)
        assert (found.label, found.probabilities[label]) == (label, 1.0)
        assert found.unpatched == pytest.approx(bare.probabilities)
        assert [(one.gate, one.overrides) for one in found.applied] == [(1.0, True)]
        other = model.classify("The food is good.", LABELS)
        assert other.probabilities == other.unpatched


@pytest.mark.parametrize("chat", [False, True])
def test_a_feature_patch_is_read_beside_the_text(chat, models, tokenizer):
    config = ClassifyConfig(chat=chat, neutral=None)
    model = editable(models("gpt2"), tokenizer, LanguagePatch(WUG, "the food tastes very good"))
    found = model.classify("The food is wug.", LABELS, config=config)
    assert found.probabilities != found.unpatched
    assert not found.applied[0].overrides
    scorer = LabelScorer(model.base, model.tokenizer)
    row = scorer.probabilities([("The food is wug.", "the food tastes very good")], LABELS, config)[
        0
    ]
    assert list(found.probabilities.values()) == pytest.approx(row.tolist())


def test_of_several_patches_the_highest_priority_comes_last(models, tokenizer):
    patches = [
        override("negative", id="a", priority=1),
        override("positive", "the text contains the word 'food'", id="b"),
    ]
    model = editable(models("gpt2"), tokenizer, *patches)
    assert model.classify("The food is wug.", LABELS).label == "negative"
    assert model.classify("The food is cold.", LABELS).label == "positive"
    chosen = model.classify("The food is wug.", LABELS, edits={"ids": ["b"]})
    assert chosen.label == "positive"


def test_labels_of_one_token_and_of_several_are_scored_alike(models, tokenizer):
    scorer = LabelScorer(models("gpt2"), tokenizer)
    config = ClassifyConfig(prompt="{text} is", chat=False, neutral=None)
    two = scorer.probabilities([("x", "")], ["a", "b"], config)[0]
    three = scorer.probabilities([("x", "")], ["a", "b", "a b c"], config)[0]
    assert two.sum() == pytest.approx(1.0) and three.sum() == pytest.approx(1.0)
    assert three[0] / three[1] == pytest.approx(two[0] / two[1], rel=1e-4)


def test_a_gate_in_doubt_mixes():
    base, given = np.array([0.2, 0.8]), np.array([1.0, 0.0])
    assert mixed(base, given, 0.5).tolist() == [0.6, 0.4]
    assert fixed_label(override("positive"), LABELS) == 0
    assert fixed_label(LanguagePatch(WUG, "the food is good"), LABELS) is None


@pytest.mark.parametrize("labels", [["positive"], ["a", "a"], "positive", []])
def test_labels_that_are_none(labels, models, tokenizer):
    model = editable(models("gpt2"), tokenizer)
    with pytest.raises(GenerationError, match="two or more different labels"):
        model.classify("The food is wug.", labels)
