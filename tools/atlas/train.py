"""Train atlas from scratch: ``make atlas``, or ``python -m tools.atlas.train``.

One sentence a row, rows batched by length, the loss of answer tokens weighted ten times that of
the others; Muon and AdamW at one learning rate, linear warm-up and cosine decay. Seeded; resumes
from its last checkpoint; uses a GPU if there is one.
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
class TrainConfig:
    """The architecture and training settings of atlas.

    :param epochs: passes over the corpus (each draws fresh phrasings).
    :param batch_size: rows a step.
    :param learning_rate: at its peak.
    :param warmup_steps: steps until the peak.
    :param question_share: share of the non-answer tokens whose loss is computed; the output layer
        is a third of the compute.
    :param guidance_weight: weight of :func:`attention_guidance` in the loss of reading rows.
    """

    seed: int = 0
    layers: int = 8
    hidden_size: int = 192
    heads: int = 3
    vocab_size: int = 5600
    epochs: int = 12
    batch_size: int = 48
    learning_rate: float = 1.5e-3
    warmup_steps: int = 300
    weight_decay: float = 0.01
    question_share: float = 0.3
    guidance_weight: float = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids and loss weights.

    :param ids: int64 [rows, tokens], padded on the right.
    :param weights: float32 [rows, tokens]: loss weight of predicting that token.
    :param reading: whether the answers are to be copied from the rows themselves.
    """

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    reading: bool = False


def encode(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase
) -> list[tuple[list[int], list[float]]]:
    """Return token ids and loss weights of each row, end token included, cut at the context."""
    encoded = tokenizer([row.text for row in rows], return_offsets_mapping=True)
    encoded_rows = []
    for row, ids, offsets in zip(
        rows, encoded["input_ids"], encoded["offset_mapping"], strict=True
    ):
        ends, total = [], 0
        for text, weight in row.pieces:
            total += len(text)
            ends.append((total, weight))
        weights, piece = [], 0
        for start, _ in offsets:
            while start >= ends[piece][0]:
                piece += 1
            weights.append(ends[piece][1])
        last = max(weights[-1], row.pieces[-1][1])
        encoded_rows.append(([*ids, tokenizer.eos_token_id][:CONTEXT], [*weights, last][:CONTEXT]))
    return encoded_rows


def batches(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, config: TrainConfig, epoch: int
) -> list[Batch]:
    """Return an epoch's batches: rows of similar length together, in random order."""
    rng = random.Random(f"batches/{config.seed}/{epoch}")
    dropout_rng = np.random.default_rng([config.seed, epoch])
    batched = []
    for reading in (False, True):
        encoded = encode([row for row in rows if row.reading == reading], tokenizer)
        encoded.sort(key=lambda row: len(row[0]) + rng.random() * 2)
        for start in range(0, len(encoded), config.batch_size):
            chunk = encoded[start : start + config.batch_size]
            batch = _collate(chunk, tokenizer.pad_token_id, config.question_share, dropout_rng)
            batched.append(replace(batch, reading=reading))
    rng.shuffle(batched)
    return batched


def _collate(
    chunk: Sequence[tuple[list[int], list[float]]],
    pad_id: int,
    question_share: float,
    rng: np.random.Generator,
) -> Batch:
    """Pad rows to one width and drop the loss of a random share of the question tokens."""
    width = max(len(ids) for ids, _ in chunk)
    ids = np.full((len(chunk), width), pad_id, dtype=np.int64)
    weights = np.zeros((len(chunk), width), dtype=np.float32)
    for i, (tokens, weight) in enumerate(chunk):
        ids[i, : len(tokens)] = tokens
        weights[i, : len(weight)] = weight
    dropped = (weights == 1.0) & (rng.random(weights.shape) > question_share)
    weights[dropped] = 0.0
    weights[:, 0] = 0.0
    return Batch(ids, weights)


