"""Training SERAC's own gate: ``errata gate train --kind serac``.

On the pairs that errata's own gate is trained on, and nothing else: no threshold is picked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from errata.cache.encoder import Encoder
from errata.cache.errors import ModelError
from errata.cache.records import Vector
from errata.facts.table import Split
from errata.gates.data.examples import Example
from errata.gates.data.pairs import read_open_questions, read_pairs
from errata.gates.data.questions import QuestionBook
from errata.gates.embedding import EmbeddingGate
from errata.gates.embedding_cache import EmbeddingCache
from errata.gates.evaluation.trials import Outcome, build_trial, run_trial
from errata.gates.layers import Array
from errata.gates.training.thresholds import share
from errata.gates.training.train import Pairs, Recipe, collect, learned_from, trained_on

if TYPE_CHECKING:
    import torch

SCALE = 2.0
"""Length of the directions the map begins with: half of all pairs govern at cosine 0.91."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How the map is fitted.

    :param width: m, dimensions of the space.
    :param epochs: rounds over all pairs; the best on the tune split is kept.
    :param batch: pairs a step.
    :param rate: of Adam.
    """

    width: int = 128
    epochs: int = 30
    batch: int = 512
    rate: float = 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """Pairs as the map sees them.

    :param apart: differences of their encodings, float32 [n, d].
    :param governs: whether the edit governs, bool [n].
    """

    apart: torch.Tensor
    governs: torch.Tensor


def train_serac(
    out: str | Path,
    *,
    pairs: Sequence[str | Path] = (),
    open_questions: str | Path | None = None,
    encoder: Encoder | None = None,
    recipe: Recipe | None = None,
    fit: Fit | None = None,
    progress: bool = False,
) -> EmbeddingGate:
    """Train a gate and write it.

    :param out: the folder it is written to.
    :param pairs: files of labelled question pairs.
    :param open_questions: a file of questions out of any edit's scope.
    :param encoder: the encoder to train for; by default the packaged all-MiniLM-L6-v2.
    :param recipe: seed and sizes; its rates have no say here.
    :param fit: how the map is fitted.
    :param progress: show a progress bar.
    :raises ModelError: a file is malformed, or there is nothing to tell apart.
    """
    recipe, fit = recipe or Recipe(), fit or Fit()
    started = time.monotonic()
    asked = [pair for path in pairs for pair in read_pairs(path)]
    learned = learned_from(pairs)
    questions = [] if open_questions is None else read_open_questions(open_questions)
    if encoder is None:
        from errata.gates.load import default_encoder

        encoder = default_encoder()
    memory = EmbeddingCache(encoder, None)
    splits: tuple[Split, ...] = ("train", "tune")
    data = {split: collect(split, memory, asked, questions, recipe) for split in splits}
    encoded = {split: _encoded(memory, one.scopes, split) for split, one in data.items()}
    found, history = _fitted(encoded["train"], encoded["tune"], fit, recipe.seed, progress)
    gate = EmbeddingGate(memory, found)
    gate.card = {
        **trained_on(learned, data, recipe),
        "epochs": len(history),
        "tune_loss": round(min(history), 4),
        "tune": _figures(gate, memory, data["tune"], recipe),
        "seconds": round(time.monotonic() - started),
    }
    gate.save(out)
    return gate


def _encoded(memory: EmbeddingCache, examples: Sequence[Example], split: Split) -> _Encoded:
    import torch

    if len({example.label == "none" for example in examples}) < 2:
        raise ModelError(
            f"cannot train a gate: expected pairs that govern and pairs that do not ({split}), "
            f"found {len(examples)} of one sort"
        )
    texts = list(dict.fromkeys(text for one in examples for text in (one.query, one.scope.text)))
    rows = dict(zip(texts, memory.encode(texts), strict=True))
    apart: Vector = np.stack([rows[one.query] - rows[one.scope.text] for one in examples])
    governs = torch.tensor([one.label != "none" for one in examples])
    return _Encoded(torch.from_numpy(apart), governs)


def _fitted(
    train: _Encoded, tune: _Encoded, fit: Fit, seed: int, progress: bool
) -> tuple[Array, list[float]]:
    """Return the map of the best epoch, float64 [m, d], and the tune loss of every epoch."""
    import torch
    from rich.progress import track

    rng = torch.Generator().manual_seed(seed)
    weight = _beginning(train.apart, fit.width).requires_grad_()
    adam = torch.optim.Adam([weight], lr=fit.rate)
    best, history = weight.detach().clone(), []
    for _ in track(range(fit.epochs), "fitting the map", disable=not progress):
        for rows in torch.randperm(len(train.apart), generator=rng).split(fit.batch):
            loss = balanced_loss(train.apart[rows] @ weight.T, train.governs[rows])
            (weight.grad,) = torch.autograd.grad(loss, [weight])
            adam.step()
        with torch.no_grad():
            history.append(float(balanced_loss(tune.apart @ weight.T, tune.governs)))
        if history[-1] == min(history):
            best = weight.detach().clone()
    return best.double().numpy(), history


def balanced_loss(apart: torch.Tensor, governs: torch.Tensor) -> torch.Tensor:
    r"""Return SERAC's loss of its classifier (Mitchell et al. 2022, section 3).

    .. math:: -E_{in} \log p - E_{out} \log(1 - p), \quad \log p = -\|A e - A x\|^2

    The two sorts weigh the same, however many there are of each; a sort that is missing adds
    nothing.

    :param apart: differences of the mapped encodings, float [n, m].
    :param governs: whether the edit governs, bool [n].
    """
    import torch

    log_p: torch.Tensor = -apart.square().sum(dim=1)
    log_not = torch.log(-torch.expm1(log_p.clamp(max=-1e-6)))
    parts = [-log_p[governs], -log_not[~governs]]
    return torch.stack([part.mean() for part in parts if len(part)]).sum()


def _beginning(apart: torch.Tensor, width: int) -> torch.Tensor:
    """Return the directions in which pairs differ most, each SCALE long, [min(m, d), d]."""
    import torch

    _, directions = torch.linalg.eigh(apart.T @ apart)
    kept: torch.Tensor = SCALE * directions.flip(1)[:, :width].T
    return kept.contiguous()


def _figures(
    gate: EmbeddingGate, memory: EmbeddingCache, tune: Pairs, recipe: Recipe
) -> dict[str, dict[str, float]]:
    """Return the gate's figures per query on tune subjects, named as those of errata's own."""
    book = QuestionBook("tune", held_out=True, without=recipe.without)
    trial = build_trial(book, tune.open, size=recipe.trial_size, seed=recipe.seed)
    outcomes = run_trial(gate, memory, trial)

    def hit(wanted: Sequence[Outcome]) -> dict[str, float]:
        return share([one.hit for one in wanted])

    out = [one for one in outcomes if one.query.label == "none"]
    return {
        "same hit": hit([one for one in outcomes if one.query.label == "same"]),
        "follows hit": hit([one for one in outcomes if one.query.label == "follows"]),
        "hard neighbours hit": hit([o for o in out if o.query.kind.startswith("other ")]),
        "all near and out of scope hit": hit([o for o in out if o.query.kind != "open question"]),
        "open questions hit": hit([o for o in out if o.query.kind == "open question"]),
    }
