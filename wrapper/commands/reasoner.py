"""``errata reasoner train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from errata.commands.options import AsJson
from errata.commands.output import print_json, print_line, reports_errors
from errata.commands.progress import working

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import PreTrainedTokenizerBase

    from errata.facts import FactSource
    from errata.generation.base_model import GenerativeModel
    from errata.intervals import Rate
    from errata.reasoners.data.texts import RealTexts
    from errata.reasoners.training.train import ReasonerTrainer

Model = Annotated[str, typer.Option("--model", help="Folder, hub id, atlas, or smollm2.")]
Facts = Annotated[
    Path | None,
    typer.Option("--facts", metavar="DIR", help="Your facts.tsv, templates.yaml, aliases.tsv."),
]

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Checkpoints and reasoner.")]
Kind = Annotated[str, typer.Option("--kind", help="adapter, or model (a separate one).")]
Start = Annotated[
    str | None, typer.Option("--start", help="A model, or an adapter's folder, to begin from.")
]
Blocks = Annotated[
    str | None,
    typer.Option("--blocks", help="Or the model's own blocks to begin from, such as 0,1,6."),
]
Data = Annotated[
    list[Path] | None,
    typer.Option("--data", metavar="FILE", help="JSON lines for a chat model; repeatable."),
]


@reports_errors
def train_reasoner(
    out: Out,
    model: Model = "atlas",
    facts: Facts = None,
    kind: Kind = "adapter",
    start: Start = None,
    blocks: Blocks = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="At most.")] = 6000,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Examples a step.")] = 32,
    rate: Annotated[float, typer.Option("--rate", min=0.0, help="Peak learning rate.")] = 1.2e-3,
    rank: Annotated[int, typer.Option("--rank", min=1, help="Of the adapter.")] = 64,
    every: Annotated[int, typer.Option("--every", min=1, help="Steps between evaluations.")] = 500,
    each: Annotated[int, typer.Option("--each", min=1, help="Examples a kind to evaluate.")] = 60,
    seed: Annotated[int, typer.Option("--seed", help="Of all draws.")] = 0,
    threads: Annotated[int, typer.Option("--threads", help="0: as torch chooses.")] = 0,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Train a model to answer from the edits in its context; resumes an interrupted run.

    For a chat model answers are sentences. Files of --data are known by the keys of their rows:
    relation, subject, object (T-REx); relation, pattern (ParaRel); a, b, same (question pairs);
    question, answers; text, intent. Their subjects and questions are split by hash.

    Example:
        errata reasoner train --model atlas --out runs/reasoner
        errata reasoner train --model Qwen/Qwen2.5-0.5B-Instruct --facts facts/ --out runs/ours
        errata reasoner train --start runs/ours --out runs/more --steps 2000 --rate 7e-4
        errata reasoner train --kind model --blocks 0,1,6 --out runs/small
    """
    import torch

    from errata.reasoners.evaluation.chat_report import digests
    from errata.reasoners.prompts import has_chat_template
    from errata.reasoners.training.config import TrainingConfig
    from errata.reasoners.training.train import ReasonerTrainer

    _check_training(kind, start, blocks, out)
    if threads:
        torch.set_num_threads(threads)
    with working("loading the model"):
        base, tokenizer, source, texts = load_model_and_data(model, facts, data or [])
    config = TrainingConfig(
        kind="adapter" if kind == "adapter" else "model", seed=seed, steps=steps, batch_size=batch,
        learning_rate=rate, warmup=min(100, max(1, steps // 12)), rank=rank, eval_steps=every,
        eval_examples=each,
        chat=kind == "adapter" and has_chat_template(tokenizer),
    )  # fmt: skip
    numbers = block_numbers(blocks) if blocks else []
    separate = _separate_model(base, tokenizer, start, numbers) if kind == "model" else None
    adapter = Path(start) if kind == "adapter" and start is not None else None
    trainer = ReasonerTrainer(
        base, tokenizer, source, out, config, separate, adapter, numbers, texts
    )
    trainer.resume()
    found = trainer.train(progress=not as_json)
    files = {path.name: digest for path, digest in digests(data or []).items()}
    trainer.store(found, "the facts table of errata" if facts is None else str(facts), files)
    _show(trainer, found, out, as_json=as_json)


def load_model_and_data(
    model: str, facts: Path | None, data: Sequence[Path]
) -> tuple[GenerativeModel, PreTrainedTokenizerBase, FactSource, RealTexts | None]:
    """Return the base model, its tokenizer, the facts, and the real texts of the data files."""
    from errata.facts import FactSource
    from errata.models.load import load_base
    from errata.reasoners.data.files import load_training_data

    source, texts = load_training_data(FactSource.load(facts), data)
    base, tokenizer = load_base(model, **precision_for(model))
    return base, tokenizer, source, texts


def _separate_model(
    base: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    start: str | None,
    numbers: Sequence[int],
) -> tuple[GenerativeModel, PreTrainedTokenizerBase]:
    """Return the model and tokenizer that a separate reasoner begins from.

    :param base: the base model.
    :param tokenizer: its tokenizer.
    :param start: a model to load; None for blocks of the base model.
    :param numbers: of those blocks.
    """
    from errata.models.load import load_base
    from errata.reasoners.training.prune_layers import prune_layers

    if start is not None:
        with working("loading the model to begin from"):
            return load_base(start, **precision_for(start))
    return prune_layers(base, tokenizer, numbers)


def precision_for(model: str) -> dict[str, Any]:
    """Return the option of ``load_base`` for the dtype that a machine computes fast and well in.

    Half precision on a GPU. On a CPU it trains badly, and without instructions for it (AVX512-BF16)
    a product of matrices takes thirty times as long. Atlas has its own dtype.
    """
    import torch

    if model == "atlas":
        return {}
    return {"dtype": torch.bfloat16 if torch.cuda.is_available() else torch.float32}


def _show(trainer: ReasonerTrainer, found: Mapping[str, Rate], out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"out": str(out), "steps": trainer.step, "tune": _as_json(found)})
        return
    for name, one in found.items():
        print_line(f"{name:28s} {one.share:6.1%}  [{one.low:.1%}, {one.high:.1%}] n={one.n}")
    print_line(f"{out}: trained in {trainer.step} steps; the figures are of tune subjects")


def _check_training(kind: str, start: str | None, blocks: str | None, out: Path) -> None:
    """Raise if options contradict one another, before anything is loaded."""
    from errata.cache.errors import ErrataError

    if kind not in ("adapter", "model"):
        raise ErrataError(f"expected --kind adapter or model, found {kind!r}")
    given = [option for option in (start, blocks) if option is not None]
    if kind == "model" and len(given) != 1:
        raise ErrataError(
            "expected with --kind model either --start, the model to train, or --blocks, those of "
            f"the base model's blocks to train, found {start!r} and {blocks!r}"
        )
    if kind == "adapter" and blocks is not None:
        raise ErrataError(
            "expected --blocks with --kind model and only there, "
            f"found --kind {kind} with {blocks!r}"
        )
    if out.exists() and not out.is_dir():
        raise ErrataError(f"expected a folder at --out {out}, found a file; name another")


def block_numbers(text: str) -> list[int]:
    """Return the numbers in ``--blocks``.

    :raises ErrataError: it is no list of numbers.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        from errata.cache.errors import ErrataError

        raise ErrataError(f"expected --blocks such as 0,1,6, found {text!r}") from error


def _as_json(found: Mapping[str, Rate]) -> dict[str, Any]:
    from dataclasses import asdict

    return {kind: asdict(rate) for kind, rate in found.items()}
