"""Spreading edits over several layers: what MEMIT and AlphaEdit have in common.

For each edit a vector z is searched for, the residual stream at the subject's last token after the
last edited layer with which the model says the new answer. Then, layer by layer from the first, the
down-projection is changed so that it adds its share of what is still missing; keys and residuals
are read anew at every layer, with the layers below already changed (Meng et al. 2023, MEMIT,
https://arxiv.org/abs/2210.07229, algorithm 1).

Each change remembers the keys of its edits, so that edits planned later can preserve them. They
belong to the change: what is undone is no longer preserved.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from errata.cache.records import Edit, Fact
from errata.editing.base import Sequential
from errata.editing.changes import Change, WeightChange, editable
from errata.editors.shared.covariance import SecondMoment
from errata.editors.shared.fine_tuning import gradients
from errata.editors.shared.key_value import find_value, subject_states
from errata.editors.shared.located import LocatedEditor
from errata.editors.shared.memit_config import SpreadConfig
from errata.editors.shared.prompts import Batch
from errata.generation.sharing import sharing_copy
from errata.module_paths import ModulePaths, module_paths_of, stored

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

KEYS = "keys"
Config = TypeVar("Config", bound=SpreadConfig)


@dataclass(frozen=True, slots=True, eq=False)
class SpreadTarget:
    """An edit's prompts, and the residual stream it asks for.

    :param batch: prompts; the last one is the essence's, with no target.
    :param plain: prompts without a text before them, which come first.
    :param stream: z, in each of these, float64 [plain, d], on the CPU.
    """

    batch: Batch
    plain: int
    stream: torch.Tensor


class SpreadingEditor(LocatedEditor[Config], Sequential):
    """Plans all edits of a call together, layer by layer; parameters are those of the base."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Values found before one was refused: the same edits without it come next, and to search
        # again for all the others would take as long as there are refusals.
        self._searched: tuple[object, dict[Fact, SpreadTarget]] = (None, {})

    def plan_after(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        edits: Sequence[Edit],
        earlier: Sequence[Change],
    ) -> list[WeightChange]:
        """Return one change a layer, which make all edits and preserve the keys of earlier ones.

        :param earlier: the changes in the model's weights, of this editor.
        :raises errata.cache.errors.UnsupportedEdit: no fact, no subject, or no value found.
        :raises errata.cache.errors.ModelError: an unknown or quantised model.
        """
        facts = self._facts(edits)
        config = self.config_for(model)
        paths = module_paths_of(model, override=self.module_paths)
        layers = layers_of(config, paths)
        names = [paths.down_weight(layer) for layer in layers]
        weights = [editable(model, name).detach() for name in names]
        copied = sharing_copy(model)  # only the copy's weights are replaced
        with gradients():
            moments = self._second_moments(model, tokenizer, layers, config)
            targets = self._targets(copied, tokenizer, facts, layers[-1], config, paths)
            updates = []
            for number, (layer, weight) in enumerate(zip(layers, weights, strict=True)):
                keys, missing = states(copied, paths, layer, layers[-1], targets)
                residual = missing / (len(layers) - number)
                known = remembered(earlier, names[number], keys)
                update = self.update(moments[number], keys, residual, known, config)
                down = copied.get_submodule(paths.down(layer))
                updates.append(stored(down, update))
                down.weight = _sum(weight, updates[-1])
            final = [states(copied, paths, layer, layer, targets)[0] for layer in layers]
        return [
            WeightChange(name, update, {KEYS: keys})
            for name, update, keys in zip(names, updates, final, strict=True)
        ]

    @abstractmethod
    def update(
        self,
        moment: SecondMoment,
        keys: torch.Tensor,
        residual: torch.Tensor,
        known: torch.Tensor,
        config: Config,
    ) -> torch.Tensor:
        """Return the update of one layer, float64 [d, d_mlp].

        :param moment: of the layer's keys.
        :param keys: K, those of the edits, float64 [d_mlp, edits].
        :param residual: R, what W K lacks, float64 [d, edits].
        :param known: the keys of earlier edits, float64 [d_mlp, earlier edits].
        :param config: settings.
        """

    def _targets(
        self,
        model: GenerativeModel,
        tokenizer: PreTrainedTokenizerBase,
        facts: Sequence[Fact],
        last: int,
        config: Config,
        paths: ModulePaths,
    ) -> list[SpreadTarget]:
        """Return what each fact asks for; each is searched for on the same weights."""
        from rich.console import Console
        from rich.progress import track

        texts = self._contexts(model, tokenizer, config)
        mark = (config, last, texts, _versions(model))
        if mark != self._searched[0]:
            self._searched = (mark, {})
        found = self._searched[1]
        for fact in track(
            facts, self.name, console=Console(stderr=True), transient=True,
            disable=not self.progress,
        ):  # fmt: skip
            if fact not in found:
                value = find_value(
                    model, tokenizer, fact, texts, paths, last, config, self.losses, stream=True
                )
                stream = value.start.cpu().double() + value.delta.cpu().double()
                found[fact] = SpreadTarget(value.batch, value.plain, stream)
        self._searched = (None, {})
        return [found[fact] for fact in facts]


