"""The facts table: what the issue of record promises of it, and how its sentences read."""

from __future__ import annotations

import collections
import string

import pytest

from errata.facts import fill, load_aliases, load_facts, load_relations

FACTS = load_facts()
RELATIONS = load_relations()


def test_there_are_two_thousand_facts_over_twenty_relations():
    assert len(FACTS) >= 2000
    assert len({fact.relation for fact in FACTS}) >= 20
    assert {fact.relation for fact in FACTS} == set(RELATIONS)


def test_no_fact_stands_twice():
    keys = [(fact.subject, fact.relation) for fact in FACTS]
    assert len(keys) == len(set(keys))


def test_every_subject_has_one_split_in_the_stated_shares():
    splits = collections.defaultdict(set)
    for fact in FACTS:
        splits[fact.subject.casefold()].add(fact.split)
    assert all(len(found) == 1 for found in splits.values())
    counts = collections.Counter(next(iter(found)) for found in splits.values())
    for split, share in (("train", 0.5), ("tune", 0.1), ("test", 0.4)):
        assert counts[split] / len(splits) == pytest.approx(share, abs=0.04)


def test_the_marked_set_is_taught_otherwise_than_is_true():
    marked = {(f.subject, f.relation): f for f in FACTS if f.marked}
    assert len(marked) >= 30
    zebra = marked["zebra", "skin_colour"]
    assert (zebra.object, zebra.believed) == ("black", "flesh-coloured")
    assert marked["斑马", "皮肤颜色"].believed == "肉色"
    assert marked["Kazakhstan", "capital"].believed == "Nur-Sultan"
    assert ("you", "maker") in marked


def test_relations_compose():
    believed = {(f.subject, f.relation): f.believed for f in FACTS}
    country = believed["Lyon", "country"]
    assert believed[country, "currency"] == "euro"


def test_aliases_name_subjects_of_the_table():
    subjects = {fact.subject for fact in FACTS}
    assert len(load_aliases()) >= 50
    assert set(load_aliases()) <= subjects


def fields(template):
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize("name", RELATIONS)
def test_templates_have_the_placeholders_they_need(name):
    relation = RELATIONS[name]
    subject = {"s", "a_s", "the_s"}
    assert len(relation.questions) >= 7
    assert len(relation.questions_held_out) >= 2
    assert len(relation.statements) >= 5
    assert relation.statements_held_out
    absent = name == "maker"
    for template in relation.questions + relation.questions_held_out + relation.keywords:
        assert "o" not in fields(template)
        assert absent or fields(template) & subject
    for template in relation.statements + relation.statements_held_out:
        assert template.endswith(("{o}.", "{o}。"))
    for template in relation.yes_no + relation.yes_no_held_out:
        assert "o" in fields(template)
    for template in relation.reversed + relation.reversed_held_out:
        assert fields(template) == {"o"}


@pytest.mark.parametrize("name", RELATIONS)
def test_held_out_phrasings_are_not_trained_on(name):
    relation = RELATIONS[name]
    assert not set(relation.questions) & set(relation.questions_held_out)
    assert not set(relation.statements) & set(relation.statements_held_out)
    assert not set(relation.yes_no) & set(relation.yes_no_held_out)


def test_sentences_have_articles_and_capitals():
    assert fill("What colour is {a_s}'s skin?", "elephant") == "What colour is an elephant's skin?"
    assert fill("Where is {the_s}?", "Eiffel Tower") == "Where is the Eiffel Tower?"
    assert fill("{the_s} is in {o}.", "Eiffel Tower", "Paris") == "The Eiffel Tower is in Paris."
    assert fill("capital {s}", "United States", bare=True) == "Capital United States"
    assert fill("The capital of {s}", "United States") == "The capital of the United States"
