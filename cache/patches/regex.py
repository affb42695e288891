"""The kind *regex*: a pattern (RE2) and what replaces it, in the query or in the output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from errata.cache.errors import PatchError
from errata.cache.filters.regex import pattern_problem, replacement_problem
from errata.cache.patches.schema import (
    AnyText,
    CommonShape,
    Length,
    Text,
    dump_common,
    fit,
    keys_of,
    raise_all,
)
from errata.cache.records import Edit, RegexPatch, SourceLocation


def _target(value: object) -> object:
    if value not in ("query", "output"):
        raise ValueError(f"must be query or output, found {str(value)[:40]!r}")
    return value


class RegexShape(CommonShape):
    """The keys of a regex patch."""

    regex: Text
    replace: AnyText
    target: Annotated[Literal["query", "output"], BeforeValidator(_target)] = Field(
        default="output", alias="in"
    )
    max_length: Length = 200


class RegexKind:
    """A precise textual replacement."""

    kind = "regex"
    key = "regex"
    keys = keys_of(RegexShape)

    def parse(self, body: Mapping[str, Any], where: SourceLocation | None = None) -> RegexPatch:
        """Return the regex patch an entry describes.

        :raises PatchError: if the entry is wrong, or RE2 refuses the pattern.
        """
        shape = fit(RegexShape, body, self.kind, where)
        raise_all(shape.common_problems() + _problems(shape), where)
        return RegexPatch(
            pattern=shape.regex,
            replacement=shape.replace,
            target=shape.target,
            max_length=shape.max_length,
            **shape.common(where),
        )

    def dump(self, edit: Edit) -> dict[str, Any]:
        """Return the entry that describes the patch."""
        if not isinstance(edit, RegexPatch):
            raise TypeError(f"expected a RegexPatch, found {type(edit).__name__}")
        entry: dict[str, Any] = {
            "regex": edit.pattern,
            "replace": edit.replacement,
            "in": edit.target,
        }
        if edit.max_length != RegexPatch.max_length:
            entry["max_length"] = edit.max_length
        return {**entry, **dump_common(edit)}

    def context(self, edit: Edit) -> str:
        """Return the replacement in a sentence."""
        if not isinstance(edit, RegexPatch):
            raise TypeError(f"expected a RegexPatch, found {type(edit).__name__}")
        return f'Text that matches "{edit.pattern}" is written "{edit.replacement}".'


def _problems(shape: RegexShape) -> list[PatchError]:
    found = pattern_problem(shape.regex)
    if found is not None:
        return [PatchError(f"regex {found}", at=("regex",))]
    found = replacement_problem(shape.regex, shape.replace)
    return [] if found is None else [PatchError(f"replace {found}", at=("replace",))]
