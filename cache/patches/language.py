"""The kind *language*: a condition and a consequence, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from errata.cache.patches.schema import CommonShape, Text, dump_common, fit, keys_of, raise_all
from errata.cache.records import Edit, LanguagePatch, SourceLocation


class LanguageShape(CommonShape):
    """The keys of a language patch."""

    condition: Text = Field(alias="if")
    consequence: Text = Field(alias="then")


class LanguageKind:
    """If the condition holds of the input, the consequence does."""

    kind = "language"
    key = "if"
    keys = keys_of(LanguageShape)

    def parse(self, body: Mapping[str, Any], where: SourceLocation | None = None) -> LanguagePatch:
        """Return the language patch an entry describes.

        :raises PatchError: if the entry is wrong.
        """
        shape = fit(LanguageShape, body, self.kind, where)
        raise_all(shape.common_problems(), where)
        return LanguagePatch(
            condition=shape.condition, consequence=shape.consequence, **shape.common(where)
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
