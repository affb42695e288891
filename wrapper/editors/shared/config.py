"""Settings of the editors that train.

Values for each model are rows of ``errata/editors/configs/{ft,ft-l,lora}.yaml``. Layers are given
as fractions of the depth, from 0.0 (the first block) to 1.0 (the last), so that one row fits models
of any size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError
from errata.deprecation import accepts_old_names, current_names
from errata.generation.model_config import ModelRow, find_model_row, load_model_rows
from errata.module_paths import ModulePaths

if TYPE_CHECKING:
    from errata.generation.base_model import GenerativeModel

CONFIGS = Path(__file__).parents[1] / "configs"

RENAMED = {
    "depths": "layer_fractions", "batch": "batch_size", "rate": "learning_rate",
    "enough": "target_loss", "bound": "max_relative_change",
}  # fmt: skip
"""Settings by their names of version 0.1."""


@accepts_old_names(RENAMED)
@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneConfig:
    """How an editor trains.

    :param layer_fractions: the blocks whose down-projections are trained, each 0.0 to 1.0.
    :param epochs: maximum number of passes over all edits.
    :param batch_size: edits in one step.
    :param learning_rate: of Adam.
    :param target_loss: mean loss of an edit, in nats a token, below which it counts as learned;
        batches of learned edits are skipped, and training ends after a pass without any other. With
        0.05 an answer is said to the very question, and less often to a rewording of it
        (results/editor_settings.md).
    :param max_relative_change: FT-L: bound on the change of an entry, relative to the weight's root
        mean square; None sets no bound.
    :param rank: LoRA: rank of the adapters.
    :param alpha: LoRA: the adapters' output is scaled by alpha / rank.
    :param seed: of the order of the edits, and of LoRA's initial values.
    """

    layer_fractions: tuple[float, ...] = (0.7,)
    epochs: int = 60
    batch_size: int = 16
    learning_rate: float = 1e-3
    target_loss: float = 0.01
    max_relative_change: float | None = None
    rank: int = 8
    alpha: float = 16.0
    seed: int = 0

    def layers(self, paths: ModulePaths) -> tuple[int, ...]:
        """Return the layers, ascending.

        :param paths: of the model.
        """
        return tuple(sorted({round(part * (paths.layers - 1)) for part in self.layer_fractions}))


_FIELDS = frozenset(field.name for field in fields(FineTuneConfig))


def config_for(editor: str, model: GenerativeModel, options: Mapping[str, Any]) -> FineTuneConfig:
    """Return the settings of an editor for a model.

    :param editor: its name.
    :param model: the model.
    :param options: settings that the caller chose.
    """
    row = row_for(editor, model, _FIELDS)
    return replace(FineTuneConfig(**row.settings), **options)


def row_for(editor: str, model: GenerativeModel, known: frozenset[str]) -> ModelRow:
    """Return the row of an editor's file of settings for a model.

    :param editor: its name.
    :param model: the model.
    :param known: the settings there are.
    """
    return find_model_row(model, load_model_rows(CONFIGS / f"{editor}.yaml", known))


def checked_options(editor: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return an editor's options under their present names.

    :param editor: its name.
    :param options: by name; a name of version 0.1 warns.
    :raises EditError: an option does not exist; names those that do.
    """
    found = current_names(options, {**RENAMED, "sites": "module_paths"})
    check_settings(editor, set(found) - {"module_paths"}, _FIELDS)
    return found


def check_settings(editor: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise EditError for a setting that an editor does not have, with those that it has.

    :param editor: its name.
    :param names: of the settings that were given.
    :param known: of those there are.
    """
    if wrong := sorted(set(names) - set(known)):
        raise EditError(f"{editor}: expected settings among {sorted(known)}, found {wrong}")
