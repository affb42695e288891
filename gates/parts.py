"""A trained gate without one of its stages."""

from __future__ import annotations

from dataclasses import replace

from errata.cache.errors import ModelError
from errata.gates.network import Network, Platt
from errata.gates.stored import StoredGate

PARTS = ("cross", "bi")


def without_part(stored: StoredGate, part: str) -> StoredGate:
    """Return the gate without a stage; see :meth:`errata.gates.classifier.ScopeClassifier.without`.

    :raises ModelError: there is no such part.
    """
    if part not in PARTS or stored.second is None:
        found = repr(part) if part not in PARTS else f"{part!r} of a gate of one stage"
        raise ModelError(
            f"expected a part of a gate of two stages, {' or '.join(PARTS)}, found {found}; name "
            "another part or another gate"
        )
    if part == "cross":
        return replace(
            stored, second=None, scope_calibration=Platt(), condition_calibration=Platt()
        )
    second = stored.second
    deaf = replace(second, scope=_deaf(second.scope), condition=_deaf(second.condition), band=-1.0)
    return replace(stored, second=deaf)


def _deaf(network: Network) -> Network:
    """Return the weighing of two stages with the first's two inputs at their means throughout."""
    members = []
    for (weights, biases), *rest in network.members:
        quiet = weights.copy()
        quiet[:2] = 0.0
        members.append(((quiet, biases), *rest))
    return Network(network.mean, network.scale, tuple(members))
