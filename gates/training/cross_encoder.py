"""Training the cross-encoder: resumable, seeded, with cross-entropy or InfoNCE."""

from __future__ import annotations

import copy
import hashlib
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from errata.cache.errors import ModelError
from errata.gates.cross_encoder import CrossEncoderDelta, unwrap_transformer
from errata.gates.data.cross_encoder_pairs import Pair, PairSource
from errata.training import checkpoint
from errata.training.progress import progress as shown_progress
from errata.training.schedule import cosine_with_warmup

if TYPE_CHECKING:
    import torch

Loss = Literal["bce", "nce"]
BEST = "cross.best.safetensors"
HEAD_RATE_FACTOR = 10.0
"""Learning rate of the randomly initialized head, relative to that of the matrices."""


@dataclass(frozen=True, slots=True)
class CrossEncoderConfig:
    """Configuration of cross-encoder training.

    :param loss: ``bce``, balanced cross-entropy, or ``nce``, InfoNCE.
    :param seed: of everything drawn.
    :param steps: at most.
    :param batch: pairs a step.
    :param rate: peak learning rate of the matrices.
    :param warmup: steps of linear warm-up.
    :param rank: of the change of each matrix. On tune question pairs, accuracy and false hits at
        95% recall are 0.78 and 0.44 at rank 24, 0.80 and 0.39 at rank 64 and at full rank.
    :param every: steps between validations.
    :param patience: validations without a gain before stopping.
    :param tune: pairs of the tune split in a validation.
    """

    loss: Loss = "bce"
    seed: int = 0
    steps: int = 2000
    batch: int = 32
    rate: float = 1e-4
    warmup: int = 100
    rank: int = 64
    every: int = 250
    patience: int = 4
    tune: int = 1500


