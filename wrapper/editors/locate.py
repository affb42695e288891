"""Search for an editor's layer and settings: causal tracing, and trial edits at every layer.

The layer that tracing points to and the layer that is best to edit may differ (Hase et al. 2023,
https://arxiv.org/abs/2301.04213), so the trial edits decide; tracing is shown for information.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import harmonic_mean
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError, MissingExtra
from errata.cache.records import Fact
from errata.cache.text.subject import subject_of
from errata.editing.changes import applied
from errata.editors.shared.located import LocatedEditor
from errata.editors.shared.prompts import Target, batch_of, forms_of
from errata.editors.shared.tracing import CausalTrace, trace
from errata.module_paths import module_paths_of
from errata.registry import load

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

ANSWER_TOKENS = 12
SWEPT = {
    "rome": ("layer", "clamp_norm_factor"),
    "memit": ("layers", "clamp_norm_factor"),
    "alphaedit": ("layers", "clamp_norm_factor"),
    "ultraedit": ("down", "learning_rate"),
    "grace": ("layer", "radius"),
    "wise": ("layer", "learning_rate"),
}
"""Of each editor whose layer can be searched for: the setting of the layer, and one more."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fact for a trial edit, with the unedited model's answers.

    :param fact: question, new answer, and tests: ``fires`` are paraphrases, ``silent`` neighbours.
    :param old: the model's answer to the question.
    :param neighbours: the neighbours' questions with the model's answers.
    """

    fact: Fact
    old: str
    neighbours: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """Result of an editor at one layer with one setting, mean over facts, by likelihood.

    :param layer: from 0.
    :param clamp: ``clamp_norm_factor``; of UltraEdit and WISE the learning rate, of GRACE the
        radius.
    :param nll: of the new answers in the search for the value, in nats; 0 without a search.
    :param efficacy: share of edits after which the new answer is more likely than the old one.
    :param generality: the same on paraphrases; None where there are none.
    :param locality: share of neighbours whose answer stays more likely than the new one; None
        where there are none.
    :param facts: number of edits tried.
    """

    layer: int
    clamp: float
    nll: float
    efficacy: float
    generality: float | None
    locality: float | None
    facts: int

    @property
    def score(self) -> float:
        """Harmonic mean of the three, 0 to 1."""
        defined = [x for x in (self.efficacy, self.generality, self.locality) if x is not None]
        return harmonic_mean(defined)


@dataclass(frozen=True, slots=True)
class LocateResult:
    """Result of :mod:`errata.editors.locate` for a model.

    :param traced: causal tracing.
    :param trials: in order of layer and clamp.
    """

    traced: CausalTrace
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The trial with the highest score; of equals, the one with the lowest loss."""
        return max(self.trials, key=lambda trial: (trial.score, -trial.nll))


def cases_of(
    model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, facts: Sequence[Fact]
) -> list[Case]:
    """Return the facts that can be tried, with the model's answers.

    Facts without a subject in the question, and those the model already answers as edited, are
    left out.

    :param model: the model, unedited.
    :param tokenizer: its tokenizer.
    :param facts: their tests measure generality and locality.
    :raises EditError: no fact can be tried.
    """
    usable = [fact for fact in facts if load("errata.editors", "rome")().supports(fact)]
    found = []
    for fact in usable:
        questions = [fact.question, *fact.tests.silent]
        old, *others = [answer_of(model, tokenizer, question) for question in questions]
        if old and old != fact.answer:
            known = zip(fact.tests.silent, others, strict=True)
            found.append(Case(fact, old, tuple((q, a) for q, a in known if a and a != fact.answer)))
    if not found:
        raise EditError(
            f"expected facts with a subject that the model answers otherwise, found none among "
            f"{len(facts)}; give patches with other answers than its own (errata ask --no-edits)"
        )
    return found


def answer_of(model: GenerativeModel, tokenizer: PreTrainedTokenizerBase, question: str) -> str:
    """Return the first line of the model's greedy answer, at most 12 tokens."""
    import torch

    from errata.generation.chat import render_prompt, tokenize_prompts
    from errata.generation.request import AnswerWriter

    prompt = render_prompt(question, tokenizer)
    pad = tokenizer.pad_token_id
    pad = 0 if pad is None else int(pad)
    ids, mask = (
        tensor.to(model.device) for tensor in tokenize_prompts([prompt], tokenizer, pad, left=True)
    )
    with torch.no_grad():
        row = model.generate(
            ids, attention_mask=mask, max_new_tokens=ANSWER_TOKENS, do_sample=False,
            num_beams=1, pad_token_id=pad,
        )[0]  # fmt: skip
    start = 1 if model.config.is_encoder_decoder else ids.shape[1]
    answer = AnswerWriter(tokenizer).decode(row[start:].tolist()).strip()
    return answer.split("\n")[0].strip()


def traced(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    cases: Sequence[Case],
    **options: Any,
) -> CausalTrace:
    """Return the causal tracing of the model's answers.

    :param options: of :func:`errata.editors.shared.tracing.trace`.
    """
    targets = [Target(c.fact.question, subject_of(c.fact), c.old) for c in cases]
    return trace(model, tokenizer, targets, **options)


