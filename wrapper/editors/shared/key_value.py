"""Keys and values of a feed-forward layer at the subject, and the value a new fact needs.

Common to locate-then-edit methods (Meng et al. 2022, ROME, section 3.1): read the key and the value
at the subject's last token, and find the value for which the model says the new object.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Fact
from errata.cache.text.subject import subject_of
from errata.editors.shared.layer_keys import StopForward
from errata.editors.shared.prompts import Batch, Target, batch_of, forms_of
from errata.editors.shared.subject_tails import subject_tails
from errata.module_paths import ModulePaths, as_rows, hidden_of

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from errata.editors.shared.value_config import ValueConfig
    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, eq=False)
class LayerStates:
    """Key and value of a layer at one token of each row, and the logits.

    :param keys: input of the down-projection, [rows, d_mlp], in the model's dtype.
    :param values: its output, [rows, d], in the model's dtype.
    :param logits: [rows, tokens, vocabulary].
    :param stream: the residual stream after the block, [rows, d]; None where it was not read.
    """

    keys: torch.Tensor
    values: torch.Tensor
    logits: torch.Tensor
    stream: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ValueSearch:
    """The outcome of a value's optimisation: the best of the vectors evaluated.

    :param delta: vector added to the value, float32 [d].
    :param nll: of the target with it, mean over prompts and tokens, in nats.
    :param steps: evaluations of the loss.
    """

    delta: torch.Tensor
    nll: float
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class FoundValue:
    """What a fact's value was found to be.

    :param batch: the prompts; those without a text before them first, the essence's last.
    :param plain: how many have no text before them.
    :param before: the batch, read before the edit.
    :param delta: vector to add to the value, float32 [d].
    """

    batch: Batch
    plain: int
    before: LayerStates
    delta: torch.Tensor

    @property
    def start(self) -> torch.Tensor:
        """What δ is added to, in the prompts without a text before them, [plain, d]."""
        before = self.before
        return (before.values if before.stream is None else before.stream)[: self.plain]


@dataclass(frozen=True, slots=True, eq=False)
class SubjectStates:
    """States at the subjects of a batch, by layer, in the model's dtype.

    :param keys: [rows, d_mlp].
    :param streams: the residual stream after the block, [rows, d].
    """

    keys: dict[int, torch.Tensor]
    streams: dict[int, torch.Tensor]


def stream_module(paths: ModulePaths, layer: int) -> str:
    """Return the module whose output is the residual stream after a block.

    Where the feed-forward layer's output is normalised on its way there, it is that output itself:
    a change of it is what an editor can plan.
    """
    return paths.down(layer) if paths.post_norm else paths.block(layer)


def find_value(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    fact: Fact,
    contexts: Sequence[str],
    paths: ModulePaths,
    layer: int,
    config: ValueConfig,
    losses: dict[str, float],
    *,
    stream: bool = False,
) -> FoundValue:
    """Return what has to be added at a layer so that the model says a fact's answer.

    :param model: the model.
    :param tokenizer: its tokenizer.
    :param fact: the fact.
    :param contexts: texts before the prompts; the first one is empty.
    :param paths: of the model's modules.
    :param layer: from 0.
    :param config: settings.
    :param losses: gets the loss of the target in nats, by the fact's id.
    :param stream: the clamp is relative to the residual stream after the block, in place of the
        value.
    :raises UnsupportedEdit: no subject, or no value was found.
    """
    down = model.get_submodule(paths.down(layer))
    block = model.get_submodule(stream_module(paths, layer)) if stream else None
    losses[fact.id] = math.inf
    for forms in form_sets(fact, clozes=config.clozes):
        batch = fact_batch(model, tokenizer, fact, contexts, forms)
        before = read(model, down, batch, block)
        found = find_delta(model, down, batch, before, config)
        losses[fact.id] = min(losses[fact.id], found.nll)
        if found.nll <= config.max_loss:
            return FoundValue(batch, len(forms), before, found.delta)
    raise UnsupportedEdit(
        f"{fact.id}: expected a value at layer {layer} that makes the model say "
        f"{fact.answer!r}, found none: its loss stays at {losses[fact.id]:.2f} nats (limit "
        f"{config.max_loss}); try another layer, a larger clamp_norm_factor or more "
        "steps (`errata locate` measures both)",
        fact.id,
    )


def fact_batch(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    fact: Fact,
    contexts: Sequence[str],
    forms: Sequence[str],
) -> Batch:
    """Return a fact's prompts after every context, the plain question first, the essence last.

    :param model: the model.
    :param tokenizer: its tokenizer.
    :param fact: the fact.
    :param contexts: texts before the prompts; the first one is empty.
    :param forms: the question and, with clozes, the statement made from it.
    :raises UnsupportedEdit: no subject was found.
    """
    subject = subject_of(fact)
    targets = [
        Target(f"{context}{form}", subject, fact.answer, ends=True)
        for context in contexts
        for form in forms
    ]
    essence = f"{subject} is a" if subject.isascii() else f"{subject}是"
    return batch_of(model, tokenizer, [*targets, Target(essence, subject)])


def form_sets(fact: Fact, *, clozes: bool) -> list[tuple[str, ...]]:
    """Return the sets of prompts to try in turn: with the cloze, where there is one, and without.

    A value that serves question and cloze may lie outside the clamp where one for the question
    alone does not.

    :raises UnsupportedEdit: no subject was found.
    """
    question = (fact.question,)
    forms = forms_of(fact.question, subject_of(fact)) if clozes else question
    return [forms] if forms == question else [forms, question]


def subject_states(
    model: GenerativeModel, paths: ModulePaths, layers: tuple[int, int], batch: Batch
) -> SubjectStates:
    """Return the keys of one layer and the residual stream after another, at the subjects.

    :param model: the model; it runs no further than needed.
    :param paths: of its modules.
    :param layers: the layer of the keys, and one that is not before it.
    :param batch: prompts.
    """
    import torch

    first, last = layers
    found = SubjectStates({}, {})
    rows = torch.arange(len(batch.positions), device=batch.positions.device)

    def keep_keys(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        found.keys[first] = as_rows(inputs[0], len(rows))[rows, batch.positions]

    def keep_stream(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        found.streams[last] = as_rows(hidden_of(output), len(rows))[rows, batch.positions]
        raise StopForward

    down = model.get_submodule(paths.down(first))
    block = model.get_submodule(stream_module(paths, last))
    handles = [down.register_forward_pre_hook(keep_keys), block.register_forward_hook(keep_stream)]
    try:
        with torch.no_grad():
            model(**batch.inputs, use_cache=False)
    except StopForward:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return found


def read(
    model: GenerativeModel, down: nn.Module, batch: Batch, block: nn.Module | None = None
) -> LayerStates:
    """Return keys and values of a layer at the subjects of a batch.

    :param model: the model.
    :param down: the layer's down-projection.
    :param batch: prompts.
    :param block: where the residual stream is read, too.
    """
    import torch

    seen: dict[str, torch.Tensor] = {}
    rows = torch.arange(len(batch.positions), device=batch.positions.device)

    def keep(_: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        seen["keys"] = as_rows(inputs[0], len(rows))[rows, batch.positions]
        seen["values"] = as_rows(output, len(rows))[rows, batch.positions]

    def keep_stream(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen["stream"] = as_rows(hidden_of(output), len(rows))[rows, batch.positions]

    handles = [down.register_forward_hook(keep)]
    if block is not None:
        handles.append(block.register_forward_hook(keep_stream))
    try:
        with torch.no_grad():
            logits = model(**batch.inputs, use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()
    return LayerStates(seen["keys"], seen["values"], logits, seen.get("stream"))


def find_delta(
    model: GenerativeModel,
    down: nn.Module,
    batch: Batch,
    before: LayerStates,
    config: ValueConfig,
) -> ValueSearch:
    """Return the vector to add to the value at the subject so that the targets follow.

    Minimises (ROME, equation 4, in the form of its code)
    ``mean NLL(targets) + kl_factor · KL(p_δ ‖ p_0) + weight_decay · ‖δ‖ / ‖v₀‖²`` by Adam, ‖δ‖
    projected onto ``clamp_norm_factor · ‖v₀‖`` after each step. Where the residual stream was read
    before, its norm takes the place of ‖v₀‖ (MEMIT); to add δ to the value adds it to the stream.
    δ is added in every row; the divergence is read in the last one, at the subject. The δ of the
    smallest loss is returned, which is not always the last.

    :param model: the model; its parameters are not changed and get no gradients. Gradients are on
        (:func:`errata.editors.shared.fine_tuning.gradients`).
    :param down: the layer's down-projection.
    :param batch: prompts with targets; the first is the plain prompt, the last one the essence
        prompt, which has no target.
    :param before: the same batch, read before.
    :param config: weights of the terms, steps and learning rate.
    """
    import torch

    start = before.values if before.stream is None else before.stream
    norm = start[0].float().norm()
    position = 0 if model.config.is_encoder_decoder else int(batch.positions[-1])
    essence = before.logits[-1, position].float().log_softmax(-1)
    delta = torch.zeros_like(before.values[0], dtype=torch.float32, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=config.learning_rate)
    best, smallest, step = ValueSearch(delta.detach(), math.inf, 0), math.inf, 0
    tails = subject_tails(model, batch)
    position = 0 if tails.past is not None else position
    with _adding(down, tails.batch, delta):
        for step in range(1, config.steps + 1):
            logits = tails.logits(model)
            nll = tails.batch.nll(logits)[:-1].mean()
            now = logits[-1, position].float().log_softmax(-1)
            divergence = (now.exp() * (now - essence)).sum()
            loss = (
                nll + config.kl_factor * divergence + config.weight_decay * _norm(delta) / norm**2
            )
            reached = float(loss.detach())
            if reached < smallest:
                best = ValueSearch(delta.detach().clone(), float(nll.detach()), step)
                smallest = reached
            if step == config.steps or reached < config.target_loss:
                break
            (delta.grad,) = torch.autograd.grad(loss, [delta])
            optimizer.step()
            with torch.no_grad():
                bound = config.clamp_norm_factor * norm
                delta.mul_((bound / delta.norm().clamp(min=1e-12)).clamp(max=1.0))
    return replace(best, steps=step)


def _norm(delta: torch.Tensor) -> torch.Tensor:
    # The norm has no gradient at 0, where the search starts.
    return (delta.square().sum() + 1e-12).sqrt()


@contextmanager
def _adding(down: nn.Module, batch: Batch, delta: torch.Tensor) -> Iterator[None]:
    """Add a vector to a layer's output at the subject of each row."""
    import torch

    rows = torch.arange(len(batch.positions), device=batch.positions.device)

    def add(_: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        added = as_rows(output, len(rows)).clone()
        added[rows, batch.positions] += delta.to(output.dtype)
        return added.reshape(output.shape)

    handle = down.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
