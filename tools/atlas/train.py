"""Train atlas from scratch: ``make atlas``, or ``python -m tools.atlas.train``.

One sentence a row, rows bucketed by length, batches of 32, the loss of answer tokens weighted ten
times that of the others; Muon and AdamW at one rate, cosine. Seeded; resumes from its last
checkpoint; uses a GPU if there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from errata.facts.corpus import Corpus, Row
from errata.training import checkpoint
from errata.training.schedule import cosine_with_warmup
from tools.atlas.tokenizer import CONTEXT, train_tokenizer

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Settings:
    """How atlas is trained.

    :param epochs: passes over the corpus (each draws fresh phrasings).
    :param batch: rows a step.
    :param rate: peak learning rate.
    :param warmup: steps until the peak.
    :param guide: weight of the attention guidance of reading rows.
    :param question_share: share of the tokens that are not answers whose loss is computed; the
        vocabulary is a third of the work.
    """

    seed: int = 0
    layers: int = 8
    width: int = 192
    heads: int = 3
    vocabulary: int = 5600
    epochs: int = 12
    batch: int = 48
    rate: float = 1.5e-3
    warmup: int = 300
    weight_decay: float = 0.01
    question_share: float = 0.3
    guide: float = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids and loss weights.

    :param ids: int64 [rows, tokens], padded at the end.
    :param weights: float32 [rows, tokens]: weight of predicting that token.
    :param reading: whether the rows' answers are to be read from the rows themselves.
    """

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    reading: bool = False


def encode(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase
) -> list[tuple[list[int], list[float]]]:
    """Return ids and weights of each row, the end token last, cut at the context."""
    encoded = tokenizer([row.text for row in rows], return_offsets_mapping=True)
    out = []
    for row, ids, offsets in zip(
        rows, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        ends, total = [], 0
        for text, weight in row.pieces:
            total += len(text)
            ends.append((total, weight))
        weights, at = [], 0
        for start, _ in offsets:
            while start >= ends[at][0]:
                at += 1
            weights.append(ends[at][1])
        last = max(weights[-1], row.pieces[-1][1])
        out.append(([*ids, tokenizer.eos_token_id][:CONTEXT], [*weights, last][:CONTEXT]))
    return out


def batches(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, settings: Settings, epoch: int
) -> list[Batch]:
    """Return an epoch's batches: rows of like length together, in random order."""
    rng = random.Random(f"batches/{settings.seed}/{epoch}")
    draw = np.random.default_rng([settings.seed, epoch])
    made = []
    for reading in (False, True):
        encoded = encode([row for row in rows if row.reading == reading], tokenizer)
        encoded.sort(key=lambda row: len(row[0]) + rng.random() * 2)
        for start in range(0, len(encoded), settings.batch):
            chunk = encoded[start : start + settings.batch]
            batch = _padded(chunk, tokenizer.pad_token_id, settings.question_share, draw)
            made.append(replace(batch, reading=reading))
    rng.shuffle(made)
    return made


def _padded(
    chunk: Sequence[tuple[list[int], list[float]]],
    pad: int,
    share: float,
    draw: np.random.Generator,
) -> Batch:
    width = max(len(ids) for ids, _ in chunk)
    ids = np.full((len(chunk), width), pad, dtype=np.int64)
    weights = np.zeros((len(chunk), width), dtype=np.float32)
    for i, (tokens, weight) in enumerate(chunk):
        ids[i, : len(tokens)] = tokens
        weights[i, : len(weight)] = weight
    unimportant = (weights == 1.0) & (draw.random(weights.shape) > share)
    weights[unimportant] = 0.0
    weights[:, 0] = 0.0
    return Batch(ids, weights)


def build(settings: Settings, tokenizer: PreTrainedTokenizerBase) -> GPT2LMHeadModel:
    """Return the untrained model, initialised from the seed."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(settings.seed)
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=settings.width,
        n_layer=settings.layers, n_head=settings.heads, attn_pdrop=0.0, resid_pdrop=0.0,
        embd_pdrop=0.0, bos_token_id=end, eos_token_id=end, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def optimizers_of(model: GPT2LMHeadModel, settings: Settings) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the blocks and AdamW for all else.

    Muon (Jordan et al. 2024) orthogonalises the momentum of a matrix. On a fixed budget it reaches
    the loss of AdamW alone with about a third of the tokens (tried, four minutes on one core each:
    facts 3.5 against 4.3, reading 4.9 against 7.5).
    """
    import torch

    matrices = [p for name, p in model.named_parameters() if ".h." in name and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    rate, decay = settings.rate, settings.weight_decay
    return [
        # Adjusted so that its updates are as large as AdamW's and one rate serves both.
        torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=decay, fused=True),
    ]


def loss_of(
    model: GPT2LMHeadModel, batch: Batch, device: torch.device, guide: float = 0.0
) -> torch.Tensor:
    """Return the weighted mean loss; the head runs only where a token is weighed.

    :param guide: weight of the attention guidance of reading rows, see :func:`guidance`.
    """
    import torch

    ids = torch.from_numpy(batch.ids).to(device)
    weights = torch.from_numpy(batch.weights).to(device)[:, 1:]
    read = ids[:, :-1]
    guided = batch.reading and guide > 0
    # Padding stands at the end, where no token that counts looks back at it.
    out = model.transformer(read, attention_mask=torch.ones_like(read), output_attentions=guided)
    chosen = weights > 0
    logits = model.lm_head(out.last_hidden_state[chosen])
    losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:][chosen], reduction="none")
    loss = (losses * weights[chosen]).sum() / weights[chosen].sum()
    if guided:
        loss = loss + guide * guidance(out.attentions, read, ids[:, 1:], weights > 1)
    return loss


