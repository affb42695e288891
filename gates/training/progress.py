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
from errata.gates.features import Pair, pair_features
from errata.gates.layers import Array
from errata.training.progress import progress

CHUNK = 1024


def make_features(
    embeddings: EmbeddingCache, examples: Sequence[Example], name: str, *, shown: bool
) -> Array:
    """Return the features of the examples, made in chunks, float64 [n, f].

    :param embeddings: encodes both sides, for their cosine.
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
            queries = embeddings.encode([one.query for one in chunk])
            scopes = embeddings.encode([one.scope.text for one in chunk])
            cosines = np.einsum("nd,nd->n", queries, scopes).tolist()
            parts.append(
                pair_features(
                    [Pair(one.query, one.scope, cosine)
                     for one, cosine in zip(chunk, cosines, strict=True)]
                )
            )  # fmt: skip
            update(start + len(chunk))
    return np.concatenate(parts)


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
