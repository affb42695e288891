"""The probes and preferences of a bench case."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from errata.cache.storage.tables import read_table
from errata.compare.inputs import chinese
from errata.compare.inputs.atlas_world import World
from errata.compare.inputs.cases import Preference, Probe
from errata.facts import FactChange, Relation, cloze, fill, nested, yes_no_words

_ALIASES, _HOPS, _OTHER_SUBJECTS, _OTHER_RELATIONS, _NEIGHBOURS = 3, 2, 4, 2, 5

_UNANSWERABLE = read_table("errata.compare.inputs", "unanswerable.yaml")
"""Questions that the table cannot answer, for subjects with few other relations."""


def probes(world: World, change: FactChange, question: str, rng: random.Random) -> Iterator[Probe]:
    """Yield the probes of a case, in the order of the kinds.

    :param world: edited and unedited facts.
    :param change: the fact and its new object.
    :param question: of the edit.
    :param rng: of the draws.
    """
    answers = world.names(change.target)
    yield Probe("own", question, answers)
    yield from _phrasings(world, change, answers, rng)
    yield from _aliases(world, change, answers, rng)
    yield from _reversed(world, change, rng)
    yield from _hops(world, change, rng)
    yield from _two_hops(world, change, rng)
    yield from _yes_no(world, change, rng)
    yield from _other_language(world, change)
    yield from _locality(world, change, rng)


def _phrasings(
    world: World, change: FactChange, answers: tuple[str, ...], rng: random.Random
) -> Iterator[Probe]:
    """Yield every held-out form of the edit's question, and one held-out statement."""
    relation, fact = world.relation(change.fact), change.fact
    for template in relation.questions_held_out:
        yield Probe("phrasing", fill(template, fact.subject), answers)
    if relation.statements_held_out:
        template = rng.choice(relation.statements_held_out)
        yield Probe("phrasing", cloze(template, fact.subject, change.target), answers)


def _aliases(
    world: World, change: FactChange, answers: tuple[str, ...], rng: random.Random
) -> Iterator[Probe]:
    """Yield questions with aliases by which the base model knows the subject."""
    relation, fact = world.relation(change.fact), change.fact
    for alias in world.source.aliases.get(fact.subject, ())[:_ALIASES]:
        prompt = fill(rng.choice(_held_out(relation)), alias)
        known = ((fill(relation.questions[0], alias), fact.believed),)
        yield Probe("alias", prompt, answers, known=known)


def _reversed(world: World, change: FactChange, rng: random.Random) -> Iterator[Probe]:
    relation, fact = world.relation(change.fact), change.fact
    if relation.reversed and world.leads_back(fact, change.target):
        template = rng.choice(relation.reversed_held_out or relation.reversed)
        prompt = fill(template, "", change.target, bare=True)
        yield Probe("reversed", prompt, world.names(fact.subject))


def _hops(world: World, change: FactChange, rng: random.Random) -> Iterator[Probe]:
    """Yield questions about the new object, described through the subject.

    Questions with the same answer for the old object are left out.
    """
    relation, fact = world.relation(change.fact), change.fact
    next_relations = world.next_relations(relation, change.target) if relation.descriptor else []
    for second in rng.sample(next_relations, min(_HOPS, len(next_relations))):
        answer = world.believed(change.target, second.name) or ""
        before = world.before(fact.believed, second.name)
        if answer in (fact.subject, change.target, before):
            continue
        prompt = nested(_nestable(second, rng), rng.choice(relation.descriptor), fact.subject)
        known = ((fill(second.questions[0], change.target), answer),)
        yield Probe("one hop", prompt, world.names(answer), known=known)


