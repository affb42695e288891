"""Training SERAC's gate: ``errata gate train --kind serac``.

On the pairs of :mod:`errata.gates.training.train`; the threshold stays at one half.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from errata.cache.encoder import EmbeddingCache, Encoder
from errata.cache.errors import ModelError
from errata.cache.records import Vector
from errata.facts.table import Split
from errata.gates.data.examples import Example
from errata.gates.data.pairs import read_open_questions, read_pairs
from errata.gates.data.questions import QuestionBook
from errata.gates.embedding import EmbeddingGate
from errata.gates.evaluation.trials import Outcome, build_trial, run_trial
from errata.gates.layers import Array
from errata.gates.training.cards import data_card, pairs_card
from errata.gates.training.thresholds import rate_json
from errata.gates.training.train import SplitData, TrainingConfig, draw_split
from errata.training.progress import progress as shown_progress

if TYPE_CHECKING:
    import torch

SCALE = 2.0
"""Length of the initial directions: the probability is one half at cosine 0.91."""


@dataclass(frozen=True, slots=True)
class EmbeddingConfig:
    """Configuration of the map's training.

    :param width: m, dimensions of the space.
    :param epochs: rounds over all pairs; the best on the tune split is kept.
    :param batch: pairs a step.
    :param rate: learning rate of Adam.
    """

    width: int = 128
    epochs: int = 30
    batch: int = 512
    rate: float = 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class _EncodedPairs:
    """Pairs as embeddings.

    :param differences: of the two sides' embeddings, float32 [n, d].
    :param governs: whether the edit governs, bool [n].
    """

    differences: torch.Tensor
    governs: torch.Tensor


def train_serac(
    out: str | Path,
    *,
    pairs: Sequence[str | Path] = (),
    open_questions: str | Path | None = None,
    encoder: Encoder | None = None,
    config: TrainingConfig | None = None,
    fit: EmbeddingConfig | None = None,
    progress: bool = False,
) -> EmbeddingGate:
    """Train a gate and write it.

    :param out: folder of the gate.
    :param pairs: files of labelled question pairs.
    :param open_questions: a file of questions out of any edit's scope.
    :param encoder: the encoder to train for; by default the packaged all-MiniLM-L6-v2.
    :param config: seed and sizes; its rates are not used.
    :param fit: of the map.
    :param progress: whether to show a progress bar.
    :raises ModelError: a file is malformed, or all pairs have one label.
    """
    config, fit = config or TrainingConfig(), fit or EmbeddingConfig()
    started = time.monotonic()
    labelled = [pair for path in pairs for pair in read_pairs(path)]
    provenance = pairs_card(pairs)
    questions = [] if open_questions is None else read_open_questions(open_questions)
    if encoder is None:
        from errata.gates.load import default_encoder

        encoder = default_encoder()
    embeddings = EmbeddingCache(encoder, None)
    splits: tuple[Split, ...] = ("train", "tune")
    data = {split: draw_split(split, embeddings, labelled, questions, config) for split in splits}
    encoded = {split: _encode_pairs(embeddings, one.scopes, split) for split, one in data.items()}
    found, history = _fit_map(encoded["train"], encoded["tune"], fit, config.seed, progress)
    gate = EmbeddingGate(embeddings, found)
    gate.card = {
        **data_card(provenance, data, config, {}),
        "epochs": len(history),
        "tune_loss": round(min(history), 4),
        "tune": _tune_rates(gate, embeddings, data["tune"], config),
        "seconds": round(time.monotonic() - started),
    }
    gate.save(out)
    return gate


def _encode_pairs(
    embeddings: EmbeddingCache, examples: Sequence[Example], split: Split
) -> _EncodedPairs:
    import torch

    if len({example.label == "none" for example in examples}) < 2:
        raise ModelError(
            f"cannot train a gate: expected pairs that govern and pairs that do not ({split}), "
            f"found {len(examples)} of one sort"
        )
    texts = list(dict.fromkeys(text for one in examples for text in (one.query, one.scope.text)))
    rows = dict(zip(texts, embeddings.encode(texts), strict=True))
    differences: Vector = np.stack([rows[one.query] - rows[one.scope.text] for one in examples])
    governs = torch.tensor([one.label != "none" for one in examples])
    return _EncodedPairs(torch.from_numpy(differences), governs)


def _fit_map(
    train: _EncodedPairs, tune: _EncodedPairs, fit: EmbeddingConfig, seed: int, progress: bool
) -> tuple[Array, list[float]]:
    """Return the map of the best epoch, float64 [m, d], and the tune loss of every epoch."""
    import torch

    rng = torch.Generator().manual_seed(seed)
    weight = _initial_map(train.differences, fit.width).requires_grad_()
    adam = torch.optim.Adam([weight], lr=fit.rate)
    best, history = weight.detach().clone(), []
    with shown_progress("fitting the map", fit.epochs, shown=progress) as update:
        for epoch in range(fit.epochs):
            for rows in torch.randperm(len(train.differences), generator=rng).split(fit.batch):
                loss = balanced_loss(train.differences[rows] @ weight.T, train.governs[rows])
                (weight.grad,) = torch.autograd.grad(loss, [weight])
                adam.step()
            with torch.no_grad():
                history.append(float(balanced_loss(tune.differences @ weight.T, tune.governs)))
            if history[-1] == min(history):
                best = weight.detach().clone()
            update(epoch + 1, f"tune {history[-1]:.3f}")
    return best.double().numpy(), history


def balanced_loss(differences: torch.Tensor, governs: torch.Tensor) -> torch.Tensor:
    r"""Return the loss of SERAC's classifier (Mitchell et al. 2022, section 3).

    .. math:: -E_{in} \log p - E_{out} \log(1 - p), \quad \log p = -\|A e - A x\|^2

    Both classes have the same weight, whatever their sizes; a missing class adds nothing.

    :param differences: of the mapped embeddings, float [n, m].
    :param governs: whether the edit governs, bool [n].
    """
    import torch

    log_p: torch.Tensor = -differences.square().sum(dim=1)
    log_not = torch.log(-torch.expm1(log_p.clamp(max=-1e-6)))
    parts = [-log_p[governs], -log_not[~governs]]
    return torch.stack([part.mean() for part in parts if len(part)]).sum()


def _initial_map(differences: torch.Tensor, width: int) -> torch.Tensor:
    """Return the principal directions of the differences, each SCALE long, [min(m, d), d]."""
    import torch

    _, directions = torch.linalg.eigh(differences.T @ differences)
    kept: torch.Tensor = SCALE * directions.flip(1)[:, :width].T
    return kept.contiguous()


def _tune_rates(
    gate: EmbeddingGate, embeddings: EmbeddingCache, tune: SplitData, config: TrainingConfig
) -> dict[str, dict[str, float]]:
    """Return the gate's rates per query on tune subjects, named as those of the classifier."""
    book = QuestionBook("tune", held_out=True, without=config.without)
    trial = build_trial(book, tune.open, size=config.trial_size, seed=config.seed)
    outcomes = run_trial(gate, embeddings, trial)

    def hit(chosen: Sequence[Outcome]) -> dict[str, float]:
        return rate_json([one.hit for one in chosen])

    out = [one for one in outcomes if one.query.label == "none"]
    return {
        "paraphrase hit": hit([one for one in outcomes if one.query.label == "paraphrase"]),
        "entailed hit": hit([one for one in outcomes if one.query.label == "entailed"]),
        "hard neighbours hit": hit([o for o in out if o.query.kind.startswith("other ")]),
        "all near and out of scope hit": hit([o for o in out if o.query.kind != "open question"]),
        "open questions hit": hit([o for o in out if o.query.kind == "open question"]),
    }
