"""Training SERAC's two parts for a base model: ``errata serac train``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from errata.cache.errors import ModelError
from errata.facts import FactSource
from errata.gates.embedding import EmbeddingGate, is_embedding_gate
from errata.gates.training.embedding import EmbeddingConfig, train_serac
from errata.gates.training.train import TrainingConfig as GateTrainingConfig
from errata.generation.fingerprint import fingerprint
from errata.reasoners.card import FILE, read_card
from errata.reasoners.training.config import TrainingConfig
from errata.reasoners.training.prune_layers import prune_layers
from errata.reasoners.training.train import ReasonerTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.cache.encoder import Encoder
    from errata.generation.base_model import GenerativeModel

GATE, REASONER = "gate", "reasoner"
"""Folders of the two parts."""


@dataclass(frozen=True, slots=True)
class SeracConfig:
    """How the two parts are trained; the defaults are those of results/comparison.md.

    :param gate: seed and sizes of the gate's training.
    :param fit: how its linear map is fitted.
    :param reasoner: of the counterfactual model.
    :param blocks: numbers of the base model's blocks that the counterfactual model begins with.
    """

    gate: GateTrainingConfig = field(
        default_factory=lambda: GateTrainingConfig(
            examples=45_000, pair_examples=12_000, statement_examples=16_000, open_examples=1_200,
            conditions=40_000, tune_share=0.25,
        )
    )  # fmt: skip
    fit: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    reasoner: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(kind="model", steps=2500, learning_rate=1e-3)
    )
    blocks: tuple[int, ...] = (0, 1, 5, 6)


def train_gate(
    encoder: Encoder,
    out: Path,
    config: SeracConfig,
    *,
    open_questions: Path | None = None,
    progress: bool = True,
) -> EmbeddingGate:
    """Return the embedding gate in ``out/gate``, trained if it is not there yet.

    :param encoder: the encoder it is trained for.
    :param out: folder of the two parts.
    :param config: how to train.
    :param open_questions: a file of questions out of any edit's scope.
    :param progress: show a progress bar.
    :raises ModelError: the file of questions is malformed.
    """
    folder = out / GATE
    if is_embedding_gate(folder):
        try:
            gate = EmbeddingGate.load(folder, encoder)
        except ModelError:  # of another encoder, or damaged
            gate = None
        if gate is not None and _trained_so(gate, config, open_questions is not None):
            return gate
    return train_serac(
        folder, open_questions=open_questions, encoder=encoder, config=config.gate,
        fit=config.fit, progress=progress,
    )  # fmt: skip


def _trained_so(gate: EmbeddingGate, config: SeracConfig, open_questions: bool) -> bool:
    """Return whether a gate's card has this seed, and open questions or none."""
    counts = gate.card.get("open_questions", {})
    return gate.card.get("seed") == config.gate.seed and any(counts.values()) == open_questions


def train_counterfactual(
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    source: FactSource,
    out: Path,
    config: SeracConfig,
    *,
    progress: bool = True,
) -> Path:
    """Return the folder of the counterfactual model, ``out/reasoner``, trained if not there yet.

    An interrupted training goes on from its last checkpoint.

    :param base: the base model; it is left as it is.
    :param tokenizer: its tokenizer.
    :param source: the facts table.
    :param out: folder of the two parts.
    :param config: how to train.
    :param progress: show a progress bar.
    :raises ErrataError: the checkpoint is of other settings, or there are no such blocks.
    """
    folder = out / REASONER
    if _is_trained(folder, base, source, config):
        return folder
    small = prune_layers(base, tokenizer, config.blocks)
    trainer = ReasonerTrainer(
        base, tokenizer, source, folder, config.reasoner, small, blocks=config.blocks
    )
    trainer.resume()
    trainer.store(trainer.train(progress=progress), "the facts table of errata")
    trainer.remove_checkpoints()
    return folder


def _is_trained(
    folder: Path, base: GenerativeModel, source: FactSource, config: SeracConfig
) -> bool:
    """Return whether a folder holds the finished result of this config for this base model."""
    if not (folder / FILE).is_file():
        return False
    card = read_card(folder)
    expected = {
        **asdict(config.reasoner), "data_sha256": source.digest, "blocks": list(config.blocks),
    }  # fmt: skip
    found = {key: card.training.get(key) for key in expected}
    return card.base == fingerprint(base) and found == expected
