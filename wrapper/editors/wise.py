"""WISE: edits in a copy of one value matrix, and a routing by how much the copy's output differs.

Wang et al. 2024, "WISE: Rethinking the Knowledge Memory for Lifelong Model Editing of Large
Language Models" (https://arxiv.org/abs/2405.14768). The routing is decided at every position: the
copy answers where ‖(W′ − W) a‖ is above a threshold. The reference decides once for a whole batch,
by the mean distance of all its rows, so that what a row gets depends on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from errata.cache.records import Edit
from errata.editing.base import Capabilities
from errata.editing.changes import Change
from errata.editors.shared.examples import NO_TARGET, Example, examples_of, padded
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.side_memory import (
    Memory,
    MemoryChange,
    check_plain,
    copy_without_memory,
    memory_in,
    module_inputs,
)
from errata.editors.shared.stored_queries import QueryEditor
from errata.module_paths import as_rows, matrix

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class WiseConfig:
    """Hyperparameters of WISE; see Wang et al. 2024, section 2 and appendix.

    :param layer: the layer whose down-projection is copied, from 0.
    :param mask_density: ρ, the share of entries that the edits of a shard may change.
    :param steps: of Adam for a batch, at most.
    :param learning_rate: of Adam. The paper takes plain gradient descent with 1.0, which on atlas
        had made 9 of 16 edits when Adam had made all.
    :param largest_change: of an entry, either way.
    :param irrelevant_margin: α; running text is to differ by less than this, in units of the mean
        norm of the layer's output on it, like the next two. The paper takes 5, 20 and 10 in the
        activation units of models of 7 billion.
    :param edit_margin: β; positions of an edit's answer are to differ by more.
    :param gap: γ; by which an edit is to differ more than running text.
    :param margin_weight: of the losses of the margins, beside the mean loss of the answers.
    :param threshold_ratio: the copy answers above this part of the smallest difference of its
        edits' positions.
    :param shard_edits: after so many edits a new shard begins, with a mask of its own.
    :param merge_shards: so many shards are merged into one copy, by TIES.
    :param merge_density: of each merged shard, the share of the entries that is kept, the largest.
    :param retrieve: never merge: the shard that differs most above its own threshold answers.
    :param queries: positions of running text that stand for everything else.
    :param target_loss: mean loss of an answer, in nats a token, that suffices.
    :param batch_size: edits in one step.
    :param corpus: text of the queries: sampled from the ``model``, or atlas' training rows.
    :param seed: of the masks, and of the draw of queries.
    """

    layer: int
    mask_density: float = 0.2
    steps: int = 100
    learning_rate: float = 0.01
    largest_change: float = 1.0
    irrelevant_margin: float = 0.3
    edit_margin: float = 1.5
    gap: float = 1.0
    margin_weight: float = 2.0
    threshold_ratio: float = 0.8
    shard_edits: int = 500
    merge_shards: int = 2
    merge_density: float = 0.53
    retrieve: bool = False
    queries: int = 2000
    target_loss: float = 0.05
    batch_size: int = 64
    corpus: Literal["model", "facts"] = "model"
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A copy of the matrix, as the difference from it.

    :param delta: W′ − W, float32 [d_out, d_in].
    :param keys: the layer's inputs at the positions of its edits' answers, float32 [n, d_in].
    :param edits: how many it holds.
    :param merged: it was made of several, and takes no more.
    """

    delta: torch.Tensor
    keys: torch.Tensor
    edits: int
    merged: bool = False

    def threshold(self, ratio: float) -> float:
        """Return the difference above which it answers."""
        return ratio * float((self.keys @ self.delta.T).norm(dim=1).min())


