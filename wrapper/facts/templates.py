"""Relations and their sentence templates: ``templates.yaml``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from errata.cache.errors import ErrataError

_REQUIRED = ("subject", "object", "questions")


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation and its sentence templates.

    Placeholders: ``{s}`` the subject, ``{a_s}`` with a or an, ``{the_s}`` with "the" where the name
    takes it, ``{o}`` the object. The ``*_held_out`` templates are never trained on.

    :param name: the relation's name.
    :param subject: kind of its subjects.
    :param object: kind of its objects.
    :param questions: questions and imperatives; the answer is the object.
    :param statements: sentences that end in the object; without it, clozes.
    :param yes_no: questions that name subject and object.
    :param reversed: questions that name the object; the answer is the subject.
    :param keywords: search queries.
    :param descriptor: noun phrases that denote the object, for one-hop questions.
    """

    name: str
    subject: str
    object: str
    questions: tuple[str, ...]
    questions_held_out: tuple[str, ...]
    statements: tuple[str, ...]
    statements_held_out: tuple[str, ...]
    yes_no: tuple[str, ...]
    yes_no_held_out: tuple[str, ...]
    reversed: tuple[str, ...]
    reversed_held_out: tuple[str, ...]
    keywords: tuple[str, ...]
    descriptor: tuple[str, ...]

    @property
    def chinese(self) -> bool:
        """Whether its templates are Chinese."""
        return not self.name.isascii()


def yes_no_words(relation: Relation) -> tuple[str, str]:
    """Return yes and no in the language of a relation."""
    return ("是", "不是") if relation.chinese else ("Yes", "No")


@functools.cache
def load_relations() -> Mapping[str, Relation]:
    """Return the relations of the shipped table, by name."""
    text = resources.files("errata.facts").joinpath("templates.yaml").read_text(encoding="utf-8")
    return parse_relations(text, "templates.yaml")


def parse_relations(text: str, name: str) -> Mapping[str, Relation]:
    """Return the relations of a file, by name.

    :param text: YAML, one mapping a relation, with the fields of :class:`Relation` as keys.
    :param name: the file's name, for errors.
    :raises ErrataError: the YAML is malformed or lacks a key; names the relation.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data: dict[str, dict[str, Any]] = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ErrataError(f"{name}: expected YAML, found: {error}") from error
    if not isinstance(data, dict):
        raise ErrataError(f"{name}: expected a mapping of relations, found {type(data).__name__}")
    for relation, body in data.items():
        missing = [key for key in _REQUIRED if not (isinstance(body, dict) and body.get(key))]
        if missing:
            raise ErrataError(
                f"{name}: relation {relation!r}: expected the keys {', '.join(_REQUIRED)}, found "
                f"no {', '.join(missing)}; add them"
            )
    return {name: _relation(name, body) for name, body in data.items()}


def _relation(name: str, body: dict[str, Any]) -> Relation:
    def templates(key: str) -> tuple[str, ...]:
        value = body.get(key, ())
        return (value,) if isinstance(value, str) else tuple(value)

    return Relation(
        name=name,
        subject=body["subject"],
        object=body["object"],
        questions=templates("questions"),
        questions_held_out=templates("questions_held_out"),
        statements=templates("statements"),
        statements_held_out=templates("statements_held_out"),
        yes_no=templates("yes_no"),
        yes_no_held_out=templates("yes_no_held_out"),
        reversed=templates("reversed"),
        reversed_held_out=templates("reversed_held_out"),
        keywords=templates("keywords"),
        descriptor=templates("descriptor"),
    )
