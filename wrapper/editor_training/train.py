"""The training of an editor, whichever it is: steps, validation, early stop, resuming."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ErrataError
from errata.editor_training.data import EditGenerator, EditSettings
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.learner import Batch
from errata.editors.shared.trained_state import write_state
from errata.facts import FactSource
from errata.generation.fingerprint import base_fingerprint
from errata.intervals import wilson
from errata.training import checkpoint
from errata.training.progress import progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.editors.shared.trained_editor import TrainedEditor
    from errata.generation.base_model import GenerativeModel

CHECKPOINT = "checkpoint.safetensors"

log = logging.getLogger("errata")


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorTrainingConfig:
    """How an editor is trained.

    :param steps: of the optimizer, at most.
    :param batch_size: edits of a step, each made by itself.
    :param eval_steps: between validations.
    :param eval_edits: edits of tune subjects at a validation, the same at each.
    :param patience: validations without a gain after which training ends. A gain is in success and
        generality minus twice the drawdown.
    :param clip: largest norm of the gradient.
    :param seed: of all draws.
    """

    steps: int = 10_000
    batch_size: int = 8
    eval_steps: int = 250
    eval_edits: int = 128
    patience: int = 8
    clip: float = 100.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Validation:
    """How an editor does with edits of tune subjects, each made by itself.

    :param success: share of edits whose answer comes out, every token of it.
    :param generality: the same of their rewordings.
    :param drawdown: share of unrelated questions for which a token changes.
    :param n: edits, rewordings and unrelated questions.
    """

    success: float
    generality: float
    drawdown: float
    n: tuple[int, int, int]

    @property
    def score(self) -> float:
        """What training maximises: success and generality minus twice the drawdown."""
        return self.success + self.generality - 2 * self.drawdown

    def to_json(self) -> dict[str, Any]:
        """Return the shares, each with n and a 95% interval by Wilson."""
        shares = (self.success, self.generality, self.drawdown)
        return {
            name: {"share": share, "n": n, "interval": wilson(share, n)}
            for name, share, n in zip(
                ("success", "generality", "drawdown"), shares, self.n, strict=True
            )
        }


class EditorTrainer:
    """A resumable training run.

    :param editor: to train; its state before training is where it begins.
    :param model: the base model; it is left as it is.
    :param tokenizer: its tokenizer.
    :param source: facts; train subjects and objects to learn from, tune subjects to validate on.
    :param out: folder of the checkpoint and of the best state so far.
    :param config: how to train.
    :param open_questions: by split, questions that no edit is about, each with an answer.
    :param edits: how edits are drawn.
    :raises ErrataError: the table has too few facts.
    """

    def __init__(
        self,
        editor: TrainedEditor[Any],
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        source: FactSource,
        out: Path,
        config: EditorTrainingConfig,
        open_questions: tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]] = ((), ()),
        edits: EditSettings | None = None,
    ) -> None:
        self.editor, self.base, self.tokenizer, self.source = editor, model, tokenizer, source
        self.out, self.config = out, config
        self.edits = edits or EditSettings()
        self._train = EditGenerator(source, "train", open_questions[0], self.edits)
        tune = EditGenerator(source, "tune", open_questions[1], self.edits)
        self.learner = editor.learner(model, tokenizer, trained=False).train()
        self.optimizer = self.learner.optimizer()
        rng = random.Random(f"editor/tune/{config.seed}")
        drawn = [tune.draw(rng) for _ in range(config.eval_edits)]
        size = config.batch_size
        self._tune = [
            Batch(self.learner.model, tokenizer, drawn[start : start + size])
            for start in range(0, len(drawn), size)
        ]
        self.step, self.seconds, self.best, self.without_gain = 0, 0.0, -float("inf"), 0
        self.history: list[dict[str, Any]] = []

    def train(self, *, shown: bool = True) -> dict[str, Any]:
        """Train until the last step or the patience runs out; the best state is in the folder.

        :param shown: show progress on stderr.
        :return: the figures of the best state.
        """
        config = self.config
        if not self.history:
            self._validate(float("nan"))
        with progress(self.editor.name, config.steps, shown=shown) as update, gradients():
            while self.step < config.steps and self.without_gain < config.patience:
                began, losses = time.monotonic(), 0.0
                stop = min(config.steps, self.step + config.eval_steps)
                count = stop - self.step
                while self.step < stop:
                    losses += self._one_step() / count
                    last = self.history[-1]
                    update(self.step, f"tune {last['success']:.2f} {last['generality']:.2f} "
                                      f"-{last['drawdown']:.2f}")  # fmt: skip
                self.seconds += time.monotonic() - began
                self._validate(losses)
        best: dict[str, Any] = max(self.history, key=lambda each: each["score"])
        return best

    def validate(self) -> Validation:
        """Return how the editor does with edits of tune subjects."""
        self.learner.eval()
        right, reworded, changed = [], [], []
        with gradients():
            for batch in self._tune:
                found = self.learner.outcome(batch)
                hits, same = found.right().detach(), found.same().detach()
                right += hits[batch.is_edit].tolist()
                reworded += hits[batch.in_scope & ~batch.is_edit].tolist()
                changed += (~same[~batch.in_scope]).tolist()
        self.learner.train()
        parts = (right, reworded, changed)
        success, generality, drawdown = (sum(each) / max(1, len(each)) for each in parts)
        n = (len(right), len(reworded), len(changed))
        return Validation(success, generality, drawdown, n)

    def _one_step(self) -> float:
        import torch

        rng = random.Random(f"editor/{self.config.seed}/{self.step}")
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        drawn = [self._train.draw(rng) for _ in range(self.config.batch_size)]
        loss = self.learner.loss(Batch(self.learner.model, self.tokenizer, drawn))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.learner.parameters(), self.config.clip)
        if bool(norm.isfinite()):
            self.optimizer.step()
            self.learner.after_step()
        self.step += 1
        return float(loss.detach())

    def _validate(self, loss: float) -> None:
        found = self.validate()
        self.learner.after_validation(found.success)
        gained = found.score > self.best
        self.history.append({
            "step": self.step, "loss": None if loss != loss else loss, "score": found.score,
            "success": found.success, "generality": found.generality,
            "drawdown": found.drawdown, "seconds": self.seconds,
        })  # fmt: skip
        log.info("step %d, tune: %s", self.step, self.history[-1])
        self.without_gain = 0 if gained else self.without_gain + 1
        if gained and self.step:
            self.best = found.score
            write_state(
                self.out, self.editor.name, self.base, self.learner,
                self.editor.config_for(self.base), self._training(), found.to_json(),
            )  # fmt: skip
        checkpoint.save(
            self.out / CHECKPOINT, self.learner, [self.optimizer], self._note(), buffers=True
        )

    def _training(self) -> dict[str, Any]:
        return {
            "steps": self.step, "seconds": round(self.seconds, 1),
            "settings": asdict(self.config), "edits": asdict(self.edits),
            "facts": self.source.digest, "history": self.history,
        }  # fmt: skip

    def _note(self) -> dict[str, Any]:
        return {
            "step": self.step, "seconds": self.seconds, "best": self.best,
            "without gain": self.without_gain, "history": self.history, "this": self._this(),
        }  # fmt: skip

    def _this(self) -> dict[str, Any]:
        """Return what a checkpoint has to share with this run, as JSON gives it back."""
        steps = {**asdict(self.config), "steps": 0, "patience": 0}  # may be raised later
        this = {
            "editor": self.editor.name, "base": base_fingerprint(self.base), "settings": steps,
            "editor settings": asdict(self.editor.config_for(self.base)),
            "edits": asdict(self.edits), "facts": self.source.digest,
        }  # fmt: skip
        plain: dict[str, Any] = json.loads(json.dumps(this))
        return plain

    def resume(self) -> bool:
        """Load the checkpoint of the same run, if there is one.

        :return: whether there is one.
        :raises ErrataError: the checkpoint is damaged, or of another run.
        """
        path = self.out / CHECKPOINT
        if not path.is_file():
            return False
        note, this = checkpoint.read_note(path), self._this()
        there = note.get("this", {})
        different = [key for key in this if there.get(key) != this[key]]
        if different:
            raise ErrataError(
                f"{path}: expected a run of this editor with these settings on this base model and "
                f"these facts, found another ({', '.join(different)}); name another folder with "
                "--out"
            )
        checkpoint.load(path, self.learner, [self.optimizer], buffers=True)
        self.step, self.seconds, self.best = note["step"], note["seconds"], note["best"]
        self.without_gain, self.history = note["without gain"], note["history"]
        return True
