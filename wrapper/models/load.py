"""Load a base model by name: a shipped one, a folder, or a hub id."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from errata.cache.errors import ModelError
from errata.generation import base_model
from errata.models.atlas import load_atlas
from errata.models.smollm2 import ensure_converted, load_smollm2

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

Loader = Callable[..., "tuple[PreTrainedModel, PreTrainedTokenizerBase]"]

SHIPPED: dict[str, Loader] = {"atlas": load_atlas, "smollm2": load_smollm2}
"""Loaders of the models that errata knows by name; their parameters are the options they take."""


def prepare(name: str | Path) -> None:
    """Do what has to be done once before a model can be loaded, with progress on stderr.

    :raises ModelError: as :func:`~errata.models.smollm2.ensure_converted` does.
    """
    if str(name) == "smollm2" and not Path(name).is_dir():
        ensure_converted()


def load_base(name: str | Path, **options: Any) -> tuple[GenerativeModel, PreTrainedTokenizerBase]:
    """Return a model in evaluation mode and its tokenizer.

    :param name: a key of :data:`SHIPPED`, a folder, or a hub id; a folder takes precedence.
    :param options: for ``from_pretrained`` (dtype, device_map, quantization_config, …).
    :raises ModelError: no such model, not a model folder, or options that a shipped model does
        not take.
    """
    loader = SHIPPED.get(str(name))
    if loader is None or Path(name).is_dir():
        return base_model.load_base(name, **options)
    taken = list(inspect.signature(loader).parameters)
    if unknown := sorted(options.keys() - taken):
        raise ModelError(
            f"expected {f'no options but {taken}' if taken else 'no options'} for {name}, found "
            f"{unknown}; wrap what {loader.__name__}() returns in EditableModel yourself"
        )
    return cast("tuple[GenerativeModel, PreTrainedTokenizerBase]", loader(**options))
