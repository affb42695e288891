"""``errata gate train``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from errata.cache.errors import ErrataError
from errata.commands.config import Config, on_command_line, read_config, read_settings
from errata.commands.options import AsJson
from errata.commands.output import print_json, print_line, reports_errors

if TYPE_CHECKING:
    from errata.gates.artifact import GateArtifact
    from errata.gates.embedding import EmbeddingGate


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of ``errata gate train``, the keys of its ``--config``.

    :param pairs: files of labelled question pairs, JSON lines a, b, same; may be gzipped.
    :param open_questions: a file of questions out of any scope, JSON lines; may be gzipped.
    :param background: a file of facts (relation, subject, object) that fill the cache while the
        thresholds are picked, such as T-REx.
    :param patterns: a file of the statements of these facts' relations (relation, pattern); with
        it, facts in statements and clozes are trained on.
    :param pairs_share: share of question pairs, if there are any, of what is read.
    :param kind: ``classifier``, or ``serac``, the published gate.
    :param without_pairs: whether to refuse question pairs, so that the gate is free of their terms.
    :param loss: ``bce``, balanced cross-entropy, or ``nce``, InfoNCE.
    :param steps: of the cross-encoder; 0 keeps the start's, and without a start leaves it out.
    :param batch_size: pairs a step.
    :param learning_rate: peak rate of the cross-encoder.
    :param validate_every: steps between validations.
    :param start: a gate, by name or folder, whose cross-encoder is trained further.
    :param trial_size: facts asked about, some 35 questions each, while the thresholds are picked.
    :param threads: of torch; 0 is torch's default.
    :param seed: of everything drawn.
    :param encoder: a sentence encoder, by path or hub id; by default the packaged one.
    :param base_model: the model whose agreement lowers the threshold, or ``none``.
    """

    pairs: tuple[Path, ...] = ()
    open_questions: Path | None = None
    background: Path | None = None
    patterns: Path | None = None
    pairs_share: float = 0.85
    kind: Literal["classifier", "serac"] = "classifier"
    without_pairs: bool = False
    loss: Literal["bce", "nce"] = "bce"
    steps: int = 5000
    batch_size: int = 32
    learning_rate: float = 1e-4
    validate_every: int = 400
    start: str | None = None
    trial_size: int = 200
    threads: int = 0
    seed: int = 0
    encoder: str | None = None
    base_model: str = "atlas"


