"""The kind *language*: a condition and a consequence in natural language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from errata.cache.patches.schema import (
    CommonSchema,
    Text,
    dump_common,
    keys_of,
    raise_all,
    validate,
)
from errata.cache.records import Edit, LanguagePatch, SourceLocation


class LanguageSchema(CommonSchema):
    """The keys of a language patch."""

    condition: Text = Field(alias="if")
    consequence: Text = Field(alias="then")


class LanguageKind:
    """Where the condition holds of the query, the consequence applies."""

    kind = "language"
    key = "if"
    keys = keys_of(LanguageSchema)

    def parse(self, body: Mapping[str, Any], where: SourceLocation | None = None) -> LanguagePatch:
        """Return the language patch an entry describes.

        :raises PatchError: if the entry is wrong.
        """
        entry = validate(LanguageSchema, body, self.kind, where)
        raise_all(entry.common_problems(), where)
        return LanguagePatch(
            condition=entry.condition, consequence=entry.consequence, **entry.common(where)
        )

    def dump(self, edit: Edit) -> dict[str, Any]:
        """Return the entry that describes the patch."""
        if not isinstance(edit, LanguagePatch):
            raise TypeError(f"expected a LanguagePatch, found {type(edit).__name__}")
        return {"if": edit.condition, "then": edit.consequence, **dump_common(edit)}

    def context(self, edit: Edit) -> str:
        """Return ``If …, then ….``."""
        if not isinstance(edit, LanguagePatch):
            raise TypeError(f"expected a LanguagePatch, found {type(edit).__name__}")
        consequence = edit.consequence.strip()
        end = "" if consequence[-1:] in tuple('.!?"”。！？') else "."
        return f"If {edit.condition.strip().rstrip('.,')}, then {consequence}{end}"