def guidance(
    attentions: Sequence[torch.Tensor],
    read: torch.Tensor,
    said: torch.Tensor,
    answers: torch.Tensor,
) -> torch.Tensor:
    """Return how far a few heads are from what copying from context is made of.

    Induction heads (Olsson et al. 2022) form late, and on a budget of an hour not at all (tried:
    none after 51 minutes): so one head of the second block is asked to look at the token before,
    and one head of each of three middle blocks to look, where an answer's token is due, at that
    token in the context.

    :param attentions: of each block, [rows, heads, tokens, tokens].
    :param read: the tokens read, [rows, tokens].
    :param said: the tokens that follow them, [rows, tokens].
    :param answers: which of those are of an answer, [rows, tokens].
    :return: mean negative log of the attention that is where it should be.
    """
    import torch

    size = read.shape[1]
    before = torch.diagonal(
        attentions[min(1, len(attentions) - 1)][:, 0], offset=-1, dim1=1, dim2=2
    )
    loss = -(before + 1e-6).log().mean()
    earlier = torch.tril(torch.ones(size, size, dtype=torch.bool, device=read.device))
    there = (said[:, :, None] == read[:, None, :]) & earlier
    copied = answers & there.any(-1)
    middle = len(attentions) // 2
    for block in range(middle, min(middle + 3, len(attentions))):
        found = (attentions[block][:, 0] * there).sum(-1)[copied]
        loss = loss - (found + 1e-6).log().sum() / max(1, len(found)) / 3
    return loss


