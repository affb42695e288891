"""Load a base model by name: a shipped one, a folder, or a hub id."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from errata.cache.errors import ModelError
from errata.generation import base_model
from errata.models.atlas import load_atlas

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from errata.generation.base_model import GenerativeModel

Loader = Callable[[], "tuple[PreTrainedModel, PreTrainedTokenizerBase]"]

SHIPPED: dict[str, Loader] = {"atlas": load_atlas}
"""Loaders of the models that ship with errata, by name."""


def load_base(name: str | Path, **options: Any) -> tuple[GenerativeModel, PreTrainedTokenizerBase]:
    """Return a model in evaluation mode and its tokenizer.

    :param name: a key of :data:`SHIPPED`, a folder, or a hub id; a folder takes precedence.
    :param options: for ``from_pretrained`` (dtype, device_map, quantization_config, …).
    :raises ModelError: no such model, not a model folder, or options for a shipped model.
    """
    loader = SHIPPED.get(str(name))
    if loader is None or Path(name).is_dir():
        return base_model.load_base(name, **options)
    if options:
        raise ModelError(
            f"expected no options for {name}, found {sorted(options)}; "
            f"wrap what {loader.__name__}() returns in EditableModel yourself"
        )
    return cast("tuple[GenerativeModel, PreTrainedTokenizerBase]", loader())