def _versions(model: GenerativeModel) -> object:
    """Return what is equal only while no parameter is written; a new object where it is unknown."""
    parameters = list(model.parameters())
    if any(parameter.is_inference() for parameter in parameters):
        return object()
    return [(parameter.data_ptr(), parameter._version) for parameter in parameters]


def layers_of(config: SpreadConfig, paths: ModulePaths) -> tuple[int, ...]:
    """Return the layers to change.

    Where a feed-forward layer's output is normalised before it is added to the residual stream
    (Gemma-2), a share of what the stream lacks is no change of the output: the last layer makes the
    whole edit.
    """
    layers = tuple(sorted(layer % paths.layers for layer in config.layers))
    return layers[-1:] if paths.post_norm else layers


def states(
    model: GenerativeModel,
    paths: ModulePaths,
    layer: int,
    last: int,
    targets: Sequence[SpreadTarget],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the keys of a layer, and what the residual stream after the last layer lacks.

    A key is half the mean over the plain prompts, half that over the prompts after a text; what is
    missing is read in the plain prompts.

    :param model: with all changes made so far.
    :param paths: of its modules.
    :param layer: whose keys.
    :param last: after which the stream is read; ``layer`` itself where it is not needed.
    :param targets: of the edits.
    :return: float64 [d_mlp, edits] and [d, edits], on the CPU.
    """
    import torch

    keys, missing = [], []
    for target in targets:
        seen = subject_states(model, paths, (layer, last), target.batch)
        found = seen.keys[layer][:-1].cpu().double()
        plain, others = found[: target.plain], found[target.plain :]
        halves = [part.mean(0) for part in (plain, others) if len(part)]
        keys.append(torch.stack(halves).mean(0))
        stream = seen.streams[last][: target.plain].cpu().double()
        missing.append((target.stream - stream).mean(0))
    return torch.stack(keys, 1), torch.stack(missing, 1)


def remembered(earlier: Sequence[Change], name: str, like: torch.Tensor) -> torch.Tensor:
    """Return the keys that changes of a parameter remember, float64 [d_mlp, edits].

    :param earlier: changes.
    :param name: of the parameter.
    :param like: keys, for the shape where none are remembered.
    """
    import torch

    found: list[Any] = [
        change.memory[KEYS]
        for change in earlier
        if isinstance(change, WeightChange) and change.name == name and KEYS in change.memory
    ]
    return torch.cat([like[:, :0], *found], 1)


def _sum(weight: torch.Tensor, update: torch.Tensor) -> torch.nn.Parameter:
    """Return a weight with its update, rounded once to the weight's dtype."""
    from torch import nn

    edited = (weight.cpu().double() + update).to(weight.device, weight.dtype)
    return nn.Parameter(edited, requires_grad=False)