class CrossEncoderTrainer:
    """Trains a cross-encoder; a run can be resumed.

    :param encoder: of the transformer that is copied and trained.
    :param train: source of training pairs.
    :param tune: source of validation pairs.
    :param out: folder of the checkpoint.
    :param config: of the training.
    :param start: a trained change to begin from.
    """

    def __init__(
        self,
        encoder: Any,
        train: PairSource,
        tune: PairSource,
        out: Path,
        config: CrossEncoderConfig,
        start: CrossEncoderDelta | None = None,
    ) -> None:
        import torch

        from errata.gates.training.cross_encoder_model import PairClassifier

        self.config, self.out = config, out
        self._source = train
        self._tune = tune.draw(config.tune, random.Random(f"tune {config.seed}"))
        if len({pair.label > 0 for pair in self._tune}) < 2:
            raise ModelError(
                "cannot train a gate on pairs of one class only: expected pairs in scope and pairs "
                f"out of scope to validate with, found {len(self._tune)} of one sort"
            )
        torch.manual_seed(config.seed)
        transformer, self._tokenizer = unwrap_transformer(encoder).transformer()
        self.model = PairClassifier(copy.deepcopy(transformer), config.rank)
        self._fingerprint = encoder.fingerprint
        self._start = None if start is None else start.digest
        if start is not None:
            self.model.load(start)
        head = list(self.model.head.parameters())
        self._trained = [*self.model.matrices.values(), *head]
        groups = [{"params": self._trained[: -len(head)], "rate_factor": 1.0},
                  {"params": head, "rate_factor": HEAD_RATE_FACTOR}]  # fmt: skip
        self.optimizer = torch.optim.AdamW(groups, lr=config.rate, weight_decay=0.01)
        self.step, self.seconds, self.stale, self.best = 0, 0.0, 0, math.inf
        self.history: list[dict[str, float]] = []
        self._best_delta: CrossEncoderDelta | None = None

    def train(self, *, progress: bool = True) -> CrossEncoderDelta:
        """Train to the last step or until validation stops improving; return the best.

        :raises ModelError: the loss is not finite.
        """
        with shown_progress("cross-encoder", self.config.steps, shown=progress) as update:
            for loss in self._steps():
                update(self.step, f"loss {loss:.3f} tune {self.best:.3f}")
        if self._best_delta is None and self.step:
            raise ModelError(
                f"the cross-encoder's loss is not finite after {self.step} steps at a rate of "
                f"{self.config.rate}; train with a lower one, into another folder"
            )
        return self._best_delta or self.model.project()

    def _steps(self) -> Iterator[float]:
        import torch

        s = self.config
        while self.step < s.steps and self.stale < s.patience:
            began = time.monotonic()
            # so that a resumed run equals an uninterrupted one
            torch.manual_seed(s.seed * 1_000_003 + self.step)
            smooth = math.nan
            self.model.train()
            for batch in self._batches():
                for group in self.optimizer.param_groups:
                    group["lr"] = self._rate() * group["rate_factor"]
                loss = self._loss(batch)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.step += 1
                value = float(loss.detach())
                smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
                yield smooth
            self.seconds += time.monotonic() - began
            self._validate(smooth)

    def _rate(self) -> float:
        s = self.config
        return cosine_with_warmup(self.step, steps=s.steps, warmup=s.warmup, peak=s.rate, last=0.02)

    def _batches(self) -> Iterator[list[Pair]]:
        """Yield the batches up to the next validation, pairs of similar length together."""
        s = self.config
        rng = random.Random(f"cross/{s.seed}/{self.step}")
        count = min(s.every, s.steps - self.step)
        pairs: list[Pair] = []
        while len(pairs) < count * s.batch:
            drawn = self._source.draw(count * s.batch, rng)
            if not drawn:
                raise ModelError("cannot train a gate: no pairs to learn from")
            pairs += drawn
        pairs = pairs[: count * s.batch]
        pairs.sort(key=lambda pair: len(pair.edit) + len(pair.query) + rng.random() * 20)
        chunks = [pairs[i : i + s.batch] for i in range(0, len(pairs), s.batch)]
        rng.shuffle(chunks)
        yield from chunks

    def _loss(self, batch: Sequence[Pair]) -> torch.Tensor:
        import torch

        logits = self.model(self._tokenizer, [(pair.edit, pair.query) for pair in batch])
        labels = torch.tensor([pair.label for pair in batch], device=logits.device)
        return (info_nce if self.config.loss == "nce" else balanced_cross_entropy)(logits, labels)

    def _validate(self, loss: float) -> None:
        import torch

        # weights that are not finite have no singular values
        delta = self.model.project() if self.model.finite else None
        self.model.eval()
        logits = []
        order = sorted(self._tune, key=lambda pair: len(pair.edit) + len(pair.query))
        with torch.no_grad():
            for start in range(0, len(order), 64):
                chunk = order[start : start + 64]
                texts = [(pair.edit, pair.query) for pair in chunk]
                logits.append(self.model(self._tokenizer, texts))
            predicted = torch.cat(logits)
            labels = torch.tensor([pair.label for pair in order], device=predicted.device)
            value = float(balanced_cross_entropy(predicted, labels))
        correct = ((predicted.argmax(-1) > 0) == (labels > 0)).float()
        pairs = torch.tensor([p.kind == "question pairs" for p in order], device=predicted.device)
        found = {
            "step": self.step, "loss": loss, "tune": value, "accuracy": float(correct.mean()),
        }  # fmt: skip
        if pairs.any():
            found["accuracy_pairs"] = float(correct[pairs].mean())
        self.history.append(found)
        better = delta is not None and value < self.best
        self.stale = 0 if better else self.stale + 1
        if delta is not None and better:
            self.best, self._best_delta = value, delta
            self._write_best(delta)
        note = {
            "step": self.step, "seconds": self.seconds, "waited": self.stale, "best": self.best,
            "history": self.history, **self._identity(),
        }  # fmt: skip
        checkpoint.save(self.out / "cross.checkpoint", self.model, [self.optimizer], note)

    def _write_best(self, best: CrossEncoderDelta) -> None:
        from safetensors.numpy import save

        from errata.cache.storage.atomic import write_atomically

        self.out.mkdir(parents=True, exist_ok=True)
        data = save({k: np.ascontiguousarray(v) for k, v in best.tensors.items()})
        write_atomically(self.out / BEST, data)

    def _identity(self) -> dict[str, Any]:
        tune = hashlib.sha256(repr(self._tune).encode()).hexdigest()
        return {
            "settings": asdict(self.config), "encoder": self._fingerprint, "tune": tune,
            "train": self._source.digest, "start": self._start,
        }  # fmt: skip

    def resume(self) -> bool:
        """Load the last checkpoint of the same configuration and data; return whether there is one.

        :raises ErrataError: the checkpoint is damaged, of another run, or its best is gone.
        """
        from safetensors import SafetensorError

        path = self.out / "cross.checkpoint"
        if not path.is_file():
            return False
        note = checkpoint.read_note(path)
        try:
            return self._load_checkpoint(path, note)
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ModelError(
                f"{path}: expected a checkpoint and {BEST} in one folder, found: "
                f"{type(error).__name__}: {error}; delete it to train from the beginning"
            ) from error

    def _load_checkpoint(self, path: Path, note: dict[str, Any]) -> bool:
        from safetensors.numpy import load_file

        expected = self._identity()
        different = [key for key in expected if note.get(key) != expected[key]]
        if different:
            raise ModelError(
                f"{path}: expected a run of these settings, encoder, pairs and start, found "
                f"another: its {', '.join(different)} differ; move it away, or name another --out"
            )
        checkpoint.load(path, self.model, [self.optimizer])
        self.step, self.seconds = note["step"], note["seconds"]
        self.stale, self.best, self.history = note["waited"], note["best"], note["history"]
        if self.best < math.inf:
            self._best_delta = CrossEncoderDelta(load_file(self.out / BEST), 1.0)
        return True

    @property
    def curve(self) -> list[dict[str, float]]:
        """The metrics of each validation; values that are not finite are left out, for JSON."""
        return [{k: v for k, v in one.items() if math.isfinite(v)} for one in self.history]


def balanced_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy, with equal weight in and out of scope (Mitchell et al. 2022).

    :param logits: [n, 3], of none, paraphrase and entailed.
    :param labels: [n].
    """
    from torch.nn.functional import cross_entropy

    each = cross_entropy(logits, labels, reduction="none")
    parts = [each[side] for side in (labels > 0, labels == 0) if side.any()]
    return sum(part.mean() for part in parts) / len(parts)  # type: ignore[return-value]


def info_nce(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    r"""Return InfoNCE (van den Oord et al. 2018, equation 4), with the batch's negatives.

    .. math:: -\log \frac{e^{s_i}}{e^{s_i} + \sum_{j\,out} e^{s_j}}

    *s* are the log-odds that the edit governs; the cross-entropy of *paraphrase* against *entailed*
    is added.

    :param logits: [n, 3], of none, paraphrase and entailed.
    :param labels: [n].
    """
    import torch
    from torch.nn.functional import cross_entropy

    score = logits[:, 1:].logsumexp(-1) - logits[:, 0]
    governed, out = labels > 0, score[labels == 0]
    if not governed.any() or not len(out):
        return balanced_cross_entropy(logits, labels)
    positive = score[governed]
    negatives = out.logsumexp(0).expand_as(positive)
    relation = cross_entropy(logits[governed][:, 1:], labels[governed] - 1)
    return (torch.logaddexp(positive, negatives) - positive).mean() + relation
