"""Training the cross-encoder: resumable, seeded, by classification or by noise contrast."""

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
from errata.training.schedule import warm_cosine

if TYPE_CHECKING:
    import torch

Loss = Literal["bce", "nce"]
BEST = "cross.best.safetensors"
HEAD = 10.0
"""How many times faster the head learns, which begins at random."""


@dataclass(frozen=True, slots=True)
class CrossSettings:
    """How a cross-encoder is trained.

    :param loss: ``bce``, balanced cross-entropy, or ``nce``, InfoNCE.
    :param steps: at most.
    :param batch: pairs a step.
    :param rate: peak learning rate of the matrices; the head, which is new, learns faster.
    :param rank: of the change of each matrix. At 24 what real question pairs teach is lost (of
        tune pairs 0.78 right and 0.44 false hits at 95% recall; at 64, as whole, 0.80 and 0.39).
    :param every: steps between validations.
    :param patience: validations without a gain before stopping.
    :param tune: pairs of the tune split a validation.
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


class CrossRun:
    """A resumable training run.

    :param encoder: whose transformer is copied and trained.
    :param train: where pairs to learn from are drawn.
    :param tune: where pairs to validate with are drawn.
    :param out: folder of the checkpoint.
    :param settings: how to train.
    :param start: begin from a trained one.
    """

    def __init__(
        self,
        encoder: Any,
        train: PairSource,
        tune: PairSource,
        out: Path,
        settings: CrossSettings,
        start: CrossEncoderDelta | None = None,
    ) -> None:
        import torch

        from errata.gates.training.cross_encoder_model import PairReader

        self.settings, self.out = settings, out
        self._source = train
        self._tune = tune.draw(settings.tune, random.Random(f"tune {settings.seed}"))
        if len({pair.label > 0 for pair in self._tune}) < 2:
            raise ModelError(
                "cannot train a gate on pairs of one class only: expected pairs in scope and pairs "
                f"out of scope to validate with, found {len(self._tune)} of one sort"
            )
        torch.manual_seed(settings.seed)
        there, self._tokenizer = unwrap_transformer(encoder).transformer()
        self.model = PairReader(copy.deepcopy(there), settings.rank)
        self._fingerprint = encoder.fingerprint
        self._began = None if start is None else start.digest
        if start is not None:
            self.model.take(start)
        head = list(self.model.head.parameters())
        self._trained = [*self.model.matrices.values(), *head]
        groups = [{"params": self._trained[: -len(head)], "swifter": 1.0},
                  {"params": head, "swifter": HEAD}]  # fmt: skip
        self.optimizer = torch.optim.AdamW(groups, lr=settings.rate, weight_decay=0.01)
        self.step, self.seconds, self.waited, self.best = 0, 0.0, 0, math.inf
        self.history: list[dict[str, float]] = []
        self._kept: CrossEncoderDelta | None = None

    def train(self, *, progress: bool = True) -> CrossEncoderDelta:
        """Train until the steps are over or validation gains nothing more; return the best.

        :raises ModelError: the loss is no number any more.
        """
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("cross-encoder"), BarColumn(), TextColumn("{task.fields[note]}"))
        with Progress(*columns, TimeRemainingColumn(), disable=not progress) as bar:
            task = bar.add_task("", total=self.settings.steps, completed=self.step, note="")
            for loss in self._steps():
                note = f"step {self.step} loss {loss:.3f} tune {self.best:.3f}"
                bar.update(task, completed=self.step, note=note)
        if self._kept is None and self.step:
            raise ModelError(
                f"the cross-encoder's loss is no number after {self.step} steps at a rate of "
                f"{self.settings.rate}; train with a lower one, into another folder"
            )
        return self._kept or self.model.project()

    def _steps(self) -> Iterator[float]:
        import torch

        s = self.settings
        while self.step < s.steps and self.waited < s.patience:
            began = time.monotonic()
            # anew, so that a resumed run is the run that was never stopped
            torch.manual_seed(s.seed * 1_000_003 + self.step)
            smooth = math.nan
            self.model.train()
            for batch in self._batches():
                for group in self.optimizer.param_groups:
                    group["lr"] = self._rate() * group["swifter"]
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
        s = self.settings
        return warm_cosine(self.step, steps=s.steps, warmup=s.warmup, peak=s.rate, last=0.02)

    def _batches(self) -> Iterator[list[Pair]]:
        """Yield the batches up to the next validation, pairs of like length together."""
        s = self.settings
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
        return (contrast if self.settings.loss == "nce" else balanced)(logits, labels)

    def _validate(self, loss: float) -> None:
        import torch

        # a loss that is no number makes weights that are none, which have no singular values
        made = self.model.project() if self.model.finite else None
        self.model.eval()
        logits = []
        order = sorted(self._tune, key=lambda pair: len(pair.edit) + len(pair.query))
        with torch.no_grad():
            for start in range(0, len(order), 64):
                chunk = order[start : start + 64]
                asked = [(pair.edit, pair.query) for pair in chunk]
                logits.append(self.model(self._tokenizer, asked))
            told = torch.cat(logits)
            labels = torch.tensor([pair.label for pair in order], device=told.device)
            value = float(balanced(told, labels))
        right = ((told.argmax(-1) > 0) == (labels > 0)).float()
        pairs = torch.tensor([p.kind == "question pairs" for p in order], device=told.device)
        found = {
            "step": self.step, "loss": loss, "tune": value, "accuracy": float(right.mean()),
        }  # fmt: skip
        if pairs.any():
            found["accuracy_pairs"] = float(right[pairs].mean())
        self.history.append(found)
        better = made is not None and value < self.best
        self.waited = 0 if better else self.waited + 1
        if made is not None and better:
            self.best, self._kept = value, made
            self._write_best(made)
        note = {
            "step": self.step, "seconds": self.seconds, "waited": self.waited, "best": self.best,
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
            "settings": asdict(self.settings), "encoder": self._fingerprint, "tune": tune,
            "train": self._source.digest, "start": self._began,
        }  # fmt: skip

    def resume(self) -> bool:
        """Take up the last checkpoint of the same settings and data, if there is one.

        :raises ErrataError: the checkpoint is damaged, of another run, or its best is gone.
        """
        from safetensors import SafetensorError

        path = self.out / "cross.checkpoint"
        if not path.is_file():
            return False
        note = checkpoint.note_of(path)
        try:
            return self._take_up(path, note)
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ModelError(
                f"{path}: expected a checkpoint and {BEST} beside it, found: "
                f"{type(error).__name__}: {error}; delete it to train from the beginning"
            ) from error

    def _take_up(self, path: Path, note: dict[str, Any]) -> bool:
        from safetensors.numpy import load_file

        mine = self._identity()
        others = [key for key in mine if note.get(key) != mine[key]]
        if others:
            raise ModelError(
                f"{path}: expected a run of these settings, encoder, pairs and start, found "
                f"another: its {', '.join(others)} differ; move it away, or name another --out"
            )
        checkpoint.load(path, self.model, [self.optimizer])
        self.step, self.seconds = note["step"], note["seconds"]
        self.waited, self.best, self.history = note["waited"], note["best"], note["history"]
        if self.best < math.inf:
            self._kept = CrossEncoderDelta(load_file(self.out / BEST), 1.0)
        return True

    @property
    def curve(self) -> list[dict[str, float]]:
        """What was measured at each validation, numbers only, so that JSON can hold it."""
        return [{k: v for k, v in one.items() if math.isfinite(v)} for one in self.history]


def balanced(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy, pairs in and out of scope weighing the same (Mitchell et al. 2022).

    :param logits: [n, 3], of none, same and follows.
    :param labels: [n].
    """
    from torch.nn.functional import cross_entropy

    each = cross_entropy(logits, labels, reduction="none")
    parts = [each[side] for side in (labels > 0, labels == 0) if side.any()]
    return sum(part.mean() for part in parts) / len(parts)  # type: ignore[return-value]


def contrast(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    r"""Return InfoNCE (van den Oord et al. 2018, equation 4) with the batch's mined negatives.

    .. math:: -\log \frac{e^{s_i}}{e^{s_i} + \sum_{j\,out} e^{s_j}}

    *s* being the log-odds that the edit governs; *same* is told from *follows* by cross-entropy.

    :param logits: [n, 3], of none, same and follows.
    :param labels: [n].
    """
    import torch
    from torch.nn.functional import cross_entropy

    score = logits[:, 1:].logsumexp(-1) - logits[:, 0]
    governed, out = labels > 0, score[labels == 0]
    if not governed.any() or not len(out):
        return balanced(logits, labels)
    mine = score[governed]
    against = out.logsumexp(0).expand_as(mine)
    told = cross_entropy(logits[governed][:, 1:], labels[governed] - 1)
    return (torch.logaddexp(mine, against) - mine).mean() + told
