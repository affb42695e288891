"""Settings of a command: a YAML file for ``--config``, overridden by what is on the command line.

    settings = read_settings(TrainSettings, config, on_command_line(context, MOVED, ("config",)))

For one version, options that have become keys of the file are still accepted, hidden from
``--help``; :func:`on_command_line` says on stderr which key replaces each.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from errata.cache.errors import ErrataError
from errata.commands.output import print_line

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

T = TypeVar("T")

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings in YAML; options override them."),
]


def read_config(path: str | Path, keys: Collection[str]) -> dict[str, Any]:
    """Return the settings of a YAML file, a mapping from names to values.

    :param path: the file; an empty one holds no settings.
    :param keys: the names that are known.
    :raises ErrataError: the file cannot be read, is no mapping, or has an unknown name; names
        file and line, and the nearest known name.
    """
    return {key: value for key, (value, _) in _entries(path, keys).items()}


def read_settings(
    kind: type[T],
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> T:
    """Return the settings of a command, each value checked against its type.

    :param kind: a dataclass; its fields name the settings, and give their types and defaults.
    :param config: a YAML file of some of them.
    :param options: values that override those of the file.
    :raises ErrataError: as :func:`read_config`, or a value is of another type.
    """
    fields = [field.name for field in dataclasses.fields(typing.cast("Any", kind)) if field.init]
    hints = typing.get_type_hints(kind, include_extras=True)
    entries = {} if config is None else _entries(config, fields)
    found = {key: _typed(hints[key], value, f"{where}: {key}")
             for key, (value, where) in entries.items()}  # fmt: skip
    found |= {key: _typed(hints[key], value, key) for key, value in (options or {}).items()}
    return kind(**found)


def _typed(hint: Any, value: Any, where: str) -> Any:
    """Return a value as its type: a path of a text, a tuple of a list, ….

    :raises ErrataError: it is of another type.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"]
        raise ErrataError(
            f"{where}: {what[:1].lower()}{what[1:]}, found {value!r}; correct the value"
        ) from error


def on_command_line(
    context: typer.Context, moved: Mapping[str, str] | None = None, without: Collection[str] = ()
) -> dict[str, Any]:
    """Return the options that are on the command line, without defaults.

    :param context: of the command.
    :param moved: options that have become keys of ``--config``: the parameter's name and the key,
        under which its value is returned.
    :param without: parameters that are no settings, such as ``config`` itself.
    """
    moved = moved or {}
    found = {}
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name in without or source is None or source.name != "COMMANDLINE":
            continue
        if name in moved:
            flag = max(parameter.opts, key=len)
            print_line(
                f"warning: {flag} goes in the next version; write `{moved[name]}: …` into a YAML "
                "file and pass it as --config FILE",
                style="yellow",
                stderr=True,
            )
        found[moved.get(name, name)] = context.params[name]
    return found


def _entries(path: str | Path, keys: Collection[str]) -> dict[str, tuple[Any, str]]:
    """Return each setting's value and ``file:line``."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ErrataError(
            f"{path}: expected a YAML file of settings, found: {error}; name another"
        ) from error
    try:
        root = YAML(typ="safe", pure=True).compose(text)
        values = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise ErrataError(f"{where}: expected YAML, found: {problem}; correct it") from error
    if root is None:
        return {}
    if not isinstance(values, dict):
        raise ErrataError(
            f"{path}:{root.start_mark.line + 1}: expected settings, one `name: value` a line, "
            f"found {type(values).__name__}; write them so"
        )
    places = {key.value: f"{path}:{key.start_mark.line + 1}" for key, _ in _pairs(root)}
    for name in values:
        if name not in keys:
            raise ErrataError(f"{places.get(str(name), path)}: {_unknown(str(name), keys)}")
    return {name: (value, places[name]) for name, value in values.items()}


def _pairs(root: Node) -> list[tuple[Node, Node]]:
    return list(root.value)


def _unknown(name: str, keys: Collection[str]) -> str:
    close = difflib.get_close_matches(name, keys, n=1)
    mend = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(sorted(keys))}"
    return f"unknown setting {name!r}; {mend}"
