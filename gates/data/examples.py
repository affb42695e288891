"""One labelled pair, what the gate is trained and measured on."""

from __future__ import annotations

from dataclasses import dataclass

from errata.gates.data.questions import Label
from errata.gates.features import Scope


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled pair.

    :param query: the query.
    :param scope: the edit's side.
    :param label: ``same``, ``follows`` or ``none``.
    :param kind: what sort of pair, for tables.
    :param topic: the relation of the edit's side, where it is known.
    """

    query: str
    scope: Scope
    label: Label
    kind: str
    topic: str = ""
