"""The gate: decides whether an edit governs a query.

Importing this package is light; a trained gate is read, and an encoder made, by
:func:`load_gate`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from errata.gates.base import Candidate, Decision, Gate, Relation, Route, Scores

if TYPE_CHECKING:
    from errata.cache.encoder import Encoder

__all__ = [
    "Candidate",
    "Decision",
    "Gate",
    "Relation",
    "Route",
    "Scores",
    "load_gate",
    "shipped_gates",
]

_WEIGHTS = Path(__file__).parent / "weights"


def shipped_gates() -> tuple[str, ...]:
    """Return the names of the trained gates that are installed."""
    return tuple(sorted(path.parent.name for path in _WEIGHTS.glob("*/card.json")))


def load_gate(name: str = "default", encoder: Encoder | None = None) -> Gate:
    """Return a trained gate.

    :param name: a shipped gate's name, or the folder of one of your own.
    :param encoder: the encoder it was trained with; by default the packaged all-MiniLM-L6-v2.
    :raises ModelError: there is no such gate, its files are damaged, or it was trained with
        another encoder.
    """
    from errata.cache.errors import ModelError
    from errata.gates.classifier import ScopeClassifier
    from errata.gates.serac import SeracGate, is_serac
    from errata.gates.stored import StoredGate

    folder = _WEIGHTS / name if name in shipped_gates() else Path(name)
    if not folder.is_dir():
        raise ModelError(
            f"no gate {name!r}: expected one of {', '.join(shipped_gates()) or '(none shipped)'} "
            "or a folder with card.json and gate.safetensors; train one with "
            "`errata gate train --out DIR`"
        )
    encoder = default_encoder() if encoder is None else encoder
    if is_serac(folder):
        return SeracGate.load(folder, encoder)
    return ScopeClassifier(encoder, StoredGate.load(folder))


def default_encoder() -> Encoder:
    """Return the packaged all-MiniLM-L6-v2."""
    # imported by name: the layer of encoders stands above this one, and is asked only here
    import importlib

    encoder: Encoder = importlib.import_module("errata.encoder").SentenceEncoder()
    return encoder
