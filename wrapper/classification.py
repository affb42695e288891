"""Classify texts with language patches in force (Murty et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from errata.cache.errors import GenerationError
from errata.cache.records import LanguagePatch
from errata.cache.rollout import Key
from errata.editing.backends import Backends
from errata.editing.lock import sharing_weights
from errata.gates.base import Decision
from errata.generation.chat import Prompt, read_question
from errata.generation.request import Selection
from errata.output import StopWatch
from errata.pipelines.base import RoutedBatch
from errata.reasoners.labels import (
    ClassifyConfig,
    LabelScorer,
    Probabilities,
    fixed_label,
    mixed,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True)
class AppliedPatch:
    """A language patch that changed the probabilities of labels.

    :param patch: the patch.
    :param gate: the probability that its condition holds of the text.
    :param overrides: its consequence names the label; otherwise the model reads it beside the text.
    """

    patch: LanguagePatch
    gate: float
    overrides: bool


@dataclass(frozen=True, slots=True)
class Classification:
    """The label of a text, and how it came about.

    :param label: the most probable one.
    :param probabilities: of each label, with the patches.
    :param unpatched: the same by the base model alone.
    :param applied: the patches, in the order in which they were applied.
    :param decision: the gate's, with all candidates.
    """

    label: str
    probabilities: Mapping[str, float]
    unpatched: Mapping[str, float]
    applied: tuple[AppliedPatch, ...]
    decision: Decision


class Classifying:
    """The part of :class:`~errata.model.EditableModel` that classifies."""

    base: GenerativeModel
    tokenizer: PreTrainedTokenizerBase
    backends: Backends

    if TYPE_CHECKING:

        def route(
            self, prompts: Sequence[Prompt], edits: Selection, watch: StopWatch, key: Key
        ) -> RoutedBatch:
            """Return the decision about the query of each prompt."""

    def classify(
        self,
        text: str,
        labels: Sequence[str],
        *,
        edits: Selection = True,
        key: Key = None,
        config: ClassifyConfig | None = None,
    ) -> Classification:
        """Return the label of a text, as the base model sees it with the language patches.

        P(y|x) is the likelihood of each label's words after a prompt with the text. A patch that
        fires with probability g makes it g·P(y|x,q) + (1 − g)·P(y|x); where none fires, the
        base model's own stands. Where its
        consequence names a label ("the sentiment is positive"), that label's P(y|x,q) is one;
        else the consequence goes into the prompt, as a note. Of several patches that of the
        highest priority, then the most probable, comes last.

        :param text: the text.
        :param labels: two or more, in words.
        :param edits: as in :meth:`~errata.model.EditableModel.generate`.
        :param key: as in :meth:`~errata.model.EditableModel.generate`.
        :param config: how the model is asked.
        :raises errata.cache.errors.GenerationError: fewer than two labels, or an empty text.
        """
        return self.classify_many([text], labels, edits=edits, key=key, config=config)[0]

    @sharing_weights
    def classify_many(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        edits: Selection = True,
        key: Key = None,
        config: ClassifyConfig | None = None,
    ) -> list[Classification]:
        """Return the labels of several texts, as :meth:`classify`."""
        config = config or ClassifyConfig()
        if isinstance(labels, str) or len(set(labels)) < max(2, len(labels)):
            raise GenerationError(
                f"expected two or more different labels, found {labels!r}; pass a list of texts"
            )
        if not texts:
            return []
        scorer = LabelScorer(self.base, self.tokenizer)
        batch = self.route([read_question(text) for text in texts], edits, StopWatch(), key)
        applied = [_applied(decision, labels) for decision in batch.decisions]
        asked = [(text, "") for text in texts]
        noted = [
            (text, one.patch.consequence)
            for text, several in zip(texts, applied, strict=True)
            for one in several
            if not one.overrides
        ]
        scored = scorer.probabilities([*asked, *noted], labels, config)
        given = iter(scored[len(asked) :])
        found = []
        for base, several, decision in zip(scored, applied, batch.decisions, strict=False):
            patched = base
            for one in several:
                fixed = fixed_label(one.patch, labels) if one.overrides else None
                row = next(given) if fixed is None else np.eye(len(labels))[fixed]
                patched = mixed(patched, row, one.gate)
            label = labels[int(patched.argmax())]
            found.append(
                Classification(
                    label, _named(patched, labels), _named(base, labels), several, decision
                )
            )
        return found


def _applied(decision: Decision, labels: Sequence[str]) -> tuple[AppliedPatch, ...]:
    """Return the language patches that fired on a text, the weightiest last."""
    found = []
    probabilities = {one.edit_id: one.probability for one in decision.candidates}
    for patch in decision.fired:
        if isinstance(patch, LanguagePatch):
            overrides = fixed_label(patch, labels) is not None
            found.append(AppliedPatch(patch, probabilities.get(patch.id, 1.0), overrides))
    return tuple(sorted(found, key=lambda one: (one.patch.priority, one.gate)))


def _named(row: Probabilities, labels: Sequence[str]) -> dict[str, float]:
    return dict(zip(labels, map(float, row), strict=True))
