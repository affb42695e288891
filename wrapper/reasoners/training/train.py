"""Training a reasoner: ``errata reasoner train``."""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ErrataError
from errata.cache.patches.kinds import context
from errata.cache.storage.atomic import write_atomically
from errata.facts import FactSource
from errata.generation.fingerprint import fingerprint
from errata.generation.request import AnswerWriter
from errata.intervals import Rate
from errata.reasoners.abstention import AbstentionPenalties
from errata.reasoners.adapter import initialize_from, with_lora
from errata.reasoners.base_consistency import BaseConsistency
from errata.reasoners.card import ReasonerCard
from errata.reasoners.data.dataset import ExampleGenerator
from errata.reasoners.data.examples import SAME_ANSWER_LOCALITY, ReasonerExample
from errata.reasoners.data.groups import GroupGenerator, english
from errata.reasoners.data.texts import RealTexts
from errata.reasoners.evaluation.chat_examples import text_examples
from errata.reasoners.evaluation.evaluate import (
    Evaluator,
    evaluation_set,
    greedy_answers,
    rates,
)
from errata.reasoners.prompts import TRAINED_FORM, Prompter
from errata.reasoners.reader import ContextReasoner, base_fallback
from errata.reasoners.training.config import SETTINGS_OF_0_1, SHORT_FORM, TrainingConfig
from errata.reasoners.training.losses import TokenizedExample, answer_loss, group_loss
from errata.reasoners.training.optimizer import make_optimizer
from errata.reasoners.training.thresholds import fit_abstention_penalties
from errata.training import checkpoint
from errata.training.schedule import cosine_with_warmup

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

ADAPTER_FILE, MODEL_FILE = "adapter.safetensors", "model.safetensors"
CHECKPOINT_FILE, BEST_FILE = "checkpoint.safetensors", "best.safetensors"

TERMS = "those of the files; Quora's pairs: research use"
_LOG_STEPS = 10

log = logging.getLogger("errata")


