"""Long steps of training a gate, with their progress shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from errata.cache.encoder import EmbeddingCache
from errata.cache.errors import ModelError
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.examples import Example
from errata.gates.evaluation.base_agreement import BaseAgreement
from errata.gates.evaluation.trials import Trial, run_trial
from errata.gates.features import FeatureMaker, PairFeatures
from errata.training.progress import progress

CHUNK = 1024


def make_features(
    maker: FeatureMaker, examples: Sequence[Example], name: str, *, shown: bool
) -> PairFeatures:
    """Return the features of the examples, made in chunks.

    :param maker: makes them.
    :param examples: at least one.
    :param name: of the examples, as it is shown.
    :param shown: whether progress is shown.
    :raises ModelError: there are no examples.
    """
    if not examples:
        raise ModelError(f"cannot train a gate: no pairs to learn from ({name})")
    parts = []
    with progress(name, len(examples), shown=shown) as update:
        for start in range(0, len(examples), CHUNK):
            chunk = examples[start : start + CHUNK]
            parts.append(maker.make([(example.query, example.scope) for example in chunk]))
            update(start + len(chunk))
    return PairFeatures(
        np.concatenate([part.named for part in parts]),
        np.concatenate([part.query_rest for part in parts]),
        np.concatenate([part.scope_rest for part in parts]),
    )


def run_shown_trial(
    gate: ScopeClassifier,
    embeddings: EmbeddingCache,
    trial: Trial,
    base: BaseAgreement | None = None,
    *,
    shown: bool,
) -> list[Any]:
    """Return the outcomes of a trial; see :func:`errata.gates.evaluation.trials.run_trial`."""
    with progress("picking the threshold", len(trial.queries), shown=shown) as update:
        return run_trial(gate, embeddings, trial, base=base, progress=update)