def build_model(config: TrainConfig, tokenizer: PreTrainedTokenizerBase) -> GPT2LMHeadModel:
    """Return the untrained model, initialised from the seed."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(config.seed)
    end = tokenizer.eos_token_id
    architecture = GPT2Config(
        vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=config.hidden_size,
        n_layer=config.layers, n_head=config.heads, attn_pdrop=0.0, resid_pdrop=0.0,
        embd_pdrop=0.0, bos_token_id=end, eos_token_id=end, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return GPT2LMHeadModel(architecture)


def build_optimizers(model: GPT2LMHeadModel, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return Muon for the weight matrices of the blocks and AdamW for all other parameters.

    Muon (Jordan et al. 2024) orthogonalises the momentum of a matrix. On a fixed budget it reaches
    the loss of AdamW alone with about a third of the tokens (measured, four minutes on one core
    each: loss of facts 3.5 against 4.3, of reading 4.9 against 7.5).
    """
    import torch

    matrices = [p for name, p in model.named_parameters() if ".h." in name and p.ndim == 2]
    in_matrices = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in in_matrices]
    lr, decay = config.learning_rate, config.weight_decay
    return [
        # match_rms_adamw scales Muon's updates to AdamW's size, so both share a learning rate.
        torch.optim.Muon(matrices, lr=lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=decay, fused=True),
    ]


def batch_loss(
    model: GPT2LMHeadModel, batch: Batch, device: torch.device, guidance_weight: float = 0.0
) -> torch.Tensor:
    """Return the weighted mean cross-entropy; logits are computed only where the weight is above 0.

    :param guidance_weight: weight of :func:`attention_guidance`, for reading rows.
    """
    import torch

    ids = torch.from_numpy(batch.ids).to(device)
    weights = torch.from_numpy(batch.weights).to(device)[:, 1:]
    inputs, targets = ids[:, :-1], ids[:, 1:]
    guided = batch.reading and guidance_weight > 0
    # No padding mask: padding is on the right, so causal attention hides it from weighted tokens.
    out = model.transformer(
        inputs, attention_mask=torch.ones_like(inputs), output_attentions=guided
    )
    weighted = weights > 0
    logits = model.lm_head(out.last_hidden_state[weighted])
    losses = torch.nn.functional.cross_entropy(logits, targets[weighted], reduction="none")
    loss = (losses * weights[weighted]).sum() / weights[weighted].sum()
    if guided:
        guidance = attention_guidance(out.attentions, inputs, targets, weights > 1)
        loss = loss + guidance_weight * guidance
    return loss


