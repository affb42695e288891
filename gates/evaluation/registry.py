"""Gates by name, for evaluations, whole and without parts."""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

from errata.cache.encoder import Encoder
from errata.cache.errors import ModelError
from errata.gates.base import Gate
from errata.gates.classifier import ScopeClassifier
from errata.gates.cosine import CosineGate
from errata.gates.evaluation import ablation
from errata.gates.load import load_gate

COSINE = 0.9


@runtime_checkable
class GateWithParts(Protocol):
    """A gate of several parts that can be switched off."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts that can be switched off."""

    def without(self, part: str) -> Gate:
        """Return the same gate with a part switched off; the gate itself stays as it is."""


def measured_gate(name: str, encoder: Encoder) -> Gate:
    """Return a gate by name or folder; ``cosine`` is the control, a threshold on the cosine.

    :raises ModelError: there is no such gate.
    """
    return CosineGate(encoder, COSINE) if name == "cosine" else load_gate(name, encoder)


def without_part(name: str, gate: Gate, part: str) -> Gate:
    """Return a gate with one of its parts switched off.

    :raises ModelError: it has no such part.
    """
    parts = parts_of(gate)
    if part not in parts:
        raise ModelError(
            f"expected a part of the gate {name}, one of {', '.join(parts) or '(none)'}, found "
            f"{part!r}; leave --without out, or name another part"
        )
    if isinstance(gate, GateWithParts):
        return gate.without(part)
    classifier = cast("ScopeClassifier", gate)
    return ScopeClassifier(classifier.encoder, ablation.without_part(classifier.artifact, part))


def parts_of(gate: Gate) -> tuple[str, ...]:
    """Return the names of the parts of a gate that can be switched off."""
    if isinstance(gate, GateWithParts):
        return gate.parts
    two_stages = isinstance(gate, ScopeClassifier) and gate.artifact.second is not None
    return ablation.PARTS if two_stages else ()
