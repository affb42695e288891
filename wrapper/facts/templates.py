"""Sentence templates of the relations: ``templates.yaml``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from errata.cache.errors import ErrataError

_NEEDED = ("subject", "object", "questions")


@dataclass(frozen=True, slots=True)
class Relation:
    """How a relation is asked and said.

    Placeholders: ``{s}`` the subject, ``{a_s}`` with a or an, ``{the_s}`` with "the" where its
    name wants one, ``{o}`` the object. The ``*_held_out`` forms are never trained on.

    :param name: the relation's name.
    :param subject: kind of its subjects.
    :param object: kind of its objects.
    :param questions: questions and imperatives; the answer is the object.
    :param statements: sentences that end in the object, so that what precedes it is a cloze.
    :param yes_no: questions that name subject and object.
    :param reversed: questions that name the object; the answer is the subject.
    :param keywords: as typed into a search box.
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
        """Whether its sentences are Chinese."""
        return not self.name.isascii()


def yes_no_words(relation: Relation) -> tuple[str, str]:
    """Return yes and no in the language of a relation."""
    return ("是", "不是") if relation.chinese else ("Yes", "No")


@functools.cache
def load_relations() -> Mapping[str, Relation]:
    """Return every relation by name."""
    text = resources.files("errata.facts").joinpath("templates.yaml").read_text(encoding="utf-8")
    return parse_relations(text, "templates.yaml")


def parse_relations(text: str, name: str) -> Mapping[str, Relation]:
    """Return the relations of a file of templates, by name.

    :param text: YAML, one mapping a relation, with the fields of :class:`Relation` as keys.
    :param name: of the file, for errors.
    :raises ErrataError: it is no such YAML; says what is wrong, and where.
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
        lacking = [key for key in _NEEDED if not (isinstance(body, dict) and body.get(key))]
        if lacking:
            raise ErrataError(
                f"{name}: relation {relation!r}: expected the keys {', '.join(_NEEDED)}, found no "
                f"{', '.join(lacking)}; add them"
            )
    return {name: _relation(name, body) for name, body in data.items()}


def _relation(name: str, body: dict[str, Any]) -> Relation:
    def texts(key: str) -> tuple[str, ...]:
        value = body.get(key, ())
        return (value,) if isinstance(value, str) else tuple(value)

    return Relation(
        name=name,
        subject=body["subject"],
        object=body["object"],
        questions=texts("questions"),
        questions_held_out=texts("questions_held_out"),
        statements=texts("statements"),
        statements_held_out=texts("statements_held_out"),
        yes_no=texts("yes_no"),
        yes_no_held_out=texts("yes_no_held_out"),
        reversed=texts("reversed"),
        reversed_held_out=texts("reversed_held_out"),
        keywords=texts("keywords"),
        descriptor=texts("descriptor"),
    )
