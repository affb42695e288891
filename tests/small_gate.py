"""A gate trained in seconds on a few hundred pairs and the stub encoder's vectors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from errata.gates.artifact import GateArtifact
from errata.gates.training.train import TrainingConfig, train
from tests.fakes import StubEncoder

RECIPE = TrainingConfig(examples=900, trial_size=12, conditions=600)


@cache
def small_gate_folder() -> Path:
    """Train the small gate once and return its folder; nobody writes to it."""
    folder = Path(mkdtemp(prefix="errata-small-gate-"))
    train(folder, encoder=StubEncoder(), config=RECIPE)
    return folder


def small_gate() -> GateArtifact:
    """Return the small gate."""
    return GateArtifact.load(small_gate_folder())
