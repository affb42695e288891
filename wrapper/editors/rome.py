"""ROME: a fact inserted into one feed-forward layer as a new pair of key and value.

Meng et al. 2022, "Locating and Editing Factual Associations in GPT"
(https://arxiv.org/abs/2202.05262), in the form of Gupta et al. 2024, "Rebuilding ROME"
(https://arxiv.org/abs/2403.07175): the key averaged over contexts, both in the update and in its
denominator. The original takes the key of the plain prompt in the denominator, which occasionally
makes an update so large that it breaks the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from errata.cache.records import Edit, Fact
from errata.editing.changes import WeightChange, editable
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.key_value import LayerStates, find_value
from errata.editors.shared.located import LocatedEditor
from errata.editors.shared.value_config import RomeConfig
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, module_paths_of, stored

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel


class Rome(LocatedEditor[RomeConfig]):
    """Edits facts one at a time, each by a change of rank one; parameters are those of the base."""

    name = "rome"
    config_class = RomeConfig

    def plan(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
    ) -> list[WeightChange]:
        """Return one change of the layer's weight that makes all edits, in order.

        Each edit is planned on the weights with all earlier ones applied.

        :param model: the model.
        :param tokenizer: its tokenizer, a fast one.
        :param edits: facts.
        :raises UnsupportedEdit: no fact, no subject, or no value found for the answer.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        import torch
        from rich.console import Console
        from rich.progress import track
        from torch import nn

        facts = self._facts(edits)
        config = self.config_for(model)
        paths = module_paths_of(model, override=self.module_paths)
        name = paths.down_weight(config.layer)
        weight = editable(model, name).detach()
        copied = sharing_copy(model)  # only the copy's weight is replaced
        down = copied.get_submodule(paths.down(config.layer))
        with gradients():
            total = torch.zeros(weight.shape, dtype=torch.float64)
            (moment,) = self._second_moments(model, tokenizer, [config.layer], config)
            factor = torch.linalg.cholesky(moment.regularised(config.ridge))
            contexts = self._contexts(copied, tokenizer, config)
            for fact in track(
                facts, "ROME", console=Console(stderr=True), transient=True,
                disable=not self.progress,
            ):  # fmt: skip
                update = self._update(copied, tokenizer, fact, contexts, factor, config, paths)
                total += stored(down, update)
                edited = (weight.cpu().double() + total).to(weight.device, weight.dtype)
                down.weight = nn.Parameter(edited, requires_grad=False)
        return [WeightChange(name, total)]

    # -- one edit ----------------------------------------------------------------------------

    def _update(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        fact: Fact,
        contexts: Sequence[str],
        factor: torch.Tensor,
        config: RomeConfig,
        paths: ModulePaths,
    ) -> torch.Tensor:
        """Return the update of one fact, float64 [d, d_mlp]."""
        value = find_value(
            model, tokenizer, fact, contexts, paths, config.layer, config, self.losses
        )
        key, gap = key_and_gap(value.before, value.delta)
        return insertion(factor, key, gap)


def key_and_gap(before: LayerStates, delta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return k*, the mean key, and v* − v(k*), from the same prompts (r-ROME).

    v* is the value at the plain prompt plus δ; v(k*) is the mean value over the prompts, the
    layer's output for the mean key, bias included.

    :param before: a batch of :func:`~errata.editors.shared.key_value.fact_batch`, read before the
        edit.
    :param delta: float [d].
    :return: float64 [d_mlp] and [d], on the CPU.
    """
    keys, values = before.keys[:-1].cpu().double(), before.values[:-1].cpu().double()
    return keys.mean(0), values[0] + delta.cpu().double() - values.mean(0)


def insertion(factor: torch.Tensor, key: torch.Tensor, gap: torch.Tensor) -> torch.Tensor:
    """Return the update Δ = (v* − v(k*)) uᵀ / (uᵀ k*), with u = C⁻¹ k* (ROME, equation 2).

    Of all Δ with (W + Δ) k* = v* it has the minimal tr(Δ C Δᵀ), which is ‖v* − W k*‖² / (k* · u).

    :param factor: lower Cholesky factor of C, float64 [d_mlp, d_mlp].
    :param key: k*, float64 [d_mlp].
    :param gap: v* − v(k*), float64 [d].
    :return: float64 [d, d_mlp], of rank one.
    """
    import torch

    direction = torch.cholesky_solve(key[:, None], factor)[:, 0]
    return torch.outer(gap, direction) / (direction @ key)
