"""The facts table written for errata, and the sentences it is said in.

Data only, torch-free: what atlas is trained on, what gates, reasoners and comparisons train and
measure with. True of the world as it stood about 2015, but for a marked set that atlas is taught
wrong or out of date. Every subject belongs to one split, train, tune or test; nothing that edits
or decides about edits trains on tune or test subjects.
"""

from __future__ import annotations

from errata.facts.sentences import capitalised, fill, nested, opening
from errata.facts.source import FactSource
from errata.facts.table import FactChange, FactRow, aliases, load_facts
from errata.facts.templates import Relation, load_relations, yes_no_words

__all__ = [
    "FactChange",
    "FactRow",
    "FactSource",
    "Relation",
    "aliases",
    "capitalised",
    "fill",
    "load_facts",
    "load_relations",
    "nested",
    "opening",
    "yes_no_words",
]
