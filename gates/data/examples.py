"""One labelled pair, for training and measuring gates."""

from __future__ import annotations

from dataclasses import dataclass

from errata.gates.data.questions import Label
from errata.gates.features import Scope

LABELS = ("none", "paraphrase", "entailed")
"""Labels in the order of a trained network's classes."""


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled pair.

    :param query: the query.
    :param scope: the edit's side.
    :param label: ``paraphrase``, ``entailed`` or ``none``.
    :param kind: its kind, for tables.
    :param topic: the relation of the edit's side, where it is known.
    """

    query: str
    scope: Scope
    label: Label
    kind: str
    topic: str = ""
