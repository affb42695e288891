"""Settings by base model, as rows of a YAML file.

::

    - name: atlas                    # for readers
      fingerprint: cad35ec6…         # errata.generation.fingerprint.base_fingerprint
      settings: {layer: 1}
      source: Chosen on 40 edits of tune subjects, …
    - name: GPT-2 XL
      model_type: gpt2               # config.model_type
      layers: 48                     # config.num_hidden_layers
      settings: {layer: 17}
      source: Meng et al. 2022
    - name: default
      settings: {layer_fraction: 0.2}
      source: A guess.

The row used is the first that matches by fingerprint, else by model type and layers, else by model
type, else the one that names no model. Every row says in ``source`` where its settings come from.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from errata.cache.errors import ErrataError
from errata.generation.fingerprint import base_fingerprint

if TYPE_CHECKING:
    from torch import nn

_TYPES = {
    "name": str, "fingerprint": str, "model_type": str, "layers": int, "settings": dict,
    "source": str,
}  # fmt: skip
_NEEDED = ("name", "settings", "source")

_Key = tuple[str | None, str | None, int | None]
_DEFAULT: _Key = (None, None, None)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """Settings for one model, one family, or all other models.

    :param name: the model, for readers.
    :param settings: by name.
    :param source: where they come from.
    :param fingerprint: of one model's weights.
    :param model_type: ``config.model_type``.
    :param layers: ``config.num_hidden_layers``; needs ``model_type``.
    """

    name: str
    settings: Mapping[str, Any] = field(hash=False)
    source: str
    fingerprint: str | None = None
    model_type: str | None = None
    layers: int | None = None

    @property
    def key(self) -> _Key:
        """What the row is found by."""
        return self.fingerprint, self.model_type, self.layers

    @property
    def is_default(self) -> bool:
        """Whether the row is for models without a row of their own."""
        return self.key == _DEFAULT


@functools.cache
def load_model_rows(path: Path, known: frozenset[str]) -> tuple[ModelRow, ...]:
    """Return the rows of a file.

    :param path: a YAML file.
    :param known: the settings there are.
    :raises ErrataError: the file cannot be read, or a row has another key, lacks one, or repeats
        another row's model; names file, row and key.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ErrataError(f"expected settings by model in {path}, found: {error}") from error
    if not isinstance(data, list):
        raise ErrataError(f"{path}: expected a list of rows, found {type(data).__name__}")
    rows = tuple(_row(body, f"{path}: row {number}", known) for number, body in enumerate(data, 1))
    keys = [row.key for row in rows]
    for row in rows:
        if keys.count(row.key) > 1:
            raise ErrataError(
                f"{path}: expected one row a model, found two like {row.name!r}; delete one"
            )
    if _DEFAULT not in keys:
        raise ErrataError(f"{path}: expected a row without fingerprint and model_type, found none")
    return rows


def find_model_row(model: nn.Module, rows: Sequence[ModelRow]) -> ModelRow:
    """Return the row for a model.

    :param model: a model of `transformers`, with or without edits in its weights.
    :param rows: of :func:`load_model_rows`.
    """
    config = getattr(model, "config", None)
    model_type = getattr(config, "model_type", None)
    layers = getattr(config, "num_hidden_layers", None)
    by_key = {row.key: row for row in rows}
    order: list[_Key] = [
        (base_fingerprint(model), None, None),
        (None, model_type, layers),
        (None, model_type, None),
    ]
    return next((by_key[key] for key in order if key in by_key), by_key[_DEFAULT])


def _row(body: object, where: str, known: frozenset[str]) -> ModelRow:
    if not isinstance(body, dict):
        raise ErrataError(f"{where}: expected a mapping, found {type(body).__name__}")
    _check_keys(body, _TYPES, where)
    for key in _NEEDED:
        if key not in body:
            raise ErrataError(f"{where}: expected the key {key!r}, found none; add it")
    for key, value in body.items():
        if type(value) is not _TYPES[key]:
            raise ErrataError(
                f"{where}: expected {_TYPES[key].__name__} for {key!r}, found {value!r}"
            )
    if ("layers" in body and "model_type" not in body) or {"fingerprint", "model_type"} <= set(
        body
    ):
        raise ErrataError(
            f"{where}: expected either 'fingerprint', or 'model_type' with or without 'layers', "
            f"found {sorted(set(body) & {'fingerprint', 'model_type', 'layers'})}"
        )
    _check_keys(body["settings"], known, f"{where}: settings")
    settings = {key: _immutable(value) for key, value in body["settings"].items()}
    return ModelRow(**{**body, "settings": settings, "source": " ".join(body["source"].split())})


def _check_keys(body: Mapping[Any, Any], known: Any, where: str) -> None:
    for key in body:
        if key not in known:
            raise ErrataError(f"{where}: expected keys among {sorted(known)}, found {key!r}")


def _immutable(value: Any) -> Any:
    """Return a value with tuples for its lists."""
    return tuple(map(_immutable, value)) if isinstance(value, list) else value
