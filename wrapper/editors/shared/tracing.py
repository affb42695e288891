"""Causal tracing: which hidden states carry a fact from its subject to the answer.

Meng et al. 2022 (ROME), section 2. Noise on the subject's embeddings corrupts the answer; a hidden
state carries the fact if restoring its clean value restores the answer's probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from errata.cache.text.subject import span_of
from errata.editors.shared.prompts import Batch, Target, batch_of
from errata.generation.chat import render_prompt
from errata.module_paths import ModulePaths, as_rows, hidden_of, module_paths_of, with_hidden

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True)
class CausalTrace:
    """Probabilities of the answer with one state of each layer restored, mean over facts.

    Probabilities are those of the answer's tokens, as geometric mean, 0 to 1.

    :param clean: without noise.
    :param corrupted: with noise on the subject.
    :param block: with the block's output at the subject's last token restored, [layers].
    :param mlp: with the feed-forward layers' outputs at that token restored, in a window around
        each layer, [layers].
    :param answer: with the block's output at the last token of the prompt restored, [layers].
    """

    clean: float
    corrupted: float
    block: tuple[float, ...]
    mlp: tuple[float, ...]
    answer: tuple[float, ...]


def trace(
    model: GenerativeModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[Target],
    *,
    noise: float = 3.0,
    samples: int = 8,
    window: int = 3,
    seed: int = 0,
    module_paths: ModulePaths | None = None,
) -> CausalTrace:
    """Return the causal trace of facts that the model knows.

    :param model: the model.
    :param tokenizer: its tokenizer, a fast one.
    :param targets: prompts, with the subject and the model's answer.
    :param noise: standard deviation of the noise on the subject's embeddings (input
        of the first block), in standard deviations of the embeddings of these subjects.
    :param samples: draws of noise for each fact.
    :param window: layers whose feed-forward outputs are restored together.
    :param seed: of the noise.
    :param module_paths: for a model that is not in the table of :mod:`errata.module_paths`.
    """
    import torch

    paths = module_paths_of(model, override=module_paths)
    generator = torch.Generator().manual_seed(seed)
    spans = [_subject_tokens(tokenizer, target) for target in targets]
    subjects = torch.cat(
        [
            _first_block_input(model, batch_of(model, tokenizer, [target]), paths)[0, span]
            for target, span in zip(targets, spans, strict=True)
        ]
    )
    found = []
    for target, span in zip(targets, spans, strict=True):
        batch = batch_of(model, tokenizer, [target] * (samples + 1))
        shape = (samples, span.stop - span.start, subjects.shape[1])
        drawn = noise * subjects.std() * torch.randn(shape, generator=generator)
        found.append(_trace_one(model, batch, paths, span, drawn, window))
    mean = [sum(values) / len(found) for values in zip(*found, strict=True)]
    parts = [mean[2 + i * paths.layers : 2 + (i + 1) * paths.layers] for i in range(3)]
    block, mlp, answer = map(tuple, parts)
    return CausalTrace(mean[0], mean[1], block, mlp, answer)


def _trace_one(
    model: GenerativeModel,
    batch: Batch,
    paths: ModulePaths,
    span: slice,
    noise: torch.Tensor,
    window: int,
) -> list[float]:
    """Return clean, corrupted, and the three kinds of restored probabilities, layer by layer.

    Row 0 of the batch stays clean; restored states are copied from it in the same pass.
    """
    import torch

    subject = span.stop - 1
    # Of an encoder-decoder, the prompt ends in the encoder.
    last = int(batch.inputs["attention_mask"][0].sum()) - 1
    if not model.config.is_encoder_decoder:
        last = int((batch.labels[0] != -100).nonzero()[0])

    def probabilities(names: Sequence[str], at: int) -> tuple[float, float]:
        restored = [(name, at) for name in names]
        with torch.no_grad(), _corrupted(model, paths, span, noise, restored):
            logits = model(**batch.inputs, use_cache=False).logits
        likely = (-batch.nll(logits)).exp()
        return float(likely[0]), float(likely[1:].mean())

    out = [*probabilities([], 0)]
    layers, half = range(paths.layers), window // 2
    out += [probabilities([paths.block(layer)], subject)[1] for layer in layers]
    for layer in layers:
        near = layers[max(0, layer - half) : layer + half + 1]
        out.append(probabilities([paths.down(each) for each in near], subject)[1])
    out += [probabilities([paths.block(layer)], last)[1] for layer in layers]
    return out


def _subject_tokens(tokenizer: PreTrainedTokenizerBase, target: Target) -> slice:
    """Return the positions of the subject's tokens in its prompt, start tokens counted."""
    text = render_prompt(target.text, tokenizer)
    chat = bool(getattr(tokenizer, "chat_template", None))
    start, end = span_of(target.subject, text) or (0, 0)
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=not chat)
    offsets = encoded["offset_mapping"]
    found = [i for i, (a, b) in enumerate(offsets) if a < end and b > start and a < b]
    return slice(found[0], found[-1] + 1)


def _first_block_input(model: GenerativeModel, batch: Batch, paths: ModulePaths) -> torch.Tensor:
    """Return the input of the first block, float32 [rows, tokens, d]: the embeddings."""
    import torch

    seen: list[torch.Tensor] = []

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])

    first = model.get_submodule(paths.block(0))
    handle = first.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.no_grad():
            model(**batch.inputs, use_cache=False)
    finally:
        handle.remove()
    return seen[0].float().cpu()


@contextmanager
def _corrupted(
    model: GenerativeModel,
    paths: ModulePaths,
    span: slice,
    noise: torch.Tensor,
    restored: Sequence[tuple[str, int]],
) -> Iterator[None]:
    """Add noise to the input of the first block, and restore some states; row 0 stays clean.

    :param span: tokens with noise.
    :param noise: float [rows − 1, tokens of the subject, d].
    :param restored: modules, and the token whose output in row 0 replaces that of the other rows.
    """

    def corrupt(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        hidden = (args[0] if args else kwargs["hidden_states"]).clone()
        hidden[1:, span] += noise.to(hidden.device, hidden.dtype)
        if args:
            return (hidden, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": hidden}

    def restore(at: int) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> Any:
            hidden = hidden_of(output)
            values = as_rows(hidden, len(noise) + 1).clone()
            values[1:, at] = values[0, at]
            return with_hidden(output, values.reshape(hidden.shape))

        return hook

    first = model.get_submodule(paths.block(0))
    with ExitStack() as handles:
        handle = first.register_forward_pre_hook(corrupt, with_kwargs=True)
        handles.callback(handle.remove)
        for name, at in restored:
            handle = model.get_submodule(name).register_forward_hook(restore(at))
            handles.callback(handle.remove)
        yield
