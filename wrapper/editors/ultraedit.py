"""UltraEdit: one closed-form update from hidden states and gradients; no subject, no training.

Gu et al. 2025, "UltraEdit: Training-, Subject-, and Memory-Free Lifelong Editing in Language
Models" (https://arxiv.org/abs/2505.14679).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError
from errata.cache.records import Edit
from errata.editing.base import Capabilities, Sequential
from errata.editing.changes import Change, WeightChange
from errata.editors.shared.config import row_for
from errata.editors.shared.configured import ConfiguredEditor
from errata.editors.shared.examples import Padded, examples_of, padded
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.running_statistics import RunningStatistics
from errata.editors.shared.side_memory import check_plain
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, as_rows, stored

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UltraEditConfig:
    """Hyperparameters of UltraEdit; see Gu et al. 2025, appendix C.

    :param down: layers whose down-projections are changed, from 0.
    :param up: layers whose up-projections are.
    :param gate: layers whose gate projections are.
    :param learning_rate: η, the scale of the wanted change of a layer's output. ‖ĥ‖² is about the
        layer's width, so that the rate of a narrow model has to be larger.
    :param batch_size: edits in one forward pass; does not change the update.
    """

    down: tuple[int, ...] = ()
    up: tuple[int, ...] = ()
    gate: tuple[int, ...] = ()
    learning_rate: float = 1e-6
    batch_size: int = 16

    def modules(self, paths: ModulePaths) -> list[str]:
        """Return the names of the projections to change.

        :param paths: of the model.
        :raises EditError: none are named, or the model has no gate.
        """
        gates = [paths.gate(layer) for layer in self.gate]
        found = [*map(paths.down, self.down), *map(paths.up, self.up), *filter(None, gates)]
        if not found or None in gates:
            raise EditError(
                f"expected layers of projections that the model has, found {self}; "
                "name some: down=(5, 6)"
            )
        return found


_FIELDS = frozenset(field.name for field in fields(UltraEditConfig))


class UltraEdit(ConfiguredEditor[UltraEditConfig], Sequential):
    """Edits facts together, by one regularised least squares for each projection.

    Hidden states and gradients are standardised by running statistics over all edits of a run.
    Parameters are those of :class:`~errata.editors.shared.configured.ConfiguredEditor`, and the
    options of :class:`UltraEditConfig`.
    """

    name = "ultraedit"
    config_class = UltraEditConfig
    capabilities = Capabilities()

    def config_for(self, model: GenerativeModel) -> UltraEditConfig:
        """Return the settings that will be used on a model; a guess for the layers is logged."""
        if self.config is not None:
            return replace(self.config, **self._options)
        row = row_for(self.name, model, _FIELDS | {"down_fractions"})
        settings = dict(row.settings)
        if row.is_default and not {"down", "up", "gate"} & self._options.keys():
            count = self._paths(model).layers
            parts = {int(part * count) for part in settings["down_fractions"]}
            settings["down"] = tuple(sorted(parts))
            log.warning(
                "no settings of %s for a %s of %d layers are known: trying layers %s; "
                "`errata locate` finds better ones",
                self.name, model.config.model_type, count, settings["down"],
            )  # fmt: skip
        settings.pop("down_fractions", None)
        return UltraEditConfig(**{**settings, **self._options})

    def plan_after(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
        earlier: Sequence[Change],
    ) -> list[WeightChange]:
        """Return one change a projection, which make all edits.

        They are standardised with the statistics of earlier ones, too.

        :param earlier: the changes in the model's weights, of this editor.
        :raises errata.cache.errors.UnsupportedEdit: an edit is no fact, or one to be forgotten.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        config = self.config_for(model)
        names = config.modules(self._paths(model))
        check_plain(model, *names)
        examples = examples_of(model, tokenizer, edits)
        copied = sharing_copy(model)
        states: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {name: [] for name in names}
        with gradients():
            for start in range(0, len(examples), config.batch_size):
                batch = padded(model, examples[start : start + config.batch_size])
                for name, found in hidden_and_gradients(copied, names, batch).items():
                    states[name].append(found)
        return _changes(copied, states, earlier, config)


