"""Settings of the editors that locate neurons: rows of ``configs/kn.yaml`` and ``depn.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from errata.cache.errors import EditError
from errata.editors.shared.config import check_settings, row_for

if TYPE_CHECKING:
    from errata.generation.base_model import GenerativeModel

Operation = Literal["update", "erase", "suppress", "enhance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeNeuronsConfig:
    """Hyperparameters of knowledge neurons; Dai et al. 2022, sections 3 and 5.

    :param steps: points of the integral; with 64 its error is below 1e-3.
    :param threshold: of each prompt, neurons with at least this part of the highest attribution
        (the paper's t).
    :param share: of the prompts that have a neuron in common (the paper's p).
    :param neurons: at most so many for a fact; the paper aims at 2 to 5.
    :param operation: ``update`` writes the new answer into the value columns; ``erase`` sets them
        to 0; ``suppress`` and ``enhance`` multiply the activations, leaving the weights alone.
    :param erase_factor: update: how much of the old answer's embedding is taken out (λ₁).
    :param insert_factor: update: how much of the new answer's embedding is put in (λ₂).
    :param enhance_factor: enhance: the activations are multiplied by this.
    :param answer_tokens: most tokens of the model's own answer, whose neurons are located.
    """

    steps: int = 64
    threshold: float = 0.2
    share: float = 0.7
    neurons: int = 5
    operation: Operation = "update"
    erase_factor: float = 1.0
    insert_factor: float = 8.0
    enhance_factor: float = 2.0
    answer_tokens: int = 12

    def __post_init__(self) -> None:
        """Check operation and steps.

        :raises EditError: there is no such operation, or no step.
        """
        if self.operation not in get_args(Operation):
            raise EditError(
                f"expected operation among {', '.join(get_args(Operation))}, found "
                f"{self.operation!r}"
            )
        _check_steps(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepnConfig:
    """Hyperparameters of DEPN; Wu et al. 2023, sections 3 and 4.

    :param steps: points of the integral.
    :param threshold: of each text, neurons with at least this part of the highest attribution.
    :param share: of the texts that have a neuron in common.
    :param neurons: how many are silenced, z; 0 changes nothing. The paper takes 10 to 500 of
        BERT's 36,864.
    :param selection: ``attributed``, or the control: as many ``random`` ones in the same layers.
    :param answer_tokens: most tokens of the model's own answer, where the patch has only the hash
        of its secret.
    :param seed: of the random selection.
    """

    steps: int = 64
    threshold: float = 0.1
    share: float = 0.5
    neurons: int = 20
    selection: Literal["attributed", "random"] = "attributed"
    answer_tokens: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        """Check selection and steps.

        :raises EditError: there is no such selection, or no step.
        """
        if self.selection not in ("attributed", "random"):
            raise EditError(
                f'expected selection "attributed" or "random", found {self.selection!r}'
            )
        _check_steps(self.steps)


C = TypeVar("C", KnowledgeNeuronsConfig, DepnConfig)


def config_for(kind: type[C], editor: str, model: GenerativeModel, options: Mapping[str, Any]) -> C:
    """Return the settings of an editor for a model.

    :param kind: the class of its settings.
    :param editor: its name.
    :param model: the model.
    :param options: settings that the caller chose.
    """
    row = row_for(editor, model, frozenset(field.name for field in fields(kind)))
    return replace(kind(**row.settings), **options)


def checked_options(kind: type[C], editor: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return an editor's options.

    :param kind: the class of its settings.
    :param editor: its name.
    :param options: by name.
    :raises EditError: an option does not exist; names those that do.
    """
    check_settings(editor, options, {field.name for field in fields(kind)})
    return dict(options)


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise EditError(f"expected at least 1 step of the integral, found {steps}")
