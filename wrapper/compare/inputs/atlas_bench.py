"""atlas-bench: cases made of atlas' facts, each changed to a counterfactual of the right type.

Subjects and new objects are of one split, tune or test; phrasings, statements, yes-or-no and
reversed questions are the table's held-out forms. Every answer follows from the edit and from facts
that the base model has to know (``known``). No probe depends on a fact that another case edits, so
that all can be in force at once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from errata.cache.errors import ErrataError
from errata.cache.records import Fact
from errata.compare.inputs.atlas_probes import preferences, probes
from errata.compare.inputs.atlas_world import World
from errata.compare.inputs.cases import PROPERTY_OF, Case, Probe
from errata.facts import FactChange, FactRow, FactSource, fill
from errata.facts.table import Split


def build(source: FactSource, split: Split, n: int, seed: int = 0) -> list[Case]:
    """Return cases, relations in turn; deterministic for a seed.

    :param source: facts, sentences and aliases.
    :param split: tune or test.
    :param n: how many at most; a table may give fewer, so that neighbours remain.
    :param seed: of all draws.
    :raises ErrataError: the table has nothing to change in this split.
    """
    rng = random.Random(f"atlas-bench/{split}/{seed}")
    world = World(source, split)
    facts = world.choose(n, rng)
    if not facts:
        raise ErrataError(
            f"expected facts of {split} subjects with other {split} objects to change them to, "
            "found none; name another --split, or add some to facts.tsv"
        )
    changes = [FactChange(fact, world.target(fact, rng)) for fact in facts]
    return [_case(world, change, seed) for change in changes]


def _case(world: World, change: FactChange, seed: int) -> Case:
    fact: FactRow = change.fact
    case_id = f"{fact.relation}/{fact.subject}"
    rng = random.Random(f"atlas-bench/{case_id}/{seed}")
    question = fill(world.relation(fact).questions[0], fact.subject)
    by_prompt: dict[str, Probe] = {}
    for probe in probes(world, change, question, rng):
        by_prompt.setdefault(probe.prompt, probe)
    return Case(
        id=case_id,
        edits=(Fact(question, change.target, subject=fact.subject),),
        probes=tuple(by_prompt.values()),
        preferences=tuple(preferences(world, change, question, rng)),
        old=fact.believed,
        group=fact.relation,
        split=world.split,
    )


def summary(cases: Sequence[Case]) -> dict[str, Any]:
    """Return how many cases, probes and preferences there are of each kind."""
    kinds = Counter(probe.kind for case in cases for probe in case.probes)
    return {
        "cases": len(cases),
        "probes": {kind: kinds[kind] for kind in PROPERTY_OF if kinds[kind]},
        "preferences": dict(Counter(one.kind for case in cases for one in case.preferences)),
        "groups": dict(sorted(Counter(case.group for case in cases).items())),
    }
