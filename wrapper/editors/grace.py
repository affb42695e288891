"""GRACE: a codebook beside one layer; inside a key's radius the layer's output is a learned value.

Hartvigsen et al. 2023, "Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adaptors"
(https://arxiv.org/abs/2211.11031). Here the codebook is looked up at every position: a key is the
layer's input at the last token of a prompt, and fires where that token is. The reference looks up
one position of a batch, which is the wrong one with padding or with the key-value cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from errata.cache.errors import EditError
from errata.cache.records import Edit, Fact
from errata.editing.changes import Change
from errata.editors.shared.codebook import Codebook, Entry
from errata.editors.shared.examples import Example, examples_of, padded, prompt_ids
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.side_memory import (
    MemoryChange,
    SeparableEditor,
    check_plain,
    copy_without_memory,
    last_prompt_positions,
    memory_in,
    module_inputs,
)
from errata.module_paths import ModulePaths, as_rows

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceConfig:
    """Hyperparameters of GRACE; see Hartvigsen et al. 2023, section 2 and appendix.

    :param layer: the layer with the codebook, from 0.
    :param module: the projection beside which it lies; its input is the query. The paper takes
        ``up`` in GPT-2 and ``down`` elsewhere.
    :param radius: ε, the deferral radius of a new key, Euclidean, in the units of that input.
    :param relative_radius: where ``radius`` is None: the same as a part of the key's norm. A guess;
        `errata locate --backend grace` measures.
    :param steps: of Adam, at most.
    :param learning_rate: of Adam.
    :param start: values begin at the layer's ``output`` at the key, or at ``random``, uniform in
        [0, 1).
    :param target_loss: mean loss of an answer, in nats a token, below which its value is done.
    :param batch_size: edits in one step; each has a value of its own.
    :param seed: of random values.
    :param rounding: keys nearer than this part of their norm are one prompt, and every radius is at
        least that: two passes over one text differ by 1e-5 in float32 (bfloat16: 4e-3).
    """

    layer: int
    module: Literal["up", "down"] = "down"
    radius: float | None = None
    relative_radius: float = 0.2
    steps: int = 100
    learning_rate: float = 1.0
    start: Literal["output", "random"] = "output"
    target_loss: float = 0.01
    batch_size: int = 16
    seed: int = 0
    rounding: float = 1e-4

    def __post_init__(self) -> None:
        """Check names and radius.

        :raises EditError: no such module or start, or a radius that is not positive.
        """
        if self.module not in ("up", "down"):
            raise EditError(f'expected module "up" or "down", found {self.module!r}')
        if self.start not in ("output", "random"):
            raise EditError(f'expected start "output" or "random", found {self.start!r}')
        if self.radius is not None and self.radius <= 0:
            raise EditError(f"expected a positive radius, found {self.radius}")

    def name_in(self, paths: ModulePaths) -> str:
        """Return the name of the projection in a model."""
        return paths.up(self.layer) if self.module == "up" else paths.down(self.layer)


class Grace(SeparableEditor[GraceConfig]):
    """Edits facts one after another, each by a key and a value beside one layer.

    Parameters are those of :class:`~errata.editors.shared.side_memory.SideEditor`, and the options
    of :class:`GraceConfig`.
    """

    name = "grace"
    config_class = GraceConfig
    memory_class = Codebook
    part = "subject"  # of T5 the encoder, as in the paper

    def plan_after(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
        earlier: Sequence[Change],
    ) -> list[MemoryChange]:
        """Return one change with an entry an edit.

        :param earlier: the changes that are in the model already, of this editor.
        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        import torch

        paths, config = self._paths(model), self.config_for(model)
        name = config.name_in(paths)
        check_plain(model, name, paths.down(config.layer))
        examples = examples_of(model, tokenizer, edits)
        rounding = max(config.rounding, 2 * torch.finfo(model.dtype).eps)
        known = memory_in(earlier, Codebook, name)
        before = () if known is None else known.entries
        copied = copy_without_memory(model, Codebook, name)
        with gradients():
            entries = [
                entry
                for start in range(0, len(edits), config.batch_size)
                for entry in _keyed(copied, name, edits[start:], examples[start:], config)
            ]
            done = _with_values(copied, name, examples, entries, before, config, rounding)
        return [MemoryChange(name, Codebook(done, rounding))]

    def calibrated_radius(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        facts: Sequence[Fact],
    ) -> float:
        """Return the radius that tells best what facts fire on from what they are silent on.

        The largest difference between the share of `fires` within it and the share of `silent`, and
        of the other facts' questions; of equal ones the middle.

        :param model: unedited.
        :param tokenizer: its tokenizer.
        :param facts: with tests.
        :raises EditError: no fact has `fires`.
        """
        import torch

        name = self.config_for(model).name_in(self._paths(model))

        def keys(texts: Sequence[str]) -> torch.Tensor:
            found = []
            for text in texts:
                ids = torch.tensor([prompt_ids(tokenizer, text)], device=model.device)
                inputs = {"input_ids": ids}
                if model.config.is_encoder_decoder:
                    inputs["decoder_input_ids"] = ids[:, :1]
                found.append(module_inputs(model, [name], inputs, 1)[name][0, -1].float().cpu())
            return torch.stack(found)

        own, near, far = keys([fact.question for fact in facts]), [], []
        for i, fact in enumerate(facts):
            far.append(torch.cat([own[:i], own[i + 1 :]]) - own[i])
            near += [keys(fact.tests.fires) - own[i]] if fact.tests.fires else []
            far += [keys(fact.tests.silent) - own[i]] if fact.tests.silent else []
        if not near:
            raise EditError(
                "expected facts with `fires` to calibrate the radius by, found none; add some, or "
                "choose values with --clamp"
            )
        inside = torch.cat(near).norm(dim=1)
        return best_radius(inside, torch.cat(far).norm(dim=1))