class Run:
    """A resumable training run.

    :param out: folder of the checkpoint and, at the end, of the model.
    :param settings: how to train.
    :param start: a model to go on from, instead of a new one.
    """

    def __init__(self, out: Path, settings: Settings, start: Path | None = None) -> None:
        import torch
        from transformers import AutoTokenizer, GPT2LMHeadModel

        self.out, self.settings = out, settings
        self.note = (
            f"\n  It went on from the model `{start.name}` of an earlier run." if start else ""
        )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.corpus = Corpus(settings.seed)
        if start is None:
            texts = (row.text for row in self.corpus.epoch(-1))
            self.tokenizer: PreTrainedTokenizerBase = train_tokenizer(texts, settings.vocabulary)
            self.model = build(settings, self.tokenizer)
        else:
            self.tokenizer = AutoTokenizer.from_pretrained(start)
            self.model = GPT2LMHeadModel.from_pretrained(start, dtype=torch.float32)
        self.model.set_attn_implementation(
            "eager"
        )  # the others keep their attentions to themselves
        torch.nn.Module.to(self.model, self.device)
        self.optimizers = optimizers_of(self.model, settings)
        self.half = self.device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
        self.step, self.seconds = 0, 0.0
        self.steps = settings.epochs * math.ceil(len(self.corpus.epoch(0)) / settings.batch)

    def rate(self) -> float:
        """Return the learning rate of this step: linear warm-up, then cosine to a hundredth."""
        s = self.settings
        return cosine_with_warmup(
            self.step, steps=self.steps, warmup=s.warmup, peak=s.rate, last=0.01
        )

    def train(self) -> None:
        """Train to the end, saving a checkpoint every two minutes."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("atlas"), BarColumn(), TextColumn("{task.fields[note]}"))
        with Progress(*columns, TimeRemainingColumn()) as bar:
            task = bar.add_task("train", total=self.steps, completed=self.step, note="")
            saved = began = time.monotonic()
            for number, loss in self._steps():
                now = time.monotonic()
                bar.update(
                    task, completed=number, note=f"step {number}/{self.steps} loss {loss:.3f}"
                )
                if number % 100 == 0:
                    self._log(number, loss)
                if now - saved > 120:
                    self.seconds += now - began
                    began = saved = now
                    self.save_checkpoint()
            self.seconds += time.monotonic() - began
        self.save_checkpoint()

    def _log(self, step: int, loss: float) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(
                json.dumps({"step": step, "loss": round(loss, 4), "time": time.time()}) + "\n"
            )

    def _steps(self) -> Iterator[tuple[int, float]]:
        import torch

        self.model.train()
        seen, epoch, smooth = 0, 0, float("nan")
        while self.step < self.steps:
            todo = batches(self.corpus.epoch(epoch), self.tokenizer, self.settings, epoch)
            skip = max(0, self.step - seen)
            for batch in todo[skip:]:
                if self.step >= self.steps:
                    return
                # Half precision doubles the speed where the processor multiplies it natively.
                with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
                    loss = loss_of(self.model, batch, self.device, self.settings.guide)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                for optimizer in self.optimizers:
                    for group in optimizer.param_groups:
                        group["lr"] = self.rate()
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                self.step += 1
                value = float(loss.detach())
                smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
                yield self.step, smooth
            seen += len(todo)
            epoch += 1

    def save_checkpoint(self) -> None:
        """Write model, optimisers and step, atomically."""
        note = {"step": self.step, "seconds": self.seconds, "settings": asdict(self.settings)}
        checkpoint.save(self.out / "checkpoint.safetensors", self.model, self.optimizers, note)

    def resume(self) -> bool:
        """Take up the last checkpoint of the same settings, if there is one."""
        path = self.out / "checkpoint.safetensors"
        if not path.is_file():
            return False
        note = checkpoint.read_note(path)
        if note["settings"] != asdict(self.settings):
            sys.exit(f"{path}: made with other settings; move it away or name another --out")
        checkpoint.load(path, self.model, self.optimizers)
        self.step, self.seconds = note["step"], note["seconds"]
        return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, round to half precision, measure, write the model and its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/atlas"), help="checkpoints and model"
    )
    parser.add_argument("--model", type=Path, help="the finished model (default: OUT/model)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--start", type=Path, help="folder of a model to go on from")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    chosen = parser.parse_args(arguments)
    import torch

    from tools.atlas.card import ship

    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    settings = Settings(seed=chosen.seed, epochs=chosen.epochs, rate=chosen.rate)
    run = Run(chosen.out, settings, chosen.start)
    run.resume()
    run.train()
    ship(run, chosen.model or chosen.out / "model")


if __name__ == "__main__":
    main()
