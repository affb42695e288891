"""Subjects of facts whose file names none."""

from __future__ import annotations

import dataclasses

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Fact
from errata.cache.text.subject import subject_of


def with_subject(fact: Fact) -> Fact:
    """Return a fact with its subject: the one given, or found in its question; else as it is.

    :param fact: a fact; its id stays, since a subject is no part of its content.
    """
    try:
        return dataclasses.replace(fact, subject=subject_of(fact))
    except UnsupportedEdit:
        return fact
