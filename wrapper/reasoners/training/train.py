"""Training a reasoner: ``errata reasoner train``."""

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

from errata.cache.errors import ErrataError
from errata.cache.patches.kinds import context
from errata.cache.storage.atomic import write_atomically
from errata.facts import FactSource
from errata.generation.fingerprint import fingerprint
from errata.generation.token_writer import AnswerWriter
from errata.intervals import Rate
from errata.reasoners.abstention import AbstentionPenalties
from errata.reasoners.adapter import begin_from, with_lora
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.card import ReasonerCard
from errata.reasoners.evaluation.evaluate import Examiner, answering, exam, figures
from errata.reasoners.prompts import Prompter
from errata.reasoners.reader import ContextReasoner, base_fallback
from errata.reasoners.training.dataset import ExampleGenerator
from errata.reasoners.training.examples import KINDS, NO_MATTER, SHARES, TWIN, ReasonerExample
from errata.reasoners.training.losses import Item, loss_of
from errata.reasoners.training.thresholds import fit_abstention_penalties
from errata.training import checkpoint
from errata.training.schedule import warm_cosine

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

Kind = Literal["adapter", "model"]
ADAPTER_FILE, MODEL_FILE = "adapter.safetensors", "model.safetensors"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a reasoner is trained.

    :param kind: a LoRA adapter on the base model, or a whole separate model.
    :param steps: at most.
    :param batch: lessons a step.
    :param rate: peak learning rate.
    :param rank: of the adapter; its alpha is twice that.
    :param every: steps between validations.
    :param patience: validations without a gain before stopping.
    :param each: tune lessons of each kind a validation.
    """

    kind: Kind = "adapter"
    seed: int = 0
    steps: int = 6000
    batch: int = 32
    rate: float = 1.2e-3
    warmup: int = 100
    rank: int = 64
    every: int = 500
    patience: int = 4
    each: int = 60

    @property
    def lora(self) -> dict[str, Any]:
        """What :class:`peft.LoraConfig` is given."""
        return {"r": self.rank, "lora_alpha": 2 * self.rank, "lora_dropout": 0.0}

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the lessons, in the order of ``KINDS``.

        A separate model is never asked what no edit governs (SERAC, Mitchell et al. 2022, section
        3.2), and could not know it.
        """
        apart = self.kind == "model"
        return tuple(
            0.0 if apart and kind in (NO_MATTER, TWIN) else share
            for kind, share in zip(KINDS, SHARES, strict=True)
        )


def _optimizer(parameters: list[Any], settings: Settings) -> torch.optim.Optimizer:
    """Return Muon for an adapter, whose parameters are all matrices, and AdamW for a whole model.

    On atlas, after 300 steps, Muon (Jordan et al. 2024) brings the mean over the kinds of question
    to 0.68 where AdamW brings it to 0.64 (tune subjects, n=40 each).
    """
    import torch

    if settings.kind == "adapter":
        return torch.optim.Muon(
            parameters, lr=settings.rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        )
    return torch.optim.AdamW(parameters, lr=settings.rate, weight_decay=0.0)


