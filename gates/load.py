"""Trained gates by name or folder."""

from __future__ import annotations

from pathlib import Path

from errata.cache.encoder import Encoder, multilingual_of
from errata.cache.errors import ModelError
from errata.encoder import SentenceEncoder
from errata.gates.base import Gate
from errata.gates.single_query import BatchAdapter, SingleQueryGate
from errata.registry import make, names

_WEIGHTS = Path(__file__).parent / "weights"

DEFAULT_GATE = "clear"
"""The gate used where none is named: of the shipped ones the better on facts (results/gate.md), and
trained without question pairs under restrictive terms."""


def shipped_gates() -> tuple[str, ...]:
    """Return the names of the trained gates that are installed."""
    return tuple(sorted(path.parent.name for path in _WEIGHTS.glob("*/card.json")))


def load_gate(
    name: str = "default",
    encoder: Encoder | None = None,
    *,
    threshold: float | None = None,
    target_false_hit_rate: float | None = None,
) -> Gate:
    """Return a trained gate.

    :param name: a shipped gate's name, or the folder of one of your own.
    :param encoder: the encoder it was trained with; by default the packaged all-MiniLM-L6-v2. With
        a :class:`~errata.cache.encoder.RoutedEncoder` the gate reads other languages, too.
    :param threshold: the probability from which an edit fires, instead of the trained one.
    :param target_false_hit_rate: pick the threshold so that of queries near an edit and out of
        its scope no larger share hits, at 95% confidence, instead of the trained threshold.
    :raises ModelError: there is no such gate, its files are damaged, it was trained with
        another encoder, or it cannot promise the rate.
    """
    from errata.gates.artifact import GateArtifact
    from errata.gates.calibration import NegativeScores
    from errata.gates.classifier import ScopeClassifier
    from errata.gates.embedding import EmbeddingGate, is_embedding_gate
    from errata.gates.languages import RoutedGate
    from errata.gates.reader import Reader

    folder = gate_folder(name)
    encoder = default_encoder() if encoder is None else encoder
    if threshold is not None and (target_false_hit_rate is not None or not 0 <= threshold <= 1):
        raise ModelError(
            f"expected a threshold from 0 to 1, or a false-hit rate, found threshold={threshold} "
            f"and target_false_hit_rate={target_false_hit_rate}; pass one of them"
        )
    if is_embedding_gate(folder):
        if threshold is not None or target_false_hit_rate is not None:
            raise ModelError(
                f"{folder}: expected a gate whose threshold can be picked, found one of SERAC's "
                f"with threshold={threshold} and target_false_hit_rate={target_false_hit_rate}; "
                "its threshold is the published one: leave both out, or name another gate"
            )
        return EmbeddingGate.load(folder, encoder)
    artifact = GateArtifact.load(folder)
    try:
        if target_false_hit_rate is not None:
            threshold = NegativeScores.of_card(artifact.card).threshold(target_false_hit_rate)
        gate = ScopeClassifier(encoder, artifact, threshold=threshold)
        multilingual = multilingual_of(encoder)
        if multilingual is None:
            return gate
        return RoutedGate(gate, Reader.load(reader_folder(folder)), multilingual)
    except ModelError as error:
        raise ModelError(f"gate {name}: {error}") from error


def gate_folder(name: str) -> Path:
    """Return the folder of a trained gate.

    :param name: a shipped gate's name, or the folder of one of your own.
    :raises ModelError: there is no such gate.
    """
    folder = _WEIGHTS / name if name in shipped_gates() else Path(name)
    if not folder.is_dir():
        raise ModelError(
            f"no gate {name!r}: expected one of {', '.join(shipped_gates()) or '(none shipped)'} "
            "or a folder with card.json and gate.safetensors; train one with "
            "`errata gate train --out DIR`"
        )
    return folder


def reader_folder(folder: Path) -> Path:
    """Return the folder of the reader that goes with a gate: its own, else the default gate's."""
    return folder if (folder / "multilingual.json").is_file() else _WEIGHTS / DEFAULT_GATE


def default_encoder() -> Encoder:
    """Return the packaged all-MiniLM-L6-v2."""
    return SentenceEncoder()


def choose_gate(gate: Gate | SingleQueryGate | str | None, encoder: Encoder) -> Gate:
    """Return a gate by name, the default one for None, or the instance.

    A name of the group ``errata.gates`` comes before a trained gate's. An instance of the version
    0.1 protocol is wrapped, with a DeprecationWarning.

    :raises ModelError: the instance is no gate, or there is no gate of that name.
    """
    if isinstance(gate, str) and gate in names("errata.gates"):
        made: Gate = make("errata.gates", gate, encoder)
        return made
    if gate is None or isinstance(gate, str):
        return load_gate(gate or DEFAULT_GATE, encoder)
    if isinstance(gate, Gate):
        return gate
    if isinstance(gate, SingleQueryGate):
        return BatchAdapter(gate)
    raise ModelError(
        f"expected a gate with score_batch and decide_batch, found {type(gate).__name__}; pass a "
        "gate's name, its folder or an instance of errata.gates.base.Gate"
    )