def _changes(
    model: GenerativeModel,
    states: Mapping[str, Sequence[tuple[torch.Tensor, torch.Tensor]]],
    earlier: Sequence[Change],
    config: UltraEditConfig,
) -> list[WeightChange]:
    import torch

    hidden = {name: torch.cat([h for h, _ in found]) for name, found in states.items()}
    slopes = {name: torch.cat([g for _, g in found]) for name, found in states.items()}
    # As in the reference code, projections of one shape share their statistics.
    shared: dict[tuple[int, int], RunningStatistics] = {}
    for name in states:
        shape = (hidden[name].shape[1], slopes[name].shape[1])
        before = shared.get(shape) or _remembered(earlier, f"{name}.weight", sum(shape))
        shared[shape] = before.updated(torch.cat([hidden[name], slopes[name]], 1))
    changes = []
    for name in states:
        h, g = hidden[name], slopes[name]
        known = shared[h.shape[1], g.shape[1]]
        h_hat, g_hat = known.standardised(torch.cat([h, g], 1)).split([h.shape[1], g.shape[1]], 1)
        wanted = -config.learning_rate * h_hat.square().sum(1, keepdim=True) * g_hat
        update = least_squares(h, wanted).T
        layout = stored(model.get_submodule(name), update).contiguous()
        changes.append(WeightChange(f"{name}.weight", layout, known.tensors()))
    return changes


def least_squares(hidden: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return (Hᵀ H + I)⁻¹ Hᵀ V, which minimises ‖H Δ − V‖² + ‖Δ‖² (UltraEdit, equation 5).

    By whichever of the primal and its dual, Hᵀ (H Hᵀ + I)⁻¹ V, is smaller.

    :param hidden: H, float64 [rows, d_in].
    :param wanted: V, float64 [rows, d_out].
    :return: float64 [d_in, d_out].
    """
    import torch

    rows, width = hidden.shape
    identity = torch.eye(min(rows, width), dtype=hidden.dtype)
    if rows < width:
        found: torch.Tensor = hidden.T @ torch.linalg.solve(hidden @ hidden.T + identity, wanted)
    else:
        found = torch.linalg.solve(hidden.T @ hidden + identity, hidden.T @ wanted)
    return found


def hidden_and_gradients(
    model: GenerativeModel, names: Sequence[str], batch: Padded
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return inputs of projections, and gradients of the loss by their outputs.

    At the positions that predict a token of an answer; the loss is the sum of the rows' means.

    :param model: its parameters need no gradients.
    :param names: of the projections.
    :param batch: examples.
    :return: float64 [answer tokens, d_in] and [answer tokens, d_out] of each, on the CPU.
    """
    import torch

    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    with _probed(model, names, seen):
        logits = model(**batch.inputs, use_cache=False).logits
        loss = batch.losses(logits).sum()
    slopes = torch.autograd.grad(loss, [probe for _, probe in seen.values()])
    chosen = batch.labels != -100
    rows = len(chosen)
    found = {}
    for name, slope in zip(seen, slopes, strict=True):
        pair = (seen[name][0], slope)
        h, g = (as_rows(each, rows)[chosen].detach().cpu().double() for each in pair)
        found[name] = (h, g)
    return found


@contextmanager
def _probed(
    model: GenerativeModel, names: Sequence[str], seen: dict[str, tuple[torch.Tensor, torch.Tensor]]
) -> Iterator[None]:
    """Note each projection's input, and add a zero to its output to derive the loss by."""
    import torch

    def probe(name: str, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        zero = torch.zeros_like(output, requires_grad=True)
        seen[name] = (inputs[0], zero)
        return output + zero

    def hook(name: str) -> Any:
        return lambda _, inputs, output: probe(name, inputs, output)

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _remembered(earlier: Sequence[Change], name: str, width: int) -> RunningStatistics:
    """Return the statistics after the last change of a parameter, or empty ones."""
    for change in reversed(earlier):
        if isinstance(change, WeightChange) and change.name == name:
            found = RunningStatistics.of(change.memory)
            if found is not None:
                return found
    return RunningStatistics.empty(width)
