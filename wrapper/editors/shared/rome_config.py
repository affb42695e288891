"""Settings of ROME; values for each model are rows of ``errata/editors/configs/rome.yaml``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from errata.cache.errors import EditError
from errata.deprecation import accepts_old_names, current_names
from errata.editors.shared.config import row_for
from errata.module_paths import ModulePaths

if TYPE_CHECKING:
    from errata.generation.base_model import GenerativeModel

log = logging.getLogger(__name__)

RENAMED = {
    "rate": "learning_rate", "kl": "kl_factor", "decay": "weight_decay",
    "clamp": "clamp_norm_factor", "enough": "target_loss", "hopeless": "max_loss",
}  # fmt: skip
"""Settings by their names of version 0.1."""


@accepts_old_names(RENAMED)
@dataclass(frozen=True, slots=True, kw_only=True)
class RomeConfig:
    """Hyperparameters of ROME; see Meng et al. 2022, appendix E.5, for the published values.

    :param layer: the layer whose down-projection is changed, from 0.
    :param steps: evaluations of the value's loss; no step of Adam follows the last one.
    :param learning_rate: of Adam.
    :param kl_factor: weight of the divergence on the essence prompt ("X is a").
    :param weight_decay: weight of ‖δ‖ / ‖v₀‖², with ‖δ‖ not squared, as in ROME's code.
    :param clamp_norm_factor: ‖δ‖ is at most this many times ‖v₀‖.
    :param target_loss: stop as soon as the loss is below this.
    :param max_loss: refuse the edit where the target's loss, mean over prompts and tokens in nats,
        stays above this: at 1.0 a token has a probability of 0.37 on average. Of 60 tune edits of
        atlas every one that held ended below 0.3.
    :param contexts: (length in tokens, number) of the texts before the prompts, sampled from the
        model; the prompts without any are always used, too.
    :param clozes: edit by the statement made from the question, too, where there is one; an edit
        that finds no value that way is tried by the question alone.
    :param ridge: added to the second moment, relative to the mean of its diagonal.
    :param tokens_per_key: tokens of text read for the second moment, times d_mlp.
    :param corpus: text for the second moment: sampled from the ``model``, or atlas' training
        rows, drawn from the table of ``facts``.
    """

    layer: int
    steps: int = 20
    learning_rate: float = 0.5
    kl_factor: float = 0.0625
    weight_decay: float = 0.5
    clamp_norm_factor: float = 4.0
    target_loss: float = 0.05
    max_loss: float = 1.0
    contexts: tuple[tuple[int, int], ...] = ((5, 10), (10, 10))
    clozes: bool = True
    ridge: float = 1e-6
    tokens_per_key: int = 20
    corpus: Literal["model", "facts"] = "model"

    def __post_init__(self) -> None:
        """Check the corpus.

        :raises EditError: there is no such corpus.
        """
        if self.corpus not in ("model", "facts"):
            raise EditError(f'expected corpus "model" or "facts", found {self.corpus!r}')


_FIELDS = frozenset(field.name for field in fields(RomeConfig))


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of ROME under their present names.

    :param options: by name; a name of version 0.1 warns.
    :raises EditError: an option does not exist; names those that do.
    """
    found = current_names(options, {**RENAMED, "sites": "module_paths", "settings": "config"})
    wrong = sorted(set(found) - _FIELDS - {"module_paths", "config"})
    if wrong:
        raise EditError(f"expected settings of ROME among {sorted(_FIELDS)}, found {wrong}")
    return found


def config_for(model: GenerativeModel, paths: ModulePaths) -> RomeConfig:
    """Return the settings for a model; a guess for the layer is logged.

    :param model: the model.
    :param paths: of its modules.
    """
    row = row_for("rome", model, _FIELDS | {"layer_fraction"})
    settings = dict(row.settings)
    if "layer_fraction" in settings:
        settings["layer"] = round(settings.pop("layer_fraction") * paths.layers)
    config = RomeConfig(**settings)
    if row.is_default:
        log.warning(
            "no settings of ROME for a %s of %d layers are known: trying layer %d; "
            "`errata locate` finds better ones",
            model.config.model_type,
            paths.layers,
            config.layer,
        )
    return config