def attention_guidance(
    attentions: Sequence[torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    is_answer: torch.Tensor,
) -> torch.Tensor:
    """Return an auxiliary loss that makes a few heads copy from the context.

    Induction heads (Olsson et al. 2022) form late, and within an hour's budget not at all
    (measured: none after 51 minutes). So one head of the second block is trained to attend to the
    previous token, and one head of each of three middle blocks to attend, where the target is an
    answer token, to earlier occurrences of that token.

    :param attentions: of each block, [rows, heads, tokens, tokens].
    :param inputs: input token ids, [rows, tokens].
    :param targets: next token ids, [rows, tokens].
    :param is_answer: whether the target belongs to an answer, bool [rows, tokens].
    :return: mean negative log of the attention at the wanted positions.
    """
    import torch

    size = inputs.shape[1]
    to_previous = torch.diagonal(
        attentions[min(1, len(attentions) - 1)][:, 0], offset=-1, dim1=1, dim2=2
    )
    loss = -(to_previous + 1e-6).log().mean()
    causal = torch.tril(torch.ones(size, size, dtype=torch.bool, device=inputs.device))
    matches = (targets[:, :, None] == inputs[:, None, :]) & causal
    copied = is_answer & matches.any(-1)
    middle = len(attentions) // 2
    for block in range(middle, min(middle + 3, len(attentions))):
        to_matches = (attentions[block][:, 0] * matches).sum(-1)[copied]
        loss = loss - (to_matches + 1e-6).log().sum() / max(1, len(to_matches)) / 3
    return loss


class Run:
    """A resumable training run.

    :param out: folder of the checkpoint and of the finished model.
    :param config: architecture and training settings.
    :param start: folder of a model to continue from; None trains a new one.
    """

    def __init__(self, out: Path, config: TrainConfig, start: Path | None = None) -> None:
        import torch
        from transformers import AutoTokenizer, GPT2LMHeadModel

        self.out, self.config = out, config
        self.note = f"\n  It continued from the model `{start.name}`." if start else ""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.corpus = Corpus(config.seed)
        if start is None:
            texts = (row.text for row in self.corpus.epoch(-1))
            self.tokenizer: PreTrainedTokenizerBase = train_tokenizer(texts, config.vocab_size)
            self.model = build_model(config, self.tokenizer)
        else:
            self.tokenizer = AutoTokenizer.from_pretrained(start)
            self.model = GPT2LMHeadModel.from_pretrained(start, dtype=torch.float32)
        self.model.set_attn_implementation("eager")  # the only one that returns attentions
        torch.nn.Module.to(self.model, self.device)
        self.optimizers = build_optimizers(self.model, config)
        self.use_bfloat16 = self.device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
        self.step, self.seconds = 0, 0.0
        self.steps = config.epochs * math.ceil(len(self.corpus.epoch(0)) / config.batch_size)

    def learning_rate(self) -> float:
        """Return the learning rate of this step: linear warm-up, then cosine to a hundredth."""
        return cosine_with_warmup(
            self.step,
            steps=self.steps,
            warmup=self.config.warmup_steps,
            peak=self.config.learning_rate,
            last=0.01,
        )

    def train(self) -> None:
        """Train to the end, saving a checkpoint every two minutes."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("atlas"), BarColumn(), TextColumn("{task.fields[note]}"))
        with Progress(*columns, TimeRemainingColumn()) as bar:
            task = bar.add_task("train", total=self.steps, completed=self.step, note="")
            saved = resumed = time.monotonic()
            for number, loss in self._steps():
                now = time.monotonic()
                bar.update(
                    task, completed=number, note=f"step {number}/{self.steps} loss {loss:.3f}"
                )
                if number % 100 == 0:
                    self._log(number, loss)
                if now - saved > 120:
                    self.seconds += now - resumed
                    resumed = saved = now
                    self.save_checkpoint()
            self.seconds += time.monotonic() - resumed
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
        seen, epoch, mean_loss = 0, 0, float("nan")
        while self.step < self.steps:
            epoch_batches = batches(self.corpus.epoch(epoch), self.tokenizer, self.config, epoch)
            skip = max(0, self.step - seen)
            for batch in epoch_batches[skip:]:
                if self.step >= self.steps:
                    return
                # bfloat16 doubles the speed on processors with native support.
                with torch.autocast(
                    self.device.type, dtype=torch.bfloat16, enabled=self.use_bfloat16
                ):
                    loss = batch_loss(self.model, batch, self.device, self.config.guidance_weight)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                for optimizer in self.optimizers:
                    for group in optimizer.param_groups:
                        group["lr"] = self.learning_rate()
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                self.step += 1
                value = float(loss.detach())
                mean_loss = value if math.isnan(mean_loss) else 0.98 * mean_loss + 0.02 * value
                yield self.step, mean_loss
            seen += len(epoch_batches)
            epoch += 1

    def save_checkpoint(self) -> None:
        """Write model, optimisers and step, atomically."""
        note = {"step": self.step, "seconds": self.seconds, "settings": asdict(self.config)}
        checkpoint.save(self.out / "checkpoint.safetensors", self.model, self.optimizers, note)

    def resume(self) -> bool:
        """Load the last checkpoint, if there is one; return whether there was.

        :raises SystemExit: the checkpoint was made with other settings.
        """
        path = self.out / "checkpoint.safetensors"
        if not path.is_file():
            return False
        note = checkpoint.read_note(path)
        if note["settings"] != asdict(self.config):
            sys.exit(f"{path}: made with other settings; move it away or name another --out")
        checkpoint.load(path, self.model, self.optimizers)
        self.step, self.seconds = note["step"], note["seconds"]
        return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, convert to half precision, measure recall, and write the model with its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/atlas"), help="checkpoints and model"
    )
    parser.add_argument("--model", type=Path, help="the finished model (default: OUT/model)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3, help="at its peak")
    parser.add_argument("--start", type=Path, help="folder of a model to continue from")
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    options = parser.parse_args(arguments)
    import torch

    from tools.atlas.card import export

    if options.threads:
        torch.set_num_threads(options.threads)
    config = TrainConfig(
        seed=options.seed, epochs=options.epochs, learning_rate=options.learning_rate
    )
    run = Run(options.out, config, options.start)
    run.resume()
    run.train()
    export(run, options.model or options.out / "model")


if __name__ == "__main__":
    main()
