"""The JSON Schema of patch files, for editors and other linters."""

from __future__ import annotations

from typing import Any

from errata.cache.patches.fact import FactSchema
from errata.cache.patches.kinds import kinds
from errata.cache.patches.language import LanguageSchema
from errata.cache.patches.regex import RegexSchema
from errata.cache.patches.schema import CommonSchema

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_SCALAR = {"type": ["string", "number", "boolean", "null"]}
"""A text: YAML's readers make numbers and the like of what is typed as one."""


def json_schema(*, line: bool = False) -> dict[str, Any]:
    """Return the schema of a patch file in YAML, or of one line of JSON lines.

    It is looser than ``errata check``: it knows keys and types, not what a pattern may be.

    :param line: one patch instead of a list.
    """
    schemas: dict[str, type[CommonSchema]] = {
        "fact": FactSchema,
        "language": LanguageSchema,
        "regex": RegexSchema,
    }
    definitions = {
        name: _loosened(schema.model_json_schema(by_alias=True)) for name, schema in schemas.items()
    }
    for name, kind in kinds().items():
        definitions.setdefault(name, {"type": "object", "required": [kind.key]})
    keys = {name: kind.key for name, kind in kinds().items()}
    # not oneOf: a validator then names the key that is wrong, of the kind that is meant
    patch = {
        "type": "object",
        "anyOf": [{"required": [key]} for key in keys.values()],
        "allOf": [
            {"if": {"required": [key]}, "then": {"$ref": f"#/$defs/{name}"}}
            for name, key in keys.items()
        ],
    }
    body: dict[str, Any] = patch if line else {"type": ["array", "null"], "items": patch}
    return {
        "$schema": DRAFT,
        "title": "A patch of errata" if line else "A patch file of errata",
        **body,
        "$defs": definitions,
    }


def _loosened(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a kind's schema, with the texts that files may have for numbers, lists and flags."""
    inner = {key: _loosened(value) for key, value in schema.pop("$defs", {}).items()}
    properties = {
        key: _property(value, inner) for key, value in schema.get("properties", {}).items()
    }
    return {
        "type": "object",
        "description": schema.get("description", ""),
        "properties": properties,
        "required": schema.get("required", []),
        "additionalProperties": False,
    }


def _property(schema: dict[str, Any], inner: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one key."""
    options = schema.get("anyOf", [schema])
    types = {option.get("type") for option in options}
    reference = next((option["$ref"] for option in options if "$ref" in option), None)
    if reference is not None:
        return dict(inner[reference.rsplit("/", 1)[-1]])
    if "array" in types:
        return {"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}
    if "object" in types:
        return {"type": "object", "additionalProperties": _SCALAR}
    if "enum" in schema or "const" in schema:
        return {"enum": schema.get("enum", [schema.get("const")])}
    if "integer" in types:
        return {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[+-]?[0-9]+$"}]}
    if "number" in types:
        limits = {"minimum": 0, "maximum": 1}
        text = {"type": "string", "pattern": "^(0?\\.[0-9]+|[01](\\.0*)?)$"}
        return {"anyOf": [{"type": "number", **limits}, text]}
    if "boolean" in types:
        words = ["true", "false", "yes", "no", "on", "off"]
        return {"anyOf": [{"type": "boolean"}, {"enum": words}]}
    if any(option.get("format") == "date" for option in options):
        return {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
    return dict(_SCALAR)
