"""English names of the facts table's Chinese relations, subjects and objects."""

from __future__ import annotations

from errata.cache.storage.tables import read_table

_NAMES = read_table("errata.compare.inputs", "chinese.yaml")
RELATIONS: dict[str, str] = _NAMES["relations"]
ENGLISH: dict[str, str] = {**_NAMES["subjects"], **_NAMES["objects"]}
CHINESE = {english: chinese for chinese, english in ENGLISH.items()}
CHINESE_RELATIONS = {english: chinese for chinese, english in RELATIONS.items()}


def canonical(subject: str, relation: str) -> tuple[str, str]:
    """Return a fact's key, the same in both languages."""
    return ENGLISH.get(subject, subject), RELATIONS.get(relation, relation)


def twin(subject: str, relation: str) -> tuple[str, str] | None:
    """Return a fact's subject and relation in the other language, None if there is none."""
    subjects, relations = (
        (ENGLISH, RELATIONS) if relation in RELATIONS else (CHINESE, CHINESE_RELATIONS)
    )
    if subject in subjects and relation in relations:
        return subjects[subject], relations[relation]
    return None


def other_name(obj: str) -> str | None:
    """Return an object's name in the other language, None if there is none."""
    return ENGLISH.get(obj) or CHINESE.get(obj)
