"""atlas-bench: nothing in it was trained on, nothing in it is open to doubt."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from errata.cache.errors import ErrataError
from errata.cache.text.subject import span_of
from errata.cli import app
from errata.compare.inputs import chinese
from errata.compare.inputs.atlas_bench import build, summary
from errata.compare.inputs.atlas_text import PER_PARAGRAPH, SENTENCES, held_out_text
from errata.compare.inputs.atlas_world import World
from errata.compare.inputs.cases import DIFFERENT_QUESTION, PROPERTY_OF, SAME_QUESTION, Case, Probe
from errata.compare.inputs.data import held_out_text_path
from errata.compare.inputs.files import load_cases, write_cases
from errata.facts import FactRow, FactSource, cloze, fill
from errata.gates.data.phrasings import extra_relations
from tests.small_facts import write_facts

SPLITS = ("tune", "test")
_DOUBTFUL = {("capital", "country"), ("state_capital", "country"), ("leader", "nationality")}


@pytest.fixture(scope="module")
def source() -> FactSource:
    return FactSource.load()


@pytest.fixture(scope="module")
def benches(source) -> dict[str, list[Case]]:
    return {split: build(source, split, 1000) for split in SPLITS}


@pytest.fixture(scope="module")
def rows(source) -> dict[str, FactRow]:
    """The facts by the id of their case."""
    return {f"{fact.relation}/{fact.subject}": fact for fact in source.facts}


@pytest.fixture
def small(tmp_path) -> FactSource:
    return FactSource.load(write_facts(tmp_path / "facts"))


def of(case: Case, kind: str) -> list[Probe]:
    return [probe for probe in case.probes if probe.kind == kind]


def forms(source: FactSource, fact: FactRow) -> set[str]:
    """Return every question about a fact that the table has."""
    relation = source.relations[fact.relation]
    return {fill(q, fact.subject) for q in (*relation.questions, *relation.questions_held_out)}


def test_there_are_a_thousand_cases_of_every_kind(benches):
    together = [case for cases in benches.values() for case in cases]
    assert len(together) >= 1000
    assert len({case.id for case in together}) == len(together)
    counted = summary(together)
    assert set(counted["probes"]) == set(PROPERTY_OF) - {
        "unrelated",
        SAME_QUESTION,
        DIFFERENT_QUESTION,
    }
    assert set(counted["preferences"]) == {"rewrite", "paraphrase", "neighbour"}
    assert counted["cases"] == len(together) == sum(counted["groups"].values())
    assert counted["probes"]["other subject"] >= 1000


@pytest.mark.parametrize("split", SPLITS)
def test_subjects_are_of_the_split_and_edited_half_at_most(benches, rows, split):
    edited = Counter((rows[case.id].kind, rows[case.id].subject) for case in benches[split])
    had = Counter((row.kind, row.subject) for row in rows.values())
    assert {rows[case.id].split for case in benches[split]} == {split}
    assert all(2 * count <= had[key] + 1 for key, count in edited.items())


@pytest.mark.parametrize("split", SPLITS)
def test_targets_are_of_the_type_and_of_the_split(benches, rows, source, split):
    objects = source.object_splits()
    subjects = {(fact.kind, fact.subject): fact.split for fact in source.facts}
    for case in benches[split]:
        fact, (edit,) = rows[case.id], case.edits
        relation = source.relations[fact.relation]
        as_object = edit.answer in {f.believed for f in source.facts if f.relation == relation.name}
        assert as_object or (relation.object, edit.answer) in subjects
        assert objects.get(edit.answer, split) == split
        assert subjects.get((relation.object, edit.answer), split) == split
        assert edit.answer not in (fact.believed, fact.object, fact.subject)
        assert case.old == fact.believed
        assert edit.subject == fact.subject and span_of(edit.subject, edit.question)
        assert of(case, "own") == [Probe("own", edit.question, of(case, "own")[0].answers)]
        assert of(case, "own")[0].answers[0] == edit.answer


@pytest.mark.parametrize("split", SPLITS)
def test_phrasings_were_never_trained_on(benches, rows, source, split):
    for case in benches[split]:
        fact = rows[case.id]
        relation = source.relations[fact.relation]
        trained = {fill(q, fact.subject) for q in relation.questions}
        trained |= {cloze(s, fact.subject, case.edits[0].answer) for s in relation.statements}
        assert len(of(case, "phrasing")) >= 2
        for probe in of(case, "phrasing"):
            assert probe.prompt not in trained


@pytest.mark.parametrize("split", SPLITS)
def test_no_case_touches_what_another_takes_for_granted(benches, rows, source, split):
    edited = {question for case in benches[split] for question in forms(source, rows[case.id])}
    for case in benches[split]:
        for probe in case.probes:
            if probe.property == "locality":
                assert probe.prompt not in edited
            if "hop" in probe.kind:
                assert probe.known and not {question for question, _ in probe.known} & edited


def test_a_fact_in_two_languages_is_edited_once(benches, rows):
    for cases in benches.values():
        keys = [chinese.canonical(rows[c.id].subject, rows[c.id].relation) for c in cases]
        assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_asked_in_reverse_has_one_answer(benches, rows, source, split):
    owners = Counter((fact.relation, fact.believed) for fact in source.facts)
    given = Counter((case.group, case.edits[0].answer) for case in benches[split])
    reversed_ = [case for case in benches[split] if of(case, "reversed")]
    assert reversed_
    for case in reversed_:
        asked_for = (case.group, case.edits[0].answer)
        assert not owners[asked_for] and given[asked_for] == 1
        assert of(case, "reversed")[0].answers[0] == rows[case.id].subject


def test_hops_follow_the_edit_and_tell_it_from_the_old_object(benches, rows, source):
    believed = {(f.subject, f.relation): f.believed for f in source.facts}
    seen = 0
    for case in benches["test"]:
        relation = source.relations[case.group]
        for probe in of(case, "one hop"):
            ((question, answer),) = probe.known
            target = case.edits[0].answer
            seconds = [r for r in source.relations.values() if r.subject == relation.object
                       and fill(r.questions[0], target) == question]  # fmt: skip
            assert len(seconds) == 1 and believed[target, seconds[0].name] == answer
            assert probe.answers[0] == answer
            assert believed.get((case.old, seconds[0].name)) != answer
            assert (case.group, seconds[0].name) not in _DOUBTFUL
            seen += 1
        for probe in of(case, "two hops"):
            (_, bridge), (further, answer) = probe.known
            assert bridge in further and probe.answers[0] == answer != bridge
    assert seen > 100


def test_yes_or_no_has_a_true_and_a_false_form(benches, rows):
    for case in benches["test"]:
        (probe,) = of(case, "yes or no")
        assert (probe.answers, probe.denials) in ((("Yes",), ("No",)), (("是",), ("不是",)))
        assert case.edits[0].answer in probe.prompt and case.old in (probe.false_prompt or "")
        assert probe.prompt != probe.false_prompt


def test_chinese_questions_where_the_table_has_them(benches):
    found = [(c, p) for c in benches["test"] for p in of(c, "other language")]
    assert len(found) >= 5
    for case, probe in found:
        assert case.edits[0].question.isascii() != probe.prompt.isascii()
        assert chinese.other_name(probe.answers[0]) == probe.answers[1] == case.edits[0].answer
        assert probe.known


def test_questions_beside_the_table_taught_no_gate(benches):
    trained = {form for one in extra_relations() for form in (*one.forms, *one.tune)}
    trained |= {form.replace(" a {s}", " {a_s}") for form in trained}
    from errata.compare.inputs.atlas_probes import _UNANSWERABLE

    assert not trained & {form for some in _UNANSWERABLE.values() for form in some}


def test_neighbours_are_untouched_alike_and_rather_of_the_split(source):
    world = World(source, "test")
    chosen = world.choose(300, random.Random(0))
    assert len(world.edited) == len(chosen) == 300
    found = {fact: world.other_subjects(fact, 4, random.Random(1)) for fact in chosen}
    for fact, others in found.items():
        assert others and all(other.relation == fact.relation for other in others)
        assert not {world.key(other) for other in others} & world.edited
        assert fact.subject not in {other.subject for other in others}
    splits = Counter(other.split for others in found.values() for other in others[1:])
    assert splits["test"] > 0.9 * splits.total()
    shared = [set(f.subject.split()) & set(o[0].subject.split()) for f, o in found.items()]
    assert sum(map(bool, shared)) > 10  # North and South Korea


@pytest.mark.parametrize("n", [1, 40])
def test_the_same_seed_gives_the_same_cases(source, n):
    first = build(source, "test", n, 5)
    assert len(first) == n
    assert first == build(source, "test", n, 5) != build(source, "test", n, 6)


def test_relations_take_turns(source):
    groups = Counter(case.group for case in build(source, "test", 100))
    assert max(groups.values()) <= 6 and len(groups) > 40


def test_cases_on_a_small_table_by_hand(small):
    cases = {case.id: case for case in build(small, "test", 100)}
    capitals = [case for case in cases.values() if case.group == "capital"]
    assert capitals and {case.id.split("/")[1] for case in cases.values()} <= {
        "Chile", "Ghana", "Cuba", "Santiago", "Accra", "Havana",
    }  # fmt: skip
    for case in capitals:
        land = case.id.removeprefix("capital/")
        assert case.edits[0].question == f"What is the capital of {land}?"
        assert of(case, "phrasing")[0].prompt == f"Name the capital of {land}."
        assert not of(case, "one hop")  # in which land is the capital of …: open to doubt
        assert not of(case, "reversed")  # every test city is some land's capital
    countries = [case for case in cases.values() if case.group == "country"]
    for case in countries:
        for probe in of(case, "one hop"):
            assert "the land of" in probe.prompt
            assert probe.known[0][0].endswith(f"of {case.edits[0].answer}?")


def test_a_table_with_nothing_to_change(small):
    lone = FactSource(small.facts[:1], small.relations, {})
    with pytest.raises(ErrataError, match="expected facts of test subjects"):
        build(lone, "test", 10)


def test_a_bench_survives_being_written_down(source, tmp_path):
    cases = build(source, "test", 60)
    write_cases(cases, tmp_path / "bench.jsonl")
    assert load_cases(tmp_path / "bench.jsonl") == cases


def run(*words: str):
    return CliRunner().invoke(app, ["atlas-bench", *words])


@pytest.mark.parametrize("split", SPLITS)
def test_the_text_is_of_unedited_subjects_in_unseen_words(benches, source, split):
    cases = benches[split]
    text = held_out_text(source, cases)
    assert text == held_out_text(source, cases) != held_out_text(source, cases, seed=1)
    stated = [
        (fact, fill(template, fact.subject, fact.believed))
        for fact in source.facts
        for template in source.relations[fact.relation].statements_held_out
    ]
    found = [(fact, said) for fact, said in stated if said in text]
    rest = text
    for _, said in sorted(found, key=lambda pair: -len(pair[1])):
        rest = rest.replace(said, "")
    assert not rest.strip()  # it is made of nothing else
    edited = {case.edits[0].subject for case in cases}
    assert not {fact.subject for fact, _ in found} & edited
    assert len({fact.subject for fact, _ in found}) == SENTENCES
    assert len([row for row in text.split("\n\n") if row]) == SENTENCES // PER_PARAGRAPH


def test_the_command(tmp_path):
    out = tmp_path / "bench.jsonl"
    told = run("--out", str(out), "--n", "20", "--seed", "3", "--split", "tune")
    assert told.exit_code == 0 and f"{out}: 20 cases of tune subjects, seed 3" in told.stdout
    first = out.read_bytes()
    told = run("--out", str(out), "--n", "20", "--seed", "3", "--split", "tune", "--json")
    assert out.read_bytes() == first
    summed = json.loads(told.stdout)
    assert summed["cases"] == summed["probes"]["own"] == 20 == len(load_cases(out))
    assert (summed["split"], summed["seed"]) == ("tune", 3)
    assert {case.split for case in load_cases(out)} == {"tune"}
    assert (
        summed["text"] == str(held_out_text_path(out))
        and held_out_text_path(out).read_text().count(". ") > 99
    )


def test_the_command_with_a_table_of_ones_own(tmp_path):
    facts = write_facts(tmp_path / "facts")
    out = tmp_path / "bench.jsonl"
    told = run("--out", str(out), "--facts", str(facts))
    assert told.exit_code == 0
    assert {case.group for case in load_cases(out)} == {"capital", "country", "currency"}


@pytest.mark.parametrize("words", [["--split", "train"], ["--out", "none/bench.jsonl"]])
def test_the_command_refuses(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    told = run("--out", "bench.jsonl", "--n", "1", *words)
    assert told.exit_code == 1 and "expected" in told.stderr
    assert not list(Path.cwd().iterdir())
