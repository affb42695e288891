"""A trained gate without one of its stages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from errata.cache.errors import ModelError
from errata.gates.artifact import GateArtifact
from errata.gates.features import NAMES
from errata.gates.layers import Network, Platt

PARTS = ("cross", "bi", "words")


def without_part(stored: GateArtifact, part: str) -> GateArtifact:
    """Return a trained gate without one of its stages, to measure what the stage is worth.

    What is left is not trained again: its ranking is that of the remaining part, its probabilities
    are no longer calibrated.

    :param stored: a gate of two stages.
    :param part: ``cross``, the first stage alone; ``bi``, the second alone, its weighing blind to
        the first; ``words``, both, the first without its named features.
    :raises ModelError: there is no such part.
    """
    if part not in PARTS or stored.second is None:
        found = repr(part) if part not in PARTS else f"{part!r} of a gate of one stage"
        raise ModelError(
            f"expected a part of a gate of two stages, {' or '.join(PARTS)}, found {found}; name "
            "another part or another gate"
        )
    second = stored.second
    # scores of the whole gate, by which no threshold of a part of it is picked
    card = {key: value for key, value in stored.card.items() if key != "negative_scores"}
    stored = replace(stored, card=card)
    if part == "words":
        return _wordless(stored)
    if part == "cross":
        return replace(
            stored, second=None, scope_calibration=Platt(), condition_calibration=Platt()
        )
    deaf = replace(
        second, scope=_deaf(second.scope), condition=_deaf(second.condition), rerank_threshold=-1.0
    )
    return replace(stored, second=deaf)


def _wordless(stored: GateArtifact) -> GateArtifact:
    """Return the gate whose first stage has the named features at their means throughout.

    What is left to it is how near the rests of the two sides are.
    """
    mean = stored.scope.mean[: len(NAMES)]
    scale = np.concatenate([np.full(len(NAMES), np.inf), stored.scope.scale[len(NAMES) :]])
    trees = stored.trees
    named = (trees.column >= 0) & (trees.column < len(NAMES))
    goes_left = mean[np.where(named, trees.column, 0)] <= trees.limit
    limit = np.where(named, np.where(goes_left, np.inf, -np.inf), trees.limit)
    return replace(
        stored, scope=replace(stored.scope, scale=scale), trees=replace(trees, limit=limit)
    )


def _deaf(network: Network) -> Network:
    """Return the weighing of two stages with the first's two inputs at their means throughout."""
    members = []
    for (weights, biases), *rest in network.members:
        quiet = weights.copy()
        quiet[:2] = 0.0
        members.append(((quiet, biases), *rest))
    return Network(network.mean, network.scale, tuple(members))
