"""The facts table of errata, and the sentence templates of its relations.

Training data of atlas; training and test data of gates, reasoners and comparisons. Torch-free. The
facts hold for the world of about 2015, except a marked set of which atlas is trained on wrong or
outdated objects. Every subject belongs to one split (train, tune or test); gates, reasoners and
editors never train on tune or test subjects.
"""

from __future__ import annotations

from errata.facts.sentences import capitalised, cloze, fill, nested, uncapitalised
from errata.facts.source import FactSource
from errata.facts.table import FactChange, FactRow, load_aliases, load_facts
from errata.facts.templates import Relation, load_relations, yes_no_words

__all__ = [
    "FactChange",
    "FactRow",
    "FactSource",
    "Relation",
    "capitalised",
    "cloze",
    "fill",
    "load_aliases",
    "load_facts",
    "load_relations",
    "nested",
    "uncapitalised",
    "yes_no_words",
]