class ReasonerRun:
    """A resumable training run.

    :param base: the base model; it is left as it is.
    :param tokenizer: its tokenizer.
    :param source: facts to compose lessons of; only train subjects and objects teach.
    :param out: folder of checkpoints and, at the end, of the reasoner.
    :param settings: how to train.
    :param separate: the model to train instead of an adapter, with its tokenizer.
    :param begun: folder of an adapter of this base and rank to train on.
    :raises ErrataError: the adapter is another base's or of another rank, or the table holds
        nothing to learn or to validate with.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        source: FactSource,
        out: Path,
        settings: Settings,
        separate: tuple[GenerativeModel, PreTrainedTokenizerBase] | None = None,
        begun: Path | None = None,
    ) -> None:
        import torch

        self.base, self.tokenizer, self.source = base, tokenizer, source
        self.out, self.settings = out, settings
        torch.manual_seed(settings.seed)
        self._begun: dict[str, Any] | None = None
        if separate is None:
            self._adapted = with_lora(base, settings.lora)
            if begun is not None:
                self._begun = begin_from(self._adapted, base, begun, settings.lora)
            self.student, self.own = self._adapted.get_base_model(), tokenizer
        else:
            self.student, self.own = separate
        self.prompter = Prompter.of(self.student, self.own)
        self._writer = AnswerWriter(self.own)
        lessons = exam(source, "tune", settings.each)
        if not lessons or not ExampleGenerator(source, "train", random.Random(0)).lessons(20):
            raise ErrataError(
                "expected facts of train and of tune subjects with several objects a relation, "
                "found too few to compose lessons of; add facts, or use the table errata carries"
            )
        self.examiner = Examiner(base, tokenizer, lessons)
        self._trained = {
            name: p for name, p in self.student.named_parameters()
            if separate is not None or "lora_" in name
        }  # fmt: skip
        self.optimizer = _optimizer(list(self._trained.values()), settings)
        self.step, self.seconds, self.best, self.waited = 0, 0.0, -1.0, 0
        self.reluctance = AbstentionPenalties()
        self.history: list[dict[str, float]] = []

    def train(self, *, progress: bool = True) -> dict[str, Rate]:
        """Train until the steps are over or validation gains nothing more; keep the best.

        :param progress: show a progress bar.
        :return: the figures of the best validation, on tune subjects.
        """
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        frozen = [(p, p.requires_grad) for p in self.student.parameters()]
        for parameter, _ in frozen:
            parameter.requires_grad_(False)
        for parameter in self._trained.values():
            parameter.requires_grad_(True)
        columns = (TextColumn("reasoner"), BarColumn(), TextColumn("{task.fields[note]}"))
        try:
            with Progress(*columns, TimeRemainingColumn(), disable=not progress) as bar:
                task = bar.add_task("", total=self.settings.steps, completed=self.step, note="")
                for loss in self._steps():
                    note = f"step {self.step} loss {loss:.3f} tune {max(self.best, 0):.3f}"
                    bar.update(task, completed=self.step, note=note)
        finally:
            for parameter, wanted in frozen:
                parameter.requires_grad_(wanted)
        self._restore_best()
        self._settle()
        return self.examined()

    def examined(self) -> dict[str, Rate]:
        """Return the figures on tune subjects, of the model as it is now."""
        self.student.eval()
        reasoner = self._reader(
            self.reluctance, aside=base_fallback(self.base, self.tokenizer),
            beliefs=BaseConsistency(self.base, self.tokenizer),
        )  # fmt: skip
        return figures(self.examiner.outcomes(answering(reasoner, self.base)))

    def _reader(self, reluctance: AbstentionPenalties, **others: Any) -> ContextReasoner:
        return ContextReasoner(
            self.student, self.own, self.prompter, foreign=self.own is not self.tokenizer,
            reluctance=reluctance, **others,
        )  # fmt: skip

    def _settle(self) -> None:
        """Settle how reluctant it is to say nothing."""
        self.student.eval()
        silence = self._silence()[0]
        self.reluctance = fit_abstention_penalties(
            self.examiner, self._reader, self.base, self.tokenizer, silence
        )

    # -- steps -------------------------------------------------------------------------------

    def _steps(self) -> Iterator[float]:
        import torch

        began = time.monotonic()
        # On a CPU casting costs more than half precision gains: 0.81 s a step of atlas to 0.61 s.
        half = self.base.device.type == "cuda"
        while self.step < self.settings.steps and self.waited < self.settings.patience:
            self.student.train()
            # Both anew, so that a resumed run is the run that was never stopped.
            smooth = float("nan")
            torch.manual_seed(self.settings.seed * 1_000_003 + self.step)
            for batch in self._batches():
                for group in self.optimizer.param_groups:
                    group["lr"] = self._rate()
                with torch.autocast(self.base.device.type, dtype=torch.bfloat16, enabled=half):
                    loss = loss_of(self.student, batch)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self._trained.values(), 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.step += 1
                value = float(loss.detach())
                smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
                yield smooth
            self.seconds += time.monotonic() - began
            self._validate(smooth)
            began = time.monotonic()

    def _rate(self) -> float:
        s = self.settings
        return warm_cosine(self.step, steps=s.steps, warmup=s.warmup, peak=s.rate, last=0.01)

    def _batches(self) -> Iterator[list[Item]]:
        """Yield the batches up to the next validation, lessons of like length together."""
        s = self.settings
        rng = random.Random(f"lessons/{s.seed}/{self.step}")
        count = min(s.every, s.steps - self.step)
        lessons = ExampleGenerator(self.source, "train", rng).lessons(count * s.batch, s.shares)
        items = self._items(lessons)
        items.sort(key=lambda item: len(item.prompt) + rng.random() * 4)
        chunks = [items[i : i + s.batch] for i in range(0, len(items), s.batch)]
        rng.shuffle(chunks)
        yield from chunks[:count]

    def _items(self, lessons: Sequence[ReasonerExample]) -> list[Item]:
        items = []
        for lesson in lessons:
            ids = self._answer_ids(lesson)
            told = [context(edit) for edit in lesson.edits]
            items.append(Item(self.prompter.ids(told, lesson.query, len(ids)), ids))
        return items

    def _answer_ids(self, lesson: ReasonerExample) -> list[int]:
        """Return the ids of the answer; where no edit matters none, and the base answers."""
        ends = self._end()
        if lesson.answer is None:
            return self._silence()
        said = self.prompter.continued(lesson.query, lesson.answer)
        return [*self._writer.encode(said), *ends]

    def _end(self) -> list[int]:
        end = self.student.generation_config.eos_token_id
        return [end[0] if isinstance(end, list) else end] if end is not None else []

    def _silence(self) -> list[int]:
        """Return the ids of an answer that says nothing."""
        return self._end() or self._writer.encode("\n")

    # -- validation, checkpoints, the end ----------------------------------------------------

    def _validate(self, loss: float) -> None:
        found = self.examined()
        counted = [r.share for kind, r in found.items() if kind != TWIN]  # as in settling
        score = sum(counted) / len(counted)
        self.history.append(
            {
                "step": self.step,
                "loss": loss,
                "mean": score,
                **{k: r.share for k, r in found.items()},
            }
        )
        self.waited = 0 if score > self.best else self.waited + 1
        if score > self.best:
            self.best = score
            self._write("best.safetensors", self._tensors())
        checkpoint.save(
            self.out / "checkpoint.safetensors", self.student, [self.optimizer], self._note()
        )

    def _note(self) -> dict[str, Any]:
        return {
            "step": self.step, "seconds": self.seconds, "best": self.best, "waited": self.waited,
            "history": self.history, "settings": asdict(self.settings),
            "base": fingerprint(self.base), "facts": self.source.digest,
            "begun": self._begun and self._begun["weights"],
        }  # fmt: skip

    def resume(self) -> bool:
        """Take up the last checkpoint of the same settings, base and facts, if there is one.

        :raises ErrataError: the checkpoint is damaged, or of another run.
        """
        path = self.out / "checkpoint.safetensors"
        if not path.is_file():
            return False
        note = checkpoint.note_of(path)
        own = self._note()
        known = ("settings", "base", "facts", "begun")
        other = [k for k in known if note.get(k, own[k]) != own[k]]
        if other:
            raise ErrataError(
                f"{path}: expected a run of these settings on this base model and these facts, "
                f"found other {', '.join(other)}; move it away, or name another --out"
            )
        checkpoint.load(path, self.student, [self.optimizer])
        self.step, self.seconds = note["step"], note["seconds"]
        self.best, self.waited, self.history = note["best"], note["waited"], note["history"]
        return True

    def remove_checkpoints(self) -> None:
        """Remove what only an interrupted run needs."""
        for name in ("checkpoint.safetensors", "best.safetensors"):
            (self.out / name).unlink(missing_ok=True)

    def _tensors(self) -> dict[str, Any]:
        import torch

        half = torch.float16 if self.settings.kind == "adapter" else torch.float32
        return {k: p.detach().to("cpu", half).contiguous() for k, p in self._trained.items()}

    def _write(self, name: str, tensors: dict[str, Any]) -> None:
        from safetensors.torch import save

        self.out.mkdir(parents=True, exist_ok=True)
        write_atomically(self.out / name, save(tensors))

    def _restore_best(self) -> None:
        import torch
        from safetensors.torch import load_file

        if not (self.out / "best.safetensors").is_file():
            self._write("best.safetensors", self._tensors())
        stored = load_file(self.out / "best.safetensors")
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(stored[name])

    def _halved(self) -> GenerativeModel:
        """Return the student as it is stored: single precision is more than its weights need."""
        import torch

        student: GenerativeModel = self.student
        if student.dtype == torch.float32:
            student = torch.nn.Module.half(copy.deepcopy(student))
        return student

    def store(self, found: dict[str, Rate], data: str) -> None:
        """Write the trained reasoner and its card into the run's folder.

        :param found: figures on tune subjects.
        :param data: what it was trained on, for the card.
        """
        if self.settings.kind == "adapter":
            from peft import get_peft_model_state_dict

            state = get_peft_model_state_dict(self._adapted)
            self._write(ADAPTER_FILE, {k: v.half().contiguous() for k, v in state.items()})
            file = ADAPTER_FILE
        else:
            self._halved().save_pretrained(self.out)
            self.own.save_pretrained(self.out)
            file = MODEL_FILE
        digest = hashlib.sha256((self.out / file).read_bytes()).hexdigest()
        ReasonerCard(
            kind=self.settings.kind,
            base=fingerprint(self.base),
            weights=digest,
            file=file,
            chat=self.prompter.chat,
            lora=self.settings.lora if self.settings.kind == "adapter" else {},
            reluctance=self.reluctance,
            training={
                **asdict(self.settings), "data": data, "data_sha256": self.source.digest,
                "steps_taken": self.step, "started_from": self._begun,
                "seconds": round(self.seconds), "history": self.history,
            },
            figures={kind: asdict(rate) for kind, rate in found.items()},
        ).write(self.out)  # fmt: skip
