"""The gate: decides whether an edit governs a query.

Importing this package loads no model; :func:`load_gate` loads a trained gate and its encoder.
"""

from __future__ import annotations

from errata.gates.base import Candidate, Decision, Gate, LeftOut, Relation, Route, Scores
from errata.gates.load import load_gate, shipped_gates

__all__ = [
    "Candidate",
    "Decision",
    "Gate",
    "LeftOut",
    "Relation",
    "Route",
    "Scores",
    "load_gate",
    "shipped_gates",
]