def best_radius(inside: torch.Tensor, outside: torch.Tensor) -> float:
    """Return the radius with the largest share of one set of distances minus that of another.

    :param inside: distances of what is to be within it, float [n].
    :param outside: of what is not.
    """

    def share(distances: torch.Tensor, radius: torch.Tensor) -> float:
        return float((distances <= radius).float().mean()) if len(distances) else 0.0

    gains = [share(inside, r) - share(outside, r) for r in inside]
    best = max(gains)
    radius = max(float(r) for r, gain in zip(inside, gains, strict=True) if gain == best)
    further = [float(r) for r in (*inside, *outside) if float(r) > radius]
    return (radius + min(further)) / 2 if further else radius


def _keyed(
    model: GenerativeModel,
    name: str,
    edits: Sequence[Edit],
    examples: Sequence[Example],
    config: GraceConfig,
) -> list[Entry]:
    """Return the entries of the first edits, with the values that training starts from."""
    import torch

    some = examples[: config.batch_size]
    batch = padded(model, some)
    at = last_prompt_positions(batch, [len(example.prompt) for example in some])
    rows: dict[str, torch.Tensor] = {}

    def keep(_: Any, args: tuple[Any, ...], output: torch.Tensor) -> None:
        rows["keys"], rows["values"] = as_rows(args[0], len(some)), as_rows(output, len(some))

    handle = model.get_submodule(name).register_forward_hook(keep)
    try:
        module_inputs(model, [], batch.inputs, len(some))
    finally:
        handle.remove()
    keys, values = (rows[part][at].detach().float().cpu() for part in ("keys", "values"))
    found = []
    for edit, example, key, value in zip(edits, some, keys, values, strict=False):
        if config.start == "random":
            digest = hashlib.sha256(f"{config.seed}/{edit.id}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            value = torch.rand(value.shape, generator=generator)
        radius = config.radius or config.relative_radius * float(key.norm())
        found.append(Entry(edit.id, example.target, key.clone(), value.clone(), radius))
    return found


def _with_values(
    model: GenerativeModel,
    name: str,
    examples: Sequence[Example],
    entries: Sequence[Entry],
    before: Sequence[Entry],
    config: GraceConfig,
    rounding: float,
) -> list[Entry]:
    """Return the entries with learned values; one that shares a value starts from it.

    Values do not depend on each other, so they are learned in batches, and then those that are
    shared, one by one.
    """
    done = list(entries)
    shares = [
        bool(all_before) and Codebook(all_before, rounding).start_of(entry) is not None
        for i, entry in enumerate(entries)
        for all_before in [[*before, *entries[:i]]]
    ]
    own = [i for i, shared in enumerate(shares) if not shared]
    for start in range(0, len(own), config.batch_size):
        chosen = own[start : start + config.batch_size]
        values = learned_values(
            model, name, [examples[i] for i in chosen], [done[i].value for i in chosen], config
        )
        for i, value in zip(chosen, values, strict=True):
            done[i] = replace(done[i], value=value)
    for i in (i for i, shared in enumerate(shares) if shared):
        first = Codebook([*before, *done[:i]], rounding).start_of(done[i])
        if first is not None:
            (value,) = learned_values(model, name, [examples[i]], [first], config)
            done[i] = replace(done[i], value=value)
    return done


def learned_values(
    model: GenerativeModel,
    name: str,
    examples: Sequence[Example],
    starts: Sequence[torch.Tensor],
    config: GraceConfig,
) -> list[torch.Tensor]:
    """Return for each example the output of a module, at its prompt's last token, that gives it.

    :param model: without a codebook.
    :param name: of the module.
    :param examples: prompts and answers.
    :param starts: values to start from, float32 [d_out].
    :param config: steps of Adam and its rate.
    :return: the values with the smallest loss seen, float32 [d_out], on the CPU.
    """
    import torch

    batch = padded(model, examples)
    at = last_prompt_positions(batch, [len(example.prompt) for example in examples])
    values = torch.stack(list(starts)).to(model.device).requires_grad_()
    best, lowest = values.detach().clone(), torch.full((len(examples),), float("inf"))

    def put(_: Any, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        rows = as_rows(output, len(examples))
        return torch.where(at[..., None], values[:, None].to(rows), rows).view(output.shape)

    adam = torch.optim.Adam([values], lr=config.learning_rate)
    handle = model.get_submodule(name).register_forward_hook(put)
    try:
        for step in range(config.steps + 1):
            losses = batch.losses(model(**batch.inputs, use_cache=False).logits)
            better = losses.detach().cpu() < lowest
            lowest = torch.where(better, losses.detach().cpu(), lowest)
            best[better] = values.detach()[better]
            if step == config.steps or bool((lowest < config.target_loss).all()):
                break
            adam.zero_grad(set_to_none=True)
            losses.sum().backward()
            adam.step()
    finally:
        handle.remove()
    return [row.clone() for row in best.cpu()]
