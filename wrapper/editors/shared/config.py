"""Settings of the editors that train, as data: few, by editor and model.

A model without a line of its own gets the editor's line ``""``. Layers are given as depths, from
0.0 (the first block) to 1.0 (the last), so that one line fits models of any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from errata.cache.errors import EditError
from errata.editors.shared.corpus import is_atlas
from errata.module_paths import ModulePaths

if TYPE_CHECKING:
    from errata.generation.base_model import GenerativeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How an editor trains.

    :param depths: which blocks' down-projections, each 0.0 to 1.0.
    :param epochs: at most so many rounds over all edits.
    :param batch: edits in one step.
    :param rate: of Adam.
    :param enough: mean loss of an edit, in nats a token, below which it counts as learned; batches
        of learned edits are passed over, and training ends when a round finds no others.
    :param bound: FT-L: no entry moves by more than this many times the weight's root mean square;
        None sets no bound.
    :param rank: LoRA: rank of the adapters.
    :param alpha: LoRA: the adapters' output is scaled by alpha / rank.
    :param seed: of the order of the edits, and of LoRA's first values.
    """

    depths: tuple[float, ...] = (0.7,)
    epochs: int = 60
    batch: int = 16
    rate: float = 1e-3
    enough: float = 0.05
    bound: float | None = None
    rank: int = 8
    alpha: float = 16.0
    seed: int = 0

    def layers(self, sites: ModulePaths) -> tuple[int, ...]:
        """Return the layers, ascending.

        :param sites: of the model.
        """
        return tuple(sorted({round(depth * (sites.layers - 1)) for depth in self.depths}))


_TABLE: dict[str, dict[str, Tuning]] = {
    "ft": {"": Tuning(), "atlas": Tuning(depths=(0.0,))},
    "ft-l": {"": Tuning(bound=0.4), "atlas": Tuning(depths=(0.0,), bound=0.4)},
    "lora": {"": Tuning(depths=(0.5, 0.7, 0.9), rate=5e-3)},
}
"""By editor, then by ``config.model_type`` (``atlas`` for atlas). Those of atlas were chosen on
40 edits of tune subjects with ``benchmarks/weight_editors.py --split tune``, by the harmonic mean
S: its first layer generalises (PS 91, NS 85), those at 0.2 and 0.4 keep to the very words edited
(PS 49 and 60, NS 98 and 95)."""


def tuning_for(editor: str, model: GenerativeModel, changes: Mapping[str, Any]) -> Tuning:
    """Return the settings of an editor for a model.

    :param editor: its name.
    :param model: the model.
    :param changes: single settings that the caller chose.
    """
    lines = _TABLE[editor]
    kind = "atlas" if is_atlas(model) else str(model.config.model_type)
    return replace(lines.get(kind, lines[""]), **changes)


def check_changes(editor: str, changes: Mapping[str, Any]) -> None:
    """Raise unless every setting exists.

    :raises EditError: names the settings there are.
    """
    known = [field.name for field in fields(Tuning)]
    wrong = sorted(set(changes) - set(known))
    if wrong:
        raise EditError(f"{editor}: expected settings among {known}, found {wrong}")
