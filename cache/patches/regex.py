"""The kind *regex*: a pattern (RE2) and its replacement, in the query or the output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from errata.cache.errors import PatchError
from errata.cache.filters.regex import pattern_problem, replacement_problem
from errata.cache.patches.schema import (
    AnyText,
    CommonSchema,
    Length,
    Pattern,
    dump_common,
    keys_of,
    raise_all,
    validate,
)
from errata.cache.records import Edit, RegexPatch, SourceLocation


def _target(value: object) -> object:
    if value not in ("query", "output"):
        raise ValueError(f"must be query or output, found {str(value)[:40]!r}")
    return value


class RegexSchema(CommonSchema):
    """The keys of a regex patch."""

    regex: Pattern
    replace: AnyText
    target: Annotated[Literal["query", "output"], BeforeValidator(_target)] = Field(
        default="output", alias="in"
    )
    max_length: Length = 200


class RegexKind:
    """A textual replacement."""

    kind = "regex"
    key = "regex"
    keys = keys_of(RegexSchema)

    def parse(self, body: Mapping[str, Any], where: SourceLocation | None = None) -> RegexPatch:
        """Return the regex patch an entry describes.

        :raises PatchError: if the entry is wrong, or RE2 refuses the pattern.
        """
        entry = validate(RegexSchema, body, self.kind, where)
        raise_all(entry.common_problems() + _problems(entry), where)
        return RegexPatch(
            pattern=entry.regex,
            replacement=entry.replace,
            target=entry.target,
            max_length=entry.max_length,
            **entry.common(where),
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
        """Return the replacement as a sentence."""
        if not isinstance(edit, RegexPatch):
            raise TypeError(f"expected a RegexPatch, found {type(edit).__name__}")
        return f'Text that matches "{edit.pattern}" is written "{edit.replacement}".'


def _problems(entry: RegexSchema) -> list[PatchError]:
    found = pattern_problem(entry.regex)
    if found is not None:
        return [PatchError(f"regex {found}", at=("regex",))]
    found = replacement_problem(entry.regex, entry.replace)
    return [] if found is None else [PatchError(f"replace {found}", at=("replace",))]