def trials(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    cases: Sequence[Case],
    *,
    backend: str = "rome",
    layers: Sequence[int] | None = None,
    clamps: Sequence[float] | None = None,
    **options: Any,
) -> Iterator[Trial]:
    """Try every case at every layer and setting, one edit at a time; the model is not changed.

    :param model: the model.
    :param tokenizer: its tokenizer.
    :param cases: what to edit.
    :param backend: a key of :data:`SWEPT`.
    :param layers: by default all.
    :param clamps: values of the setting that is swept; by default the one configured for the model,
        or, of a radius, the one that tells the facts' `fires` best from their `silent`.
    :param options: of the editor.
    :raises EditError: the editor has no layer to be found.
    """
    if backend not in SWEPT:
        raise EditError(f"expected an editor among {sorted(SWEPT)}, found {backend!r}")
    where, swept = SWEPT[backend]
    kind = load("errata.editors", backend)
    if issubclass(kind, LocatedEditor):
        options = {"max_loss": float("inf"), **options}
    editor = kind(**options)
    paths = module_paths_of(model, override=editor.module_paths)
    facts = [case.fact for case in cases]
    for layer in layers if layers is not None else range(paths.layers):
        for value in clamps or (_configured(editor, model, tokenizer, facts, layer, swept),):
            at = {where: layer if where == "layer" else (layer,), swept: value}
            yield _trial(model, tokenizer, cases, editor.changed(**at), layer, value)


def _configured(
    editor: Any,
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    facts: Sequence[Fact],
    layer: int,
    swept: str,
) -> float:
    """Return an editor's own value of a setting, or the calibrated radius at a layer."""
    if swept == "radius":
        return float(editor.changed(layer=layer).calibrated_radius(model, tokenizer, facts))
    return float(getattr(editor.config_for(model), swept))


def _trial(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    cases: Sequence[Case],
    editor: Any,
    layer: int,
    clamp: float,
) -> Trial:
    efficacy: list[bool] = []
    generality: list[bool] = []
    locality: list[bool] = []
    losses = []
    for case in cases:
        fact = case.fact
        with applied(model, editor.plan(model, tokenizer, [fact])):
            losses.append(getattr(editor, "losses", {}).get(fact.id, 0.0))
            new, old = fact.answer, case.old
            efficacy.append(_more_likely(model, tokenizer, fact.question, new, old))
            clozes = forms_of(fact.question, subject_of(fact))[1:]
            for question in (*fact.tests.fires, *clozes):
                generality.append(_more_likely(model, tokenizer, question, new, old))
            for question, answer in case.neighbours:
                locality.append(_more_likely(model, tokenizer, question, answer, new))
    return Trial(
        layer, clamp, sum(losses) / len(losses), sum(efficacy) / len(efficacy),
        _mean(generality), _mean(locality), len(cases),
    )  # fmt: skip


def _more_likely(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    question: str,
    answer: str,
    other: str,
) -> bool:
    """Return whether one answer to a question is more likely than another, per token."""
    import torch

    subject = question  # likelihoods do not depend on it
    targets = [Target(question, subject, each) for each in (answer, other)]
    batch = batch_of(model, tokenizer, targets)
    with torch.no_grad():
        first, second = batch.nll(model(**batch.inputs, use_cache=False).logits).tolist()
    return bool(first < second)


def _mean(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def plot(located: LocateResult, path: str | Path) -> None:
    """Draw the result as PNG.

    :param path: the file; its folder exists.
    :raises MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise MissingExtra(
            "expected the package `matplotlib` for a plot, found none; install errata[plots], or "
            "leave out the plot (--json prints the figures)"
        ) from error
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes_pair: Any = figure.subplots(1, 2)
    left, right = axes_pair
    layers = range(len(located.traced.block))
    left.axhline(located.traced.clean, color="grey", linestyle="--", label="clean")
    left.axhline(located.traced.corrupted, color="grey", linestyle=":", label="subject corrupted")
    left.plot(layers, located.traced.block, marker="o", label="block restored at the subject")
    left.plot(layers, located.traced.mlp, marker="s", label="feed-forward restored at the subject")
    left.plot(layers, located.traced.answer, marker="^", label="block restored at the last token")
    left.set(title="causal tracing", xlabel="layer", ylabel="probability of the answer")
    best: dict[int, Trial] = {}
    for trial in located.trials:
        previous = best.get(trial.layer)
        if previous is None or trial.score > previous.score:
            best[trial.layer] = trial
    shown = [best[layer] for layer in sorted(best)]
    for name, marker in (("efficacy", "o"), ("generality", "s"), ("locality", "^"), ("score", "*")):
        values = [getattr(trial, name) for trial in shown]
        known = [(t.layer, v) for t, v in zip(shown, values, strict=True) if v is not None]
        right.plot([x for x, _ in known], [y for _, y in known], marker=marker, label=name)
    right.set(title="trial edits", xlabel="layer", ylabel="share", ylim=(-0.05, 1.05))
    for axes in (left, right):
        axes.legend(fontsize="small")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=120, format="png")