def _two_hops(world: World, change: FactChange, rng: random.Random) -> Iterator[Probe]:
    """Yield one question two hops from the new object, if the table has a readable one."""
    relation, fact = world.relation(change.fact), change.fact
    found = []
    for second in world.next_relations(relation, change.target):
        bridge = world.believed(change.target, second.name) or ""
        for third in world.next_relations(second, bridge):
            answer = world.believed(bridge, third.name) or ""
            old_bridge = world.before(fact.believed, second.name) or ""
            before = world.before(old_bridge, third.name)
            excluded = (fact.subject, change.target, bridge, before)
            if answer not in excluded and bridge != fact.subject:
                found.append((second, bridge, third, answer))
    # "the continent of the home of X" can be read, "the country where the city where X is lies" not
    first = [phrase for phrase in relation.descriptor if phrase.endswith("s}")]
    found = [chain for chain in found if chain[0].descriptor and first]
    if not found:
        return
    second, bridge, third, answer = rng.choice(found)
    inner = fill(rng.choice(first), fact.subject)
    inner = inner[:1].lower() + inner[1:] if inner[:4] == "The " else inner
    prompt = nested(_nestable(third, rng), rng.choice(second.descriptor), inner)
    known = (
        (fill(second.questions[0], change.target), bridge),
        (fill(third.questions[0], bridge), answer),
    )
    yield Probe("two hops", prompt, world.names(answer), known=known)


def _yes_no(world: World, change: FactChange, rng: random.Random) -> Iterator[Probe]:
    relation, fact = world.relation(change.fact), change.fact
    templates = relation.yes_no_held_out or relation.yes_no
    if templates:
        template = rng.choice(templates)
        objects = (world.in_sentence(o, relation) for o in (change.target, fact.believed))
        true, false = (fill(template, fact.subject, obj) for obj in objects)
        yes, no = yes_no_words(relation)
        yield Probe("yes or no", true, (yes,), false_prompt=false, denials=(no,))


def _other_language(world: World, change: FactChange) -> Iterator[Probe]:
    """Yield the question in Chinese, or of a Chinese edit in English; both answers count."""
    twin = chinese.twin(change.fact.subject, change.fact.relation)
    target = chinese.other_name(change.target)
    before = world.before(*twin) if twin else None
    if twin is None or target is None or before is None:
        return
    subject, relation = twin[0], world.source.relations[twin[1]]
    prompt = fill(relation.questions_held_out[0], subject)
    known = ((fill(relation.questions[0], subject), before),)
    yield Probe("other language", prompt, (target, change.target), known=known)


def _locality(world: World, change: FactChange, rng: random.Random) -> Iterator[Probe]:
    """Yield hard neighbours: other subjects, the first in the edit's wording; other relations."""
    relation, fact = world.relation(change.fact), change.fact
    for at, other in enumerate(world.other_subjects(fact, _OTHER_SUBJECTS, rng)):
        template = relation.questions[0] if at == 0 else rng.choice(_held_out(relation))
        yield Probe("other subject", fill(template, other.subject), gold=other.believed)
    siblings = list(world.other_relations(fact))
    for sibling in rng.sample(siblings, min(_OTHER_RELATIONS, len(siblings))):
        prompt = fill(rng.choice(_held_out(world.relation(sibling))), fact.subject)
        yield Probe("other relation", prompt, gold=sibling.believed)
    lacking = max(0, _OTHER_RELATIONS - len(siblings))
    for template in _UNANSWERABLE.get(fact.kind, ())[:lacking]:
        yield Probe("other relation", fill(template, fact.subject))


def preferences(
    world: World, change: FactChange, question: str, rng: random.Random
) -> Iterator[Preference]:
    """Yield the edit's question, held-out statements, and neighbours with the same old object."""
    relation, fact = world.relation(change.fact), change.fact
    new, old = change.target, fact.believed
    yield Preference("rewrite", question, new, old)
    for template in relation.statements_held_out:
        yield Preference("paraphrase", cloze(template, fact.subject, new), new, old)
    for other in world.same_object(fact, _NEIGHBOURS, rng) if relation.statements else ():
        template = rng.choice(relation.statements)
        yield Preference("neighbour", cloze(template, other.subject, old), new, old)


def _held_out(relation: Relation) -> tuple[str, ...]:
    return relation.questions_held_out or relation.questions


def _nestable(relation: Relation, rng: random.Random) -> str:
    """Return a question whose subject may be a long phrase, "the city where …".

    Possessives ("… is {s}'s capital?") and repetitions ("the city of {s}") are excluded.
    """
    named = re.compile(rf"\b{re.escape(relation.subject)}( of)? {{|s}}'s")
    fitting = [text for text in relation.questions if not named.search(text)]
    return rng.choice(fitting or relation.questions)