DEFAULT = TrainSettings()
MOVED = {
    "open_questions": "open_questions", "background": "background",
    "without_pairs": "without_pairs", "loss": "loss", "batch": "batch_size",
    "rate": "learning_rate", "every": "validate_every", "threads": "threads",
    "encoder": "encoder", "model": "base_model",
}  # fmt: skip
"""Options of version 0.1 and the keys of ``--config`` that replace them."""
_TWO_STAGES = (
    "start", "loss", "steps", "batch_size", "learning_rate", "validate_every", "base_model",
    "background", "patterns", "pairs_share", "trial_size",
)  # fmt: skip
"""Settings without a meaning for the published gate, which has one stage."""
_CROSS_ENCODER = ("loss", "batch_size", "learning_rate", "validate_every", "pairs_share")
"""Settings of the cross-encoder's training."""
_OPTIONS = ("pairs", "kind", "start", "steps", "seed")

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write the gate to.")]
Pairs = Annotated[
    list[Path] | None,
    typer.Option("--pairs", help="Labelled question pairs, .jsonl or .gz (may be repeated)."),
]
Kind = Annotated[str, typer.Option("--kind", help="classifier, or serac (published, a control).")]
Steps = Annotated[
    int, typer.Option("--steps", min=0, help="Of the cross-encoder; 0: the start's, or none.")
]
Start = Annotated[
    str | None,
    typer.Option("--start", metavar="GATE", help="A gate whose cross-encoder to train further."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything drawn.")]
_HIDDEN = typer.Option(hidden=True)


@reports_errors
def train_gate(
    context: typer.Context,
    out: Out,
    config: Config = None,
    pairs: Pairs = None,
    kind: Kind = DEFAULT.kind,
    start: Start = None,
    steps: Steps = DEFAULT.steps,
    seed: Seed = DEFAULT.seed,
    as_json: AsJson = False,
    open_questions: Annotated[Path | None, _HIDDEN] = None,
    background: Annotated[Path | None, _HIDDEN] = None,
    without_pairs: Annotated[bool, _HIDDEN] = False,
    loss: Annotated[str, _HIDDEN] = DEFAULT.loss,
    batch: Annotated[int, _HIDDEN] = DEFAULT.batch_size,
    rate: Annotated[float, _HIDDEN] = DEFAULT.learning_rate,
    every: Annotated[int, _HIDDEN] = DEFAULT.validate_every,
    threads: Annotated[int, _HIDDEN] = DEFAULT.threads,
    encoder: Annotated[str | None, _HIDDEN] = None,
    model: Annotated[str, _HIDDEN] = DEFAULT.base_model,
) -> None:
    """Train a gate on the train subjects of the facts table, and on question pairs of your own.

    The regressions take minutes; the cross-encoder reads some 30 pairs a
    second on one core, and an interrupted run is resumed. Keys of --config:
    pairs, pairs_share, open_questions, background, patterns, kind,
    without_pairs, loss, trial_size, steps, batch_size, learning_rate,
    validate_every, start, threads, seed, encoder, base_model.

    Example:
        errata gate train --out gate/ --pairs pairs.jsonl
        errata gate train --out gate/ --pairs ours.jsonl --start default --steps 500
        errata gate train --out gate/ --config gate.yaml
    """
    options = on_command_line(context, MOVED, without=("out", "config", "as_json"))
    settings = read_settings(TrainSettings, config, options)
    names = [field.name for field in fields(TrainSettings)]
    given = {*options, *({} if config is None else read_config(config, names))}
    _check(settings, given)
    trained = _train(out, settings, progress=not as_json)
    if as_json:
        print_json({"out": str(out), "card": trained.card})
    else:
        print_line(f"{out}: trained in {trained.card['seconds']} s; card.json has data and metrics")


def _train(out: Path, settings: TrainSettings, *, progress: bool) -> GateArtifact | EmbeddingGate:
    from errata.commands.opening import open_base_answers, open_encoder
    from errata.gates.load import gate_folder
    from errata.gates.training.cross_encoder import CrossEncoderConfig
    from errata.gates.training.embedding import train_serac
    from errata.gates.training.train import TrainingConfig, train
    from errata.reasoners.training.serac import SeracConfig

    if settings.threads:
        import torch

        torch.set_num_threads(settings.threads)
    cross = CrossEncoderConfig(
        settings.loss,
        seed=settings.seed,
        steps=settings.steps,
        batch=settings.batch_size,
        rate=settings.learning_rate,
        every=settings.validate_every,
    )
    config = TrainingConfig(
        seed=settings.seed, pairs_share=settings.pairs_share, trial_size=settings.trial_size,
        cross=cross if settings.steps else None,
    )  # fmt: skip
    shared: dict[str, Any] = {
        "pairs": settings.pairs, "open_questions": settings.open_questions,
        "encoder": open_encoder(settings.encoder, english_only=True), "config": config,
        "progress": progress,
    }  # fmt: skip
    if settings.kind == "serac":
        sizes = replace(SeracConfig().gate, seed=settings.seed)
        return train_serac(out, **(shared | {"config": sizes}))
    return train(
        out,
        **shared,
        start=settings.start and gate_folder(settings.start),
        base_answers=open_base_answers(settings.base_model),
        background=settings.background,
        patterns=settings.patterns,
    )


def _check(settings: TrainSettings, given: Collection[str]) -> None:
    """Raise an error where settings contradict one another, before anything is loaded.

    :param given: the settings that are not left at their defaults.
    """
    for name in ("batch_size", "validate_every", "trial_size"):
        if getattr(settings, name) < 1:
            raise ErrataError(f"expected {name} of at least 1, found {getattr(settings, name)}")
    if not 0 <= settings.pairs_share <= 1:
        raise ErrataError(f"expected pairs_share from 0 to 1, found {settings.pairs_share}")
    for name in ("steps", "learning_rate", "threads"):
        if getattr(settings, name) < 0:
            raise ErrataError(f"expected {name} of at least 0, found {getattr(settings, name)}")
    wrong = [f"--{name}" if name in _OPTIONS else name for name in _TWO_STAGES if name in given]
    if settings.kind == "serac" and wrong:
        raise ErrataError(
            f"expected {' and '.join(wrong)} with --kind classifier only: the published gate has "
            "one stage, a loss of its own and a threshold of one half, found --kind serac; leave "
            f"{'it' if len(wrong) == 1 else 'them'} out"
        )
    unused = [name for name in _CROSS_ENCODER if name in given]
    if not settings.steps and unused:
        raise ErrataError(
            f"expected {' and '.join(unused)} with --steps above 0 only, which train a "
            "cross-encoder, found --steps 0; leave "
            f"{'it' if len(unused) == 1 else 'them'} out, or give it steps"
        )
    if settings.without_pairs:
        _check_without_pairs(settings)


def _check_without_pairs(settings: TrainSettings) -> None:
    """Raise an error for question pairs, and for a start that was trained on some."""
    from errata.gates.artifact import read_cross
    from errata.gates.load import gate_folder

    if settings.pairs:
        raise ErrataError("expected --pairs or without_pairs, found both; leave one out")
    if settings.start is None:
        return
    pairs = read_cross(gate_folder(settings.start))[1].get("pairs", "unknown")
    if pairs != "none":
        raise ErrataError(
            f"{settings.start}: expected a start trained without question pairs, as without_pairs "
            f"asks for, found pairs: {pairs} in its card; start from another gate, such as clear, "
            "or leave one of the two out"
        )


@reports_errors
def fit_examples(
    gate: Annotated[str, typer.Argument(help="A gate, by name or folder.")],
    out: Out,
    intents: Annotated[Path, typer.Option(help="Requests: source, text, intent.")],
    paragraphs: Annotated[Path, typer.Option(help="Rewordings: question, rephrase.")],
    facts: Annotated[Path, typer.Option(help="Facts: relation, subject, object.")],
    patterns: Annotated[Path, typer.Option(help="Patterns: relation, pattern.")],
    pairs: Annotated[
        Path | None, typer.Option(help="Question pairs the gate has not seen: a, b, same.")
    ] = None,
    open_questions: Annotated[
        Path | None, typer.Option(help="Questions out of scope of all requests: question.")
    ] = None,
    false_rate: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="Near pairs that may fire wrongly, a share.")
    ] = 0.015,
    without: Annotated[
        str, typer.Option(help="Inputs to leave out, separated by commas, for an ablation.")
    ] = "",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit how a trained gate combines its score with the examples that patches list.

    Logistic regressions, for facts, topics and claims, minutes; no network is
    trained. All files are JSON lines, or these gzipped.

    Example:
        errata gate fit-examples clear --out gate/ --intents intents.jsonl.gz
        --paragraphs paragraphs.jsonl.gz --facts facts.jsonl.gz --patterns patterns.jsonl.gz
    """
    from errata.gates.artifact import GateArtifact
    from errata.gates.load import default_encoder, gate_folder
    from errata.gates.training.example_groups import ExampleData
    from errata.gates.training.examples import fit_examples as fit

    artifact = GateArtifact.load(gate_folder(gate))
    data = ExampleData(
        intents,
        paragraphs,
        facts,
        patterns,
        pairs,
        open_questions,
        false_rate=false_rate,
        seed=seed,
        without=tuple(name for name in without.split(",") if name),
    )
    fitted = fit(artifact, default_encoder(), data, lambda what: print_line(what, stderr=True))
    fitted.save(out)
    if as_json:
        found = fitted.examples
        print_json({"out": str(out), "examples": None if found is None else found.as_json()})
    else:
        print_line(f"{out}: fitted")
