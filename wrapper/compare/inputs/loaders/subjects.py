"""Subjects of facts without one."""

from __future__ import annotations

import dataclasses

from errata.cache.errors import UnsupportedEdit
from errata.cache.records import Fact
from errata.cache.text.subject import subject_of


def with_subject(fact: Fact) -> Fact:
    """Return a fact with a subject: its own, or one found in its question; else unchanged.

    :param fact: a fact; its id stays, since the subject is not part of it.
    """
    try:
        return dataclasses.replace(fact, subject=subject_of(fact))
    except UnsupportedEdit:
        return fact
