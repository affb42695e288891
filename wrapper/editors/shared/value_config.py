"""Settings of the methods that locate and edit.

Values for each model are rows of the files in ``errata/editors/configs``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

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
class ValueConfig:
    """How the value of a new fact is found, and the statistics of keys.

    See Meng et al. 2022, appendix E.5, for the published values of ROME.

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
    :param tokens_per_key: tokens of text read for the second moment, times d_mlp, at least.
    :param max_tokens_per_key: at most, where its condition number asks for more
        (:func:`errata.editors.shared.covariance.settled_moments`).
    :param corpus: text for the second moment: sampled from the ``model``, or atlas' training
        rows, drawn from the table of ``facts``.
    """

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
    max_tokens_per_key: int = 80
    corpus: Literal["model", "facts"] = "model"

    def __post_init__(self) -> None:
        """Check the corpus, and take lists, as files of settings have them, for tuples.

        :raises EditError: there is no such corpus.
        """
        object.__setattr__(self, "contexts", tuple(map(tuple, self.contexts)))
        if self.corpus not in ("model", "facts"):
            raise EditError(f'expected corpus "model" or "facts", found {self.corpus!r}')


@accepts_old_names(RENAMED)
@dataclass(frozen=True, slots=True, kw_only=True)
class RomeConfig(ValueConfig):
    """Hyperparameters of ROME.

    :param layer: the layer whose down-projection is changed, from 0.
    """

    layer: int


Settings = TypeVar("Settings")


def checked_options(kind: type[ValueConfig], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return an editor's options under their present names.

    :param kind: the class of its settings.
    :param options: by name; a name of version 0.1 warns.
    :raises EditError: an option does not exist; names those that do.
    """
    found = current_names(options, {**RENAMED, "sites": "module_paths", "settings": "config"})
    known = {field.name for field in fields(kind)}
    if wrong := sorted(set(found) - known - {"module_paths", "config"}):
        raise EditError(
            f"expected settings of {kind.__name__} among {sorted(known)}, found {wrong}"
        )
    return found


def config_for(
    editor: str, kind: type[Settings], model: GenerativeModel, paths: ModulePaths
) -> Settings:
    """Return the settings of an editor for a model; a guess for the layers is logged.

    A row gives layers by number, or as fractions of the number of layers: ``layer_fraction`` for
    ``layer``, ``layer_fractions`` for ``layers``.

    :param editor: its name.
    :param kind: the class of its settings.
    :param model: the model.
    :param paths: of its modules.
    """
    settings_class: Any = kind
    known = frozenset(field.name for field in fields(settings_class)) | {
        "layer_fraction",
        "layer_fractions",
    }
    row = row_for(editor, model, known)
    settings = dict(row.settings)
    if "layer_fraction" in settings:
        settings["layer"] = round(settings.pop("layer_fraction") * paths.layers)
    if "layer_fractions" in settings:
        found = {round(part * paths.layers) for part in settings.pop("layer_fractions")}
        settings["layers"] = tuple(sorted(found))
    config = kind(**settings)
    if row.is_default and {"layer", "layers"} & settings.keys():
        log.warning(
            "no settings of %s for a %s of %d layers are known: trying layer %s; "
            "`errata locate` finds better ones",
            editor,
            model.config.model_type,
            paths.layers,
            settings.get("layer", settings.get("layers")),
        )
    return config