class ReasonerTrainer:
    """A resumable training run.

    :param base: the base model; it is left as it is.
    :param tokenizer: its tokenizer.
    :param source: facts that examples are drawn from; train subjects and objects for training,
        tune subjects for evaluation.
    :param out: folder of checkpoints and, at the end, of the reasoner.
    :param config: how to train.
    :param separate: the model to train instead of an adapter, with its tokenizer.
    :param start: folder of an adapter of this base and rank to continue from.
    :param blocks: numbers of the base's blocks that the separate model was made of, for the card.
    :param texts: of real people, for the examples of a chat model.
    :raises ErrataError: the adapter is of another base or rank, or the table has too few facts.
    """

    def __init__(
        self,
        base: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        source: FactSource,
        out: Path,
        config: TrainingConfig,
        separate: tuple[GenerativeModel, PreTrainedTokenizerBase] | None = None,
        start: Path | None = None,
        blocks: Sequence[int] = (),
        texts: RealTexts | None = None,
    ) -> None:
        import torch

        source = english(source) if config.chat else source
        self.base, self.tokenizer, self.source, self.texts = base, tokenizer, source, texts
        self.out, self.config, self._blocks = out, config, list(blocks)
        torch.manual_seed(config.seed)
        self._started_from: dict[str, Any] | None = None
        if separate is None:
            self._peft_model = with_lora(base, config.lora)
            if start is not None:
                self._started_from = initialize_from(self._peft_model, base, start, config.lora)
            self.model, self.model_tokenizer = self._peft_model.get_base_model(), tokenizer
        else:
            self.model, self.model_tokenizer = separate
        form = replace(TRAINED_FORM, **self._form)
        self.prompter = Prompter.for_model(self.model, self.model_tokenizer, form=form)
        self._writer = AnswerWriter(self.model_tokenizer)
        examples = evaluation_set(source, "tune", config.eval_examples)
        if config.chat:
            examples += text_examples(source, texts, config.eval_examples, "tune")
        if not examples or not ExampleGenerator(source, "train", random.Random(0)).examples(20):
            raise ErrataError(
                "expected facts of train and of tune subjects with several objects a relation, "
                "found too few to draw examples from; add facts, or use the table errata carries"
            )
        self.evaluator = Evaluator(base, tokenizer, examples, sentences=config.chat)
        self._trainable = {
            name: p for name, p in self.model.named_parameters()
            if separate is not None or "lora_" in name
        }  # fmt: skip
        self.optimizer = make_optimizer(list(self._trainable.values()), config)
        self.step, self.seconds, self.best_score, self.evals_without_gain = 0, 0.0, -1.0, 0
        self.abstention = AbstentionPenalties()
        self.history: list[dict[str, float]] = []

    def train(self, *, progress: bool = True) -> dict[str, Rate]:
        """Train until the last step or the patience runs out; keep the best weights.

        :param progress: show a progress bar.
        :return: the rates of the best weights on tune subjects, for each kind.
        """
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        flags = [(p, p.requires_grad) for p in self.model.parameters()]
        for parameter, _ in flags:
            parameter.requires_grad_(False)
        for parameter in self._trainable.values():
            parameter.requires_grad_(True)
        columns = (TextColumn("reasoner"), BarColumn(), TextColumn("{task.fields[note]}"))
        try:
            with Progress(*columns, TimeRemainingColumn(), disable=not progress) as bar:
                task = bar.add_task("", total=self.config.steps, completed=self.step, note="")
                for loss in self._steps():
                    note = f"step {self.step} loss {loss:.3f} tune {max(self.best_score, 0):.3f}"
                    bar.update(task, completed=self.step, note=note)
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
        self._restore_best()
        self._fit_abstention()
        return self.evaluate()

    def evaluate(self) -> dict[str, Rate]:
        """Return the rates of the current weights on tune subjects, for each kind."""
        self.model.eval()
        reasoner = self._reasoner(
            self.abstention, fallback=base_fallback(self.base, self.tokenizer),
            consistency=BaseConsistency(self.base, self.tokenizer),
        )  # fmt: skip
        return rates(self.evaluator.outcomes(greedy_answers(reasoner, self.base)))

    def _reasoner(self, abstention: AbstentionPenalties, **options: Any) -> ContextReasoner:
        return ContextReasoner(
            self.model, self.model_tokenizer, self.prompter,
            separate_vocabulary=self.model_tokenizer is not self.tokenizer,
            abstention=abstention, **options,
        )  # fmt: skip

    def _fit_abstention(self) -> None:
        self.model.eval()
        self.abstention = fit_abstention_penalties(
            self.evaluator, self._reasoner, self.base, self.tokenizer, self._empty_answer()[0],
            by_base=not self.config.chat,
        )  # fmt: skip

    @property
    def _form(self) -> dict[str, Any]:
        return dict(SHORT_FORM) if self.config.chat else {}

    # -- steps -------------------------------------------------------------------------------

    def _steps(self) -> Iterator[float]:
        import torch

        config, began = self.config, time.monotonic()
        # on a CPU casting costs more than half precision gains: 0.81 s a step of atlas to 0.61 s
        half = self.base.device.type == "cuda"
        while self.step < config.steps and self.evals_without_gain < config.patience:
            self.model.train()
            # reset after each evaluation, so that a resumed run equals an uninterrupted one
            smooth = float("nan")
            torch.manual_seed(config.seed * 1_000_003 + self.step)
            for batch in self._batches():
                for group in self.optimizer.param_groups:
                    group["lr"] = self._learning_rate()
                with torch.autocast(self.base.device.type, dtype=torch.bfloat16, enabled=half):
                    loss = self._loss(batch)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self._trainable.values(), 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.step += 1
                value = float(loss.detach())
                smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
                if self.step % _LOG_STEPS == 0:
                    log.info("step %d of %d, loss %.3f", self.step, config.steps, smooth)
                yield smooth
            self.seconds += time.monotonic() - began
            self._evaluate_and_save(smooth)
            began = time.monotonic()

    def _loss(self, batch: Sequence[Sequence[TokenizedExample]]) -> torch.Tensor:
        if self.config.chat:
            return group_loss(
                self.model, batch, self._empty_answer()[0], self.config.decision_weight
            )
        return answer_loss(self.model, [one for group in batch for one in group])

    def _learning_rate(self) -> float:
        c = self.config
        return cosine_with_warmup(
            self.step, steps=c.steps, warmup=c.warmup, peak=c.learning_rate, last=0.01
        )

    def _batches(self) -> Iterator[list[list[TokenizedExample]]]:
        """Yield the batches of groups up to the next evaluation, of similar length together."""
        size, rng = self.config.batch_size, random.Random(f"lessons/{self.config.seed}/{self.step}")
        count = min(self.config.eval_steps, self.config.steps - self.step)
        groups = self._groups(rng, count * size)
        groups.sort(key=lambda group: sum(len(one.prompt) for one in group) + rng.random() * 4)
        batches = [groups[i : i + size] for i in range(0, len(groups), size)]
        rng.shuffle(batches)
        yield from batches[:count]

    def _groups(self, rng: random.Random, count: int) -> list[list[TokenizedExample]]:
        """Return groups of examples that share their edits: of one, except for a chat model."""
        if self.config.chat:
            generator = GroupGenerator(self.source, "train", rng, self.texts)
            return [self._tokenize(generator.group()) for _ in range(count)]
        singles = ExampleGenerator(self.source, "train", rng)
        return [[one] for one in self._tokenize(singles.examples(count, self.config.shares))]

    def _tokenize(self, examples: Sequence[ReasonerExample]) -> list[TokenizedExample]:
        tokenized = []
        for example in examples:
            ids = self._answer_ids(example)
            prompt = self.prompter.ids(list(map(context, example.edits)), example.query, len(ids))
            tokenized.append(TokenizedExample(prompt, ids))
        return tokenized

    def _answer_ids(self, example: ReasonerExample) -> list[int]:
        """Return the ids of the answer; of the empty one where no edit governs the query."""
        if example.answer is None:
            return self._empty_answer()
        answer = (self.config.chat and example.sentence) or example.answer
        text = self.prompter.continuation(example.query, answer)
        return [*self._writer.encode(text), *self._end()]

    def _end(self) -> list[int]:
        end = self.model.generation_config.eos_token_id
        return [end[0] if isinstance(end, list) else end] if end is not None else []

    def _empty_answer(self) -> list[int]:
        return self._end() or self._writer.encode("\n")

    # -- evaluation and checkpoints ----------------------------------------------------------

    def _evaluate_and_save(self, loss: float) -> None:
        found = self.evaluate()
        # without the kind that fit_abstention_penalties leaves out
        each = {kind: r.share for kind, r in found.items()}
        shares = [share for kind, share in each.items() if kind != SAME_ANSWER_LOCALITY]
        score = sum(shares) / len(shares)
        self.history.append({"step": self.step, "loss": loss, "mean": score, **each})
        log.info("step %d, tune: %s", self.step, self.history[-1])
        self.evals_without_gain = 0 if score > self.best_score else self.evals_without_gain + 1
        if score >= self.best_score:  # of equals the one trained longer
            self.best_score = score
            self._write(BEST_FILE, self._tensors())
        checkpoint.save(self.out / CHECKPOINT_FILE, self.model, [self.optimizer], self._note())

    def _note(self) -> dict[str, Any]:
        """Return the state of the run, under the keys of checkpoints of errata 0.1, too."""
        return {
            "step": self.step, "seconds": self.seconds, "best": self.best_score,
            "waited": self.evals_without_gain, "history": self.history,
            "settings": asdict(self.config), "base": fingerprint(self.base),
            "facts": self.source.digest, "blocks": self._blocks,
            "texts": self.texts and self.texts.digest,
            "begun": self._started_from and self._started_from["weights"],
        }  # fmt: skip

    def resume(self) -> bool:
        """Load the last checkpoint of the same settings, base and facts, if there is one.

        :return: whether there is one.
        :raises ErrataError: the checkpoint is damaged, or of another run.
        """
        path = self.out / CHECKPOINT_FILE
        if not path.is_file():
            return False
        note, this = checkpoint.read_note(path), self._note()
        if "settings" in note:
            stored = note["settings"]
            renamed = {SETTINGS_OF_0_1.get(k, k): value for k, value in stored.items()}
            # how many examples are evaluated does not change how a step trains
            note["settings"] = {
                "chat": False,
                "decision_weight": self.config.decision_weight if not self.config.chat else 0.0,
                **renamed,
                "eval_examples": self.config.eval_examples,
            }
        keys = ("settings", "base", "facts", "texts", "begun", "blocks")
        different = [key for key in keys if note.get(key, this[key]) != this[key]]
        if different:
            raise ErrataError(
                f"{path}: expected a run of these settings on this base model and these facts, "
                f"found other {', '.join(different)}; move it away, or name another --out"
            )
        checkpoint.load(path, self.model, [self.optimizer])
        self.step, self.seconds, self.history = note["step"], note["seconds"], note["history"]
        self.best_score, self.evals_without_gain = note["best"], note["waited"]
        return True

    def remove_checkpoints(self) -> None:
        """Remove the files that only an interrupted run needs."""
        for name in (CHECKPOINT_FILE, BEST_FILE):
            (self.out / name).unlink(missing_ok=True)

    def _tensors(self) -> dict[str, Any]:
        import torch

        dtype = torch.float16 if self.config.kind == "adapter" else torch.float32
        return {k: p.detach().to("cpu", dtype).contiguous() for k, p in self._trainable.items()}

    def _write(self, name: str, tensors: dict[str, Any]) -> None:
        from safetensors.torch import save

        self.out.mkdir(parents=True, exist_ok=True)
        write_atomically(self.out / name, save(tensors))

    def _restore_best(self) -> None:
        import torch
        from safetensors.torch import load_file

        if not (self.out / BEST_FILE).is_file():
            self._write(BEST_FILE, self._tensors())
        stored = load_file(self.out / BEST_FILE)
        with torch.no_grad():
            for name, parameter in self._trainable.items():
                parameter.copy_(stored[name])

    def _half_precision(self) -> GenerativeModel:
        """Return the model as it is stored, in half precision."""
        import torch

        model: GenerativeModel = self.model
        if model.dtype == torch.float32:
            model = torch.nn.Module.half(copy.deepcopy(model))
        return model

    def store(
        self, found: dict[str, Rate], data: str, files: Mapping[str, str] | None = None
    ) -> None:
        """Write the trained reasoner and its card into the run's folder.

        :param found: rates on tune subjects, for the card.
        :param data: name of the training data, for the card.
        :param files: SHA-256 of further files of training data, by name, for the card.
        """
        if self.config.kind == "adapter":
            from peft import get_peft_model_state_dict

            state = get_peft_model_state_dict(self._peft_model)
            self._write(ADAPTER_FILE, {k: v.half().contiguous() for k, v in state.items()})
            file = ADAPTER_FILE
        else:
            self._half_precision().save_pretrained(self.out)
            self.model_tokenizer.save_pretrained(self.out)
            file = MODEL_FILE
        digest = hashlib.sha256((self.out / file).read_bytes()).hexdigest()
        ReasonerCard(
            kind=self.config.kind,
            base=fingerprint(self.base),
            weights=digest,
            file=file,
            chat=self.prompter.chat,
            form=self._form,
            says=self.config.chat and self.texts is not None,
            lora=self.config.lora if self.config.kind == "adapter" else {},
            abstention=self.abstention,
            training={
                **asdict(self.config), "data": data, "data_sha256": self.source.digest,
                **({"texts_sha256": self.texts.digest} if self.texts else {}),
                **({"files": dict(files), "terms": TERMS} if files else {}),
                "steps_taken": self.step, "started_from": self._started_from,
                "seconds": round(self.seconds), "history": self.history,
                **({"blocks": self._blocks} if self._blocks else {}),
            },
            figures={kind: asdict(rate) for kind, rate in found.items()},
        ).write(self.out)  # fmt: skip
