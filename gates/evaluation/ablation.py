"""A trained gate without one of its stages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from errata.cache.errors import ModelError
from errata.gates.artifact import GateArtifact
from errata.gates.features import NAMES
from errata.gates.layers import Network, Platt

PARTS = ("cross", "bi", "words")


def without_part(artifact: GateArtifact, part: str) -> GateArtifact:
    """Return a trained gate without one of its stages, for an ablation.

    The rest is not trained again: its ranking is that of the remaining part, its probabilities are
    no longer calibrated.

    :param artifact: a gate of two stages.
    :param part: ``cross`` leaves the first stage; ``bi`` the second, combined with a constant
        first; ``words`` both, the first without its named features.
    :raises ModelError: there is no such part.
    """
    if part not in PARTS or artifact.second is None:
        found = repr(part) if part not in PARTS else f"{part!r} of a gate of one stage"
        raise ModelError(
            f"expected a part of a gate of two stages, {' or '.join(PARTS)}, found {found}; name "
            "another part or another gate"
        )
    second = artifact.second
    # these scores are of the whole gate; no threshold of a part may be picked by them
    card = {key: value for key, value in artifact.card.items() if key != "negative_scores"}
    artifact = replace(artifact, card=card)
    if part == "words":
        return _without_named_features(artifact)
    if part == "cross":
        return replace(
            artifact, second=None, scope_calibration=Platt(), condition_calibration=Platt()
        )
    only_second = replace(
        second,
        scope=_without_first_stage(second.scope),
        condition=_without_first_stage(second.condition),
        rerank_threshold=-1.0,
    )
    return replace(artifact, second=only_second)


def _without_named_features(artifact: GateArtifact) -> GateArtifact:
    """Return the gate with the named features of its first stage fixed at their means."""
    mean = artifact.scope.mean[: len(NAMES)]
    scale = np.concatenate([np.full(len(NAMES), np.inf), artifact.scope.scale[len(NAMES) :]])
    trees = artifact.trees
    named = (trees.column >= 0) & (trees.column < len(NAMES))
    goes_left = mean[np.where(named, trees.column, 0)] <= trees.limit
    limit = np.where(named, np.where(goes_left, np.inf, -np.inf), trees.limit)
    return replace(
        artifact, scope=replace(artifact.scope, scale=scale), trees=replace(trees, limit=limit)
    )


def _without_first_stage(network: Network) -> Network:
    """Return the combination of two stages with the first's two inputs fixed at their means."""
    members = []
    for (weights, biases), *rest in network.members:
        masked = weights.copy()
        masked[:2] = 0.0
        members.append(((masked, biases), *rest))
    return Network(network.mean, network.scale, tuple(members))