class Copies(Memory):
    """The copies in use; at each position the one answers that differs most, above its threshold.

    :param shards: in order; the last may take further edits.
    :param ratio: see :class:`WiseConfig`.
    """

    def __init__(self, shards: Sequence[Shard], ratio: float) -> None:
        self.shards, self.ratio = tuple(shards), ratio
        self.thresholds = [shard.threshold(ratio) for shard in self.shards]

    def __call__(self, query: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return W′ a + b where a copy answers, the output itself elsewhere."""
        import torch

        hidden, best, found = query.float(), None, None
        for shard, threshold in zip(self.shards, self.thresholds, strict=True):
            change = hidden @ shard.delta.to(hidden.device).T
            distance = change.norm(dim=-1, keepdim=True)
            distance = torch.where(distance > threshold, distance, torch.zeros_like(distance))
            if best is None or found is None:
                best, found = distance, change
                continue
            nearer = distance > best
            best, found = torch.where(nearer, distance, best), torch.where(nearer, change, found)
        if best is None or found is None or not bool((best > 0).any()):
            return output
        return torch.where(best > 0, output + found.to(output.dtype), output)

    def joined(self, later: Copies) -> Copies:
        """Return the later ones: they go on from these, and hold their edits, too."""
        return later

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return each shard's difference and keys."""
        return {
            f"{number}.{name}": tensor
            for number, shard in enumerate(self.shards)
            for name, tensor in (("delta", shard.delta), ("keys", shard.keys))
        }

    def notes(self) -> dict[str, Any]:
        """Return the numbers of edits, and the ratio."""
        shards = [[shard.edits, shard.merged] for shard in self.shards]
        return {"shards": shards, "ratio": self.ratio}

    @classmethod
    def of(cls, tensors: Mapping[str, torch.Tensor], notes: Mapping[str, Any]) -> Copies:
        """Return the copies of these tensors and notes."""
        shards = [
            Shard(tensors[f"{i}.delta"], tensors[f"{i}.keys"], edits, merged)
            for i, (edits, merged) in enumerate(notes["shards"])
        ]
        return cls(shards, notes["ratio"])


class Wise(QueryEditor[WiseConfig]):
    """Edits facts in shards of copies of one matrix.

    Edits of a shard share its entries, so that none can be removed alone: the others are planned
    again. Options are those of :class:`WiseConfig`; the other parameters, those of
    :class:`~errata.editors.shared.stored_queries.QueryEditor`.
    """

    name = "wise"
    config_class = WiseConfig
    memory_class = Copies
    capabilities = Capabilities(needs_text=True)

    def plan_after(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
        earlier: Sequence[Change],
    ) -> list[MemoryChange]:
        """Return one change, with the copies of all edits, those of earlier changes included.

        :param earlier: the changes that are in the model already, of this editor.
        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        paths, config = self._paths(model), self.config_for(model)
        name = paths.down(config.layer)
        check_plain(model, name)
        examples = examples_of(model, tokenizer, edits)
        known = memory_in(earlier, Copies, name)
        shards = [] if known is None else list(known.shards)
        copied = copy_without_memory(model, Copies, name)
        with gradients():
            others = self._queries(copied, tokenizer, name, config)
            while examples:
                if not shards or shards[-1].merged or shards[-1].edits >= config.shard_edits:
                    shards.append(_empty(copied, name))
                room = min(config.batch_size, config.shard_edits - shards[-1].edits)
                some, examples = examples[:room], examples[room:]
                shards[-1] = _trained(copied, name, some, shards[-1], len(shards), others, config)
                shards = _merged_when_full(shards, config)
        return [MemoryChange(name, Copies(shards, config.threshold_ratio))]


def _empty(model: GenerativeModel, name: str) -> Shard:
    import torch

    weight = matrix(model.get_submodule(name))
    zero = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
    return Shard(zero, torch.zeros(0, weight.shape[1], device=weight.device), 0)


def mask_of(shape: Sequence[int], density: float, seed: int) -> torch.Tensor:
    """Return the entries that a shard may change, bool, each with the probability of a density.

    :param shape: of the matrix.
    :param density: ρ.
    :param seed: of the draw.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.rand(tuple(shape), generator=generator) < density


def _trained(
    model: GenerativeModel,
    name: str,
    examples: Sequence[Example],
    shard: Shard,
    number: int,
    others: torch.Tensor,
    config: WiseConfig,
) -> Shard:
    """Return a shard that makes some edits more.

    :param number: of the shard, which decides its mask.
    :param others: inputs of the layer over running text, float32 [queries, d_in].
    """
    import torch

    batch = padded(model, examples)
    told = batch.labels != NO_TARGET
    rows = len(examples)
    inputs = module_inputs(model, [name], batch.inputs, rows)[name].float()
    keys, others = inputs[told], others.to(inputs.device)
    module = model.get_submodule(name)
    unit = float((others @ matrix(module).float().T).norm(dim=1).mean())
    mask = mask_of(shard.delta.shape, config.mask_density, config.seed * 1000 + number)
    mask = mask.to(shard.delta.device)
    delta = shard.delta.clone().requires_grad_()

    def route(_: Any, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        change = as_rows(args[0], rows).float() @ delta.T
        distance = change.detach().norm(dim=-1)
        limit = config.threshold_ratio * distance[told].min()
        used = told | (distance > limit)
        values = as_rows(output, rows)
        return torch.where(used[..., None], values + change.to(values), values).view(output.shape)

    adam = torch.optim.Adam([delta], lr=config.learning_rate)
    handle = module.register_forward_hook(route)
    try:
        for step in range(config.steps + 1):
            losses = batch.losses(model(**batch.inputs, use_cache=False).logits)
            margins = _margins(keys @ delta.T, others @ delta.T, unit, config)
            learned = bool(losses.detach().max() < config.target_loss)
            if step == config.steps or (learned and float(margins) == 0):
                break
            adam.zero_grad(set_to_none=True)
            (losses.mean() + config.margin_weight * margins).backward()
            if delta.grad is not None:
                delta.grad *= mask
            adam.step()
            delta.data.clamp_(-config.largest_change, config.largest_change)
    finally:
        handle.remove()
    kept = torch.cat([shard.keys.to(keys.device), keys]).detach().cpu()
    return Shard(delta.detach().cpu(), kept, shard.edits + rows)


def _margins(
    at_edits: torch.Tensor, at_others: torch.Tensor, unit: float, config: WiseConfig
) -> torch.Tensor:
    """Return [D(x_i) − α]₊ + [β − D(x_e)]₊ + [γ − (D(x_e) − D(x_i))]₊, each a mean.

    :param at_edits: what the copy changes at the edits' positions, float32 [positions, d_out].
    :param at_others: in running text, float32 [queries, d_out].
    :param unit: what the margins are parts of.
    """
    edits, others = (_norms(each) / unit for each in (at_edits, at_others))
    quiet = (others - config.irrelevant_margin).relu().mean()
    loud = (config.edit_margin - edits).relu().mean()
    apart = (config.gap - (edits[:, None] - others[None])).relu().mean()
    return quiet + loud + apart


def _norms(rows: torch.Tensor) -> torch.Tensor:
    """Return the norms of rows, with a gradient at 0, too."""
    return (rows.square().sum(1) + 1e-12).sqrt()


def _merged_when_full(shards: Sequence[Shard], config: WiseConfig) -> list[Shard]:
    """Return the shards, the last ones merged where there are enough full ones."""
    full = [s for s in shards if not s.merged and s.edits >= config.shard_edits]
    if config.retrieve or len(full) < config.merge_shards:
        return list(shards)
    return [*(shard for shard in shards if shard.merged), merged(full, config.merge_density)]


def merged(shards: Sequence[Shard], density: float) -> Shard:
    """Return one shard of several.

    :param shards: to merge.
    :param density: see :func:`ties`.
    """
    import torch

    delta = ties(torch.stack([shard.delta for shard in shards]), density)
    keys = torch.cat([shard.keys for shard in shards])
    return Shard(delta, keys, sum(shard.edits for shard in shards), merged=True)


def ties(deltas: torch.Tensor, density: float) -> torch.Tensor:
    """Return the TIES merge of updates: trimmed, signs elected, agreeing entries averaged.

    Yadav et al. 2023, "TIES-Merging" (https://arxiv.org/abs/2306.01708).

    :param deltas: float32 [updates, ...].
    :param density: the share of entries that is kept of each, those of the largest magnitude.
    :return: float32 [...].
    """
    import torch

    flat = deltas.flatten(1)
    count = max(1, round(density * flat.shape[1]))
    kept = torch.zeros_like(flat).scatter(1, flat.abs().topk(count, dim=1).indices, 1.0)
    trimmed = flat * kept
    sign = trimmed.sum(0).sign()
    agreeing = (trimmed.sign() == sign) & (trimmed != 0)
    total = (trimmed * agreeing).sum(0) / agreeing.sum(0).clamp(min=1)
    return total.view(deltas.shape[1:])
