"""`errata gate eval --outside`: rows by hand, files as they are published, runs that go on."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from errata.cache.errors import ModelError
from errata.cache.records import Edit, Fact, PatchTests
from errata.cli import app
from errata.commands import opening
from errata.compare.inputs.files import load_cases
from errata.facts.table import Split
from errata.gates.cosine import CosineGate
from errata.gates.data.outside import Intent, OutsideData, Paragraph, SentencePair, read_outside
from errata.gates.data.pairs import QuestionPair
from errata.gates.data.statements import read_statements, statement_examples
from errata.gates.data.trex import TrexRecords, read_trex, wikidata_relations
from errata.gates.evaluation import registry
from errata.gates.evaluation.outside import intents, pairs, records, run, suites
from errata.gates.evaluation.outside.config import OutsideConfig
from errata.gates.evaluation.outside.deciders import (
    CosineDecider,
    GateDecider,
    LogisticDecider,
    Message,
    Step,
    Trial,
    Verdict,
)
from errata.gates.evaluation.report import Row
from tests.fakes import StubEncoder

CONFIG = OutsideConfig(
    intents=3, seeds=2, per_intent=2, condition_seeds=1, cluster_seeds=1, out_of_scope=4, rows=40
)


def ignore(done: int) -> None:
    """Count nothing."""


def verdict(
    margin: float, *, part: str, best: str = "a", right: str = "", case: str = ""
) -> Verdict:
    """Return a verdict of one candidate that fires from a margin of 0 on."""
    fired = (best,) if margin >= 0 else ()
    message = Message(f"{part} {margin} {best} {case}", right, part, case)
    return Verdict(message, best, margin, margin if best == right else -np.inf, fired)


class Scripted:
    """A decider with one margin for each text."""

    name = "scripted"

    def __init__(self, margins: dict[str, float]) -> None:
        self.margins = margins

    def decide(self, trial: Trial, step: Step) -> list[Verdict] | None:
        return None

    def decide_pairs(self, some: Sequence[tuple[Message, Edit]], step: Step) -> list[Verdict]:
        step(len(some))
        return [
            Verdict(message, edit.id, margin, margin, (edit.id,) if margin >= 0 else ())
            for message, edit in some
            for margin in [self.margins[message.text]]
        ]


def values(rows: Sequence[Row]) -> dict[str, float]:
    return {row.what: round(row.figure.mean, 4) for row in rows}


# -- rows by hand -----------------------------------------------------------------------------


def test_rows_at_a_rate_take_their_threshold_from_the_calibration_messages_alone() -> None:
    calibration = [verdict(m, part=suites.CALIBRATION) for m in np.linspace(-5, -1, 99)]
    calibration.append(verdict(3.0, part=suites.CALIBRATION))  # 1 of 100 may hit
    inside = [
        verdict(-0.5, part=suites.IN_SCOPE, right="a", case="1"),  # above -1: found at the rate
        verdict(2.0, part=suites.IN_SCOPE, right="a", case="2"),
        verdict(1.0, part=suites.IN_SCOPE, right="b", case="3"),  # a answers for b
        verdict(-2.0, part=suites.IN_SCOPE, right="a", case="4"),
    ]
    outside = [verdict(m, part=suites.OUT_OF_SCOPE) for m in (-0.9, -1.1, -3.0, 4.0)]
    every = [*calibration, *inside, *outside]
    assert values(suites.rate_rows("x", every, 0.01)) == {
        "x, at 1% out-of-scope hits: right patch": 0.5,
        "x, at 1% out-of-scope hits: wrong patch": 0.25,
        "x, at 1% out-of-scope hits: out-of-scope hits": 0.5,
    }
    assert values(suites.shipped_rows("x", every)) == {
        "x: right patch": 0.25,
        "x: wrong patch": 0.25,
        "x: out-of-scope hits": 0.25,
    }
    assert suites.rate_rows("x", inside, 0.01) == []


def test_intervals_resample_whole_cases() -> None:
    """Forty outcomes of two cases know less than forty of forty."""
    two = [verdict(float(case), part="p", case=str(case)) for case in (-1, 1) for _ in range(20)]
    many = [verdict(float(at % 2) - 0.5, part="p", case=str(at)) for at in range(40)]
    wide, narrow = (suites.clustered(some, suites.hit) for some in (two, many))
    assert (wide.mean, wide.n, wide.cases) == (0.5, 40, 2)
    assert (narrow.mean, narrow.n, narrow.cases) == (0.5, 40, 40)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_question_pairs_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [QuestionPair(f"a{i}", f"b{i}", i < 20) for i in range(40)]
    split = {"test": some, "tune": [QuestionPair(f"t{i}", f"u{i}", i < 2) for i in range(4)]}
    monkeypatch.setattr(pairs, "split_pairs", lambda given: split)
    [suite] = pairs.pair_suites(OutsideData(pairs=tuple(some)), CONFIG)
    margins = {f"a{i}": (0.5 if i < 15 else -0.2) if i < 20 else -1.0 for i in range(40)}
    margins |= {"a39": 1.0, "a38": -0.1, "t0": -0.3, "t1": 1.0, "t2": -0.4, "t3": -0.5}
    # the tune pairs put the threshold of accuracy at -0.3: all 20 same are found, 2 others hit
    assert values(suite.prepare().measure(Scripted(margins), ignore)) == {
        "question pairs: accuracy": round(38 / 40, 4),
        "question pairs: false hits at 95% of same found": round(2 / 20, 4),
        "question pairs: same found": 0.75,
        "question pairs: different, false hits": 0.05,
    }


def test_near_misses_share_their_words() -> None:
    sentences = (
        SentencePair("sick", "A dog runs", "No dog runs", "contradiction"),
        SentencePair("sick", "A dog runs", "A dog is running", "entailment"),
        SentencePair("sick", "A dog runs", "A cat eats", "neutral"),
        SentencePair("mrpc", "one two three four five", "one two three four six", "other"),
        SentencePair("mrpc", "one two three four five", "seven eight nine ten", "other"),
        SentencePair("mrpc", "one two three four five", "five four three two one", "same"),
    )
    assert pairs.shared_words(QuestionPair("a b c d e", "a b c d f", False)) == pytest.approx(0.8)
    found = {s.name: s for s in pairs.near_miss_suites(OutsideData(sentences=sentences), CONFIG)}
    totals = {name: suite.prepare().total for name, suite in found.items()}
    assert totals == {"near misses: SICK, contradictions": 2, "near misses: MRPC, shared words": 2}
    scripted = Scripted({"A dog runs": 1.0})
    rows = values(found["near misses: SICK, contradictions"].prepare().measure(scripted, ignore))
    assert rows["near misses: SICK, contradictions: different, false hits"] == 1.0


# -- trials -----------------------------------------------------------------------------------


def small_data() -> OutsideData:
    """Return data in which messages of an intent share their letters."""
    topics = {"card lost": "lost card", "pin change": "new pin", "top up": "add money",
              "open account": "join you", "close account": "leave bank"}  # fmt: skip
    wordings = ("{} please", "how {}", "i want {} now", "help me: {}", "about {} again", "{}!!")
    messages = [Intent("bank", wording.format(topics[topic]), topic)
                for topic in topics for wording in wordings]  # fmt: skip
    messages += [Intent("clinc150", f"odd thing {i}", "oos") for i in range(60)]
    return OutsideData(
        intents=tuple(messages),
        clusters={
            "1": ("when will it end", "when does it end", "will it ever end", "its end"),
            "2": ("how many hospitals are open today",),
        },
        open_questions=tuple(f"who was king number {i} of old Rome" for i in range(60)),
        paragraphs=(
            Paragraph(
                "Who is Ann?", "Ann is a poet.", "Tell me who Ann is.", ("What does Ann write?",)
            ),
        ),
    )


def test_out_of_scope_messages_that_are_measured_calibrate_and_train_nothing() -> None:
    pool = intents.out_of_scope_pool(small_data(), CONFIG)
    parts = [
        {text for texts in some for text in texts} for some in (pool.measured, pool.calibration)
    ]
    parts.append(set(pool.training))
    assert all(parts)
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_more_examples_leave_queries_as_they_are_and_are_never_asked() -> None:
    data = small_data()
    pool = intents.out_of_scope_pool(data, CONFIG)
    texts = intents.by_intent(data, CONFIG)["bank"]
    one, three = (
        intents.draw_trial(texts, pool, intents.faq_patch, taught, CONFIG, 0, 2)
        for taught in (1, 3)
    )
    assert [message.text for message in one.messages] == [m.text for m in three.messages]
    assert [len(edit.tests.fires) for edit in three.edits] == [2, 2, 2]
    listed = {text for edit in three.edits for text in (edit.scope, *edit.tests.fires)}
    assert not listed & {message.text for message in three.messages}
    again = intents.draw_trial(texts, pool, intents.faq_patch, 1, CONFIG, 0, 2)
    other = intents.draw_trial(texts, pool, intents.faq_patch, 1, CONFIG, 1, 2)
    assert one == again and one != other


def test_limited_keeps_the_same_messages_of_trials_that_differ_in_edits_only() -> None:
    messages = tuple(Message(str(at), part="ab"[at % 2]) for at in range(20))
    [kept, rest] = suites.limited([Trial((), messages[:10]), Trial((), messages[10:])], 4)
    parts = [message.part for message in (*kept.messages, *rest.messages)]
    assert (parts.count("a"), parts.count("b")) == (4, 4)
    assert suites.limited([Trial((), messages)], 100) == [Trial((), messages)]


def test_baselines_learn_from_examples() -> None:
    """A query like the second example alone is found with it, and only with it."""
    encoder = StubEncoder()
    one, other = Fact("When does the shop open?", "At 9"), Fact("Who is the boss?", "Ann")
    two = Fact(one.question, one.answer, tests=PatchTests(fires=("opening hours of the store",)))
    query = (Message("the opening hours of a store", one.id),)
    for decider in (CosineDecider(encoder, 0.5), LogisticDecider(encoder, ("a dog barks", "rain"))):
        without, taught = (decider.decide(Trial((e, other), query), ignore) for e in (one, two))
        assert without is not None and taught is not None
        assert taught[0].right and taught[0].margin > without[0].margin
    assert not CosineDecider(encoder, 0.5).decide(Trial((one, other), query), ignore)[0].hit
    assert LogisticDecider(encoder, ()).decide(Trial((), ()), ignore) is None


def test_faq_rows_of_one_and_three_examples() -> None:
    data = small_data()
    pool = intents.out_of_scope_pool(data, CONFIG)
    [suite] = intents.faq_suites(data, pool, CONFIG)
    rows = suite.prepare().measure(CosineDecider(StubEncoder(), 0.6), ignore)
    found = values(rows)
    change = found["FAQ, bank: out-of-scope hits, 3 examples minus one"]
    one, three = (found[f"FAQ, bank, {n}: out-of-scope hits"] for n in ("1 example", "3 examples"))
    assert change == pytest.approx(three - one, abs=1e-3)
    assert all(row.figure.n == 12 for row in rows if row.what.endswith("right patch"))


def test_the_change_that_examples_make_out_of_scope() -> None:
    data = small_data()
    [suite] = intents.out_of_scope_suites(data, intents.out_of_scope_pool(data, CONFIG), CONFIG)
    for threshold, both in ((-2.0, 1.0), (2.0, 0.0)):
        rows = suite.prepare().measure(CosineDecider(StubEncoder(), threshold), ignore)
        assert [row.figure.mean for row in rows] == [both, both, 0.0]
        assert rows[2].met and rows[2].aim == "interval covers 0 or less"


def test_conditions_and_clusters_hold_and_are_silent() -> None:
    data = small_data()
    pool = intents.out_of_scope_pool(data, CONFIG)
    [conditions] = intents.condition_suites(data, pool, CONFIG)
    always = values(conditions.prepare().measure(CosineDecider(StubEncoder(), -2.0), ignore))
    never = values(conditions.prepare().measure(CosineDecider(StubEncoder(), 2.0), ignore))
    for examples in ("no", "3"):
        for row in ("holds", "out-of-scope hits"):
            what = f"conditions, bank, {examples} examples: {row}"
            assert (always[what], never[what]) == (1.0, 0.0)
    [clusters] = intents.cluster_suites(data, pool, CONFIG)
    rows = values(clusters.prepare().measure(CosineDecider(StubEncoder(), -2.0), ignore))
    assert rows["question clusters, 3 examples: hits on questions of no cluster"] == 1.0
    assert rows["question clusters, 3 examples: right patch"] == 1.0  # there is one cluster of four


def test_candidates_are_counted_before_a_gate_decides() -> None:
    data, encoder = small_data(), StubEncoder()
    never = GateDecider("never", CosineGate(encoder, 2.0), encoder)
    [suite] = records.candidate_suites(data, CONFIG)
    rows = suite.prepare().measure(never, ignore)
    assert [row.what.rsplit(": ")[1] for row in rows] == ["paragraph answers", "FAQ"]
    assert [row.figure.mean for row in rows] == [1.0, 1.0]  # six edits, sixteen candidates
    none = GateDecider("none", CosineGate(encoder, 2.0), encoder, candidates=0)
    assert {row.figure.mean for row in suite.prepare().measure(none, ignore)} == {0.0}
    assert suite.prepare().measure(CosineDecider(encoder, 0.5), ignore) == []


def test_a_patch_finds_what_it_lists_and_a_silent_one_is_someone_elses() -> None:
    encoder = StubEncoder()
    [suite] = intents.listed_suites(small_data(), CONFIG)
    rows = values(suite.prepare().measure(CosineDecider(encoder, 0.9999), ignore))
    assert rows == {"listed: question and `fires` fire": 1.0, "listed: `silent` fire": 0.0}
    always = values(suite.prepare().measure(CosineDecider(encoder, -2.0), ignore))
    assert always["listed: `silent` fire"] == 1.0


def test_a_gate_decides_as_it_does_in_use() -> None:
    encoder = StubEncoder()
    gate = GateDecider("cosine gate", CosineGate(encoder, 0.9), encoder)
    edit = Fact("Who leads the city?", "Ann", tests=PatchTests(fires=("the city's leader",)))
    other = Fact("How tall is the tower?", "9 m")
    messages = (Message("who leads the city", edit.id), Message("an unrelated thing", "", "out"))
    first, second = gate.decide(Trial((edit, other), messages), ignore)
    assert first.right and first.margin >= 0 and first.right_margin == first.margin
    assert not second.hit and second.margin < 0
    [alone] = gate.decide_pairs([(messages[0], edit)], ignore)
    assert alone.fired == first.fired
    found = gate.found(Trial((edit, other), messages))
    assert all(edit.id in ids for _, ids in found)


def test_paragraphs_and_records_by_part() -> None:
    edit = Fact("The mother tongue of Ann is", "French", subject="Ann")
    case = records.RecordCase(edit, {
        records.REWORDED: ("Ann speaks", "What is the mother tongue of Ann?"),
        records.STATEMENT: ("Ann was born in",),
        records.NESTED: ("The capital of the country of Ann is",),
    })  # fmt: skip
    suite, taught = records.record_suites({"form": [case]}, CONFIG)
    assert (suite.name, taught.name) == ("form", "form, 2 examples")
    always = GateDecider("open", CosineGate(StubEncoder(), 0.0), StubEncoder())
    assert values(suite.prepare().measure(always, ignore)) == {
        "form, cloze edit, reworded as a cloze: found": 1.0,
        "form, cloze edit, reworded as a question: found": 1.0,
        "form, nested: stored answer said verbatim": 1.0,
        "form, nested: taken as entailed": 0.0,
        "form, statement: false hits": 1.0,
    }
    assert set(values(taught.prepare().measure(always, ignore))) == {
        "form, 2 examples, cloze edit, reworded as a question: found",
        "form, 2 examples, nested: stored answer said verbatim",
        "form, 2 examples, nested: taken as entailed",
        "form, 2 examples, statement: false hits",
    }
    [paragraphs] = records.paragraph_suites(small_data(), CONFIG)
    assert set(values(paragraphs.prepare().measure(always, ignore)).values()) == {1.0}
    assert paragraphs.prepare().total == 2


# -- files ------------------------------------------------------------------------------------


def write_lines(path: Path, rows: Sequence[dict[str, object]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def write_small(folder: Path) -> None:
    data = small_data()
    write_lines(folder / "intents.jsonl.gz", [
        {"source": one.source, "text": one.text, "intent": one.intent, "part": "test"}
        for one in data.intents
    ])  # fmt: skip
    write_lines(folder / "open_questions.jsonl", [
        {"source": "nq", "question": text, "answers": []} for text in data.open_questions
    ])  # fmt: skip
    write_lines(folder / "question_clusters.jsonl.gz", [
        {"source": "covid-q", "question": "how long", "cluster": "7"},
        {"source": "covid-q", "question": "", "cluster": "7"},
    ])  # fmt: skip
    write_lines(folder / "medical_pairs.jsonl.gz", [
        {"source": "m", "a": f"my arm hurts {i}", "b": f"pain in the arm {i}", "same": i % 2}
        for i in range(6)
    ])  # fmt: skip


def test_files_are_read_as_published(tmp_path: Path) -> None:
    write_small(tmp_path)
    data = read_outside(tmp_path)
    assert data.intents == small_data().intents
    assert data.clusters == {"7": ("how long",)}  # blank questions, which COVID-Q has, are left out
    assert [pair.same for pair in data.medical][:2] == [False, True]
    assert "open_questions.jsonl" in (data.files or ()) and len(data.files or ()) == 4


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("intents.jsonl", {"source": "a", "text": "b"}, "intents.jsonl:1.*'intent'"),
        ("medical_pairs.jsonl", {"a": "x", "b": "y", "same": 2}, "medical_pairs.jsonl:1.*0 or 1"),
        ("paragraph_answers.jsonl", {"question": "q", "answer": "a", "rephrase": "r"},
         "paragraph_answers.jsonl:1.*sub_questions"),
        ("nothing.jsonl", {}, "intents.jsonl.gz"),
    ],
)  # fmt: skip
def test_malformed_files_say_where(
    tmp_path: Path, name: str, row: dict[str, object], expected: str
) -> None:
    write_lines(tmp_path / name, [row])
    with pytest.raises(ModelError, match=expected):
        read_outside(tmp_path)


# -- records of T-REx -------------------------------------------------------------------------


def write_trex(folder: Path) -> tuple[Path, Path]:
    facts, patterns = folder / "trex_facts.jsonl", folder / "trex_patterns.jsonl"
    countries = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid"}
    rows = [{"relation": "P36", "subject": s, "object": o} for s, o in countries.items()]
    rows += [{"relation": "P27", "subject": f"Ann {i}", "object": random.Random(i).choice(
        sorted(countries))} for i in range(60)]  # fmt: skip
    rows += [
        {"relation": "P20", "subject": f"Ann {i}", "object": ("Rome", "Bonn")[i % 2]}
        for i in range(60)
    ]
    rows += [
        {"relation": relation, "subject": f"Ann {i}", "object": ("one", "two", "three")[i % 3]}
        for relation in ("P106", "P937", "P103") for i in range(60)
    ]  # fmt: skip
    rows += [{"relation": "P31", "subject": "a castle", "object": "castle"}]
    write_lines(facts, rows)
    write_lines(patterns, [
        {"relation": "P27", "pattern": "[X] is a citizen of [Y] ."},
        {"relation": "P27", "pattern": "[X] holds a citizenship of [Y]."},
        {"relation": "P27", "pattern": "[Y] is the country of [X]."},
        {"relation": "P1303", "pattern": "[X] plays the [Y]."},
        {"relation": "P20", "pattern": "[X] died in [Y]."},
        {"relation": "P103", "pattern": "[X] grew up with [Y]."},
        {"relation": "P106", "pattern": "[X] is by profession a [Y]."},
        {"relation": "P106", "pattern": "[X] earns a living as [Y]."},
        {"relation": "P937", "pattern": "[X] used to work in [Y]."},
        {"relation": "P36", "pattern": "The capital of [X] is [Y] ."},
    ])  # fmt: skip
    return facts, patterns


def test_records_are_in_the_published_formats(tmp_path: Path) -> None:
    facts, patterns = write_trex(tmp_path)
    out = tmp_path / "records"
    words = ["trex-bench", "--facts", str(facts), "--patterns", str(patterns), "--json"]
    result = CliRunner().invoke(app, [*words, "--out", str(out), "--n", "8"])
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)["records"]
    assert counts["counterfact"] == 8 and counts["rippleedits"] == 8
    cases = {name: load_cases(out / f"{name}.json") for name in counts}
    for case in cases["counterfact"]:
        [edit] = case.edits
        assert edit.question in (f"{edit.subject} is a citizen of",
                                 f"{edit.subject} holds a citizenship of")  # fmt: skip
        assert case.generation == (f"{edit.subject} plays the",)  # the test split has no P20
        assert edit.answer != case.old
        assert any(p.kind == "phrasing" and p.prompt.endswith("?") for p in case.probes)
    nested = [p for case in cases["rippleedits"] for p in case.probes if p.kind == "one hop"]
    assert nested[0].prompt.startswith("The capital of the country of citizenship of Ann")
    capitals = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid"}
    for case in cases["counterfact"]:
        [hop] = [probe for probe in case.probes if probe.kind == "one hop"]
        assert (
            hop.prompt
            == f"What is the capital of the country of citizenship of {case.edits[0].subject}?"
        )
        assert hop.answers == (capitals[case.edits[0].answer],)
    for case in cases["rippleedits"]:
        [hop] = [probe for probe in case.probes if probe.kind == "one hop"]
        assert hop.answers == (capitals[case.edits[0].answer],)
    assert {case.edits[0].question for case in cases["zsre"]}


def test_the_halves_of_a_split_share_no_relation_and_no_subject(tmp_path: Path) -> None:
    source = read_trex(*write_trex(tmp_path))
    splits: tuple[Split, ...] = ("train", "tune", "test")
    train, tune, test = (
        {record["subject"] for record in TrexRecords(source, split).zsre(100)} for split in splits
    )
    assert train and tune and test and not test & (train | tune)
    families: dict[str, set[str]] = {}
    for relation in wikidata_relations().values():
        families.setdefault(relation.family, set()).add(relation.split)
    assert all(len(splits) == 1 for splits in families.values())


def test_statements_say_what_their_label_says(tmp_path: Path) -> None:
    stated = read_statements(*write_trex(tmp_path), ("train", "tune"))
    seen: Counter[str] = Counter()
    for split, records_ in stated.items():
        relations = records_.relations
        for one in statement_examples(records_, random.Random(3), 300):
            own = relations[one.topic]
            assert own.split == split
            seen[one.kind] += 1
            edit = re.search(r"ann \d+", one.scope.text.lower())
            query = re.search(r"ann \d+", one.query.lower())
            if edit is None or query is None:  # mistyped
                continue
            assert (edit[0] == query[0]) == (one.kind != "statement, other subject")
            assert ("paraphrase" == one.label) == (one.kind == "statement")
            if one.kind.startswith("nested"):
                name = re.escape(query[0])
                phrase = rf"the {own.label} of {name}(?!'s)|{name}'s {own.label}"
                entailed = re.search(phrase, one.query.lower()) is not None
                assert entailed == (one.label == "entailed"), one
    assert len(seen) == 5 and min(seen.values()) > 20, seen


def test_statements_need_facts_and_patterns(tmp_path: Path) -> None:
    facts, patterns = write_trex(tmp_path)
    assert read_statements(facts, None, ("train",)) == {}
    with pytest.raises(ModelError, match="facts"):
        read_statements(None, patterns, ("train",))


def test_other_patterns_are_an_error(tmp_path: Path) -> None:
    facts, patterns = tmp_path / "f.jsonl", tmp_path / "p.jsonl"
    write_lines(facts, [{"relation": "P36", "subject": "a", "object": "b"}])
    write_lines(patterns, [{"relation": "P36", "pattern": "[Y] is [X]'s."}])
    with pytest.raises(ModelError, match="0 relations with patterns"):
        read_trex(facts, patterns)


# -- runs -------------------------------------------------------------------------------------


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    decider = Scripted({"a": 1.0})
    calls: list[str] = []

    def suite(name: str, *, broken: bool = False) -> suites.Suite:
        def measure(one: object, step: Step) -> list[Row]:
            calls.append(name)
            if broken:
                raise KeyboardInterrupt
            return [Row(name, suites.clustered([verdict(1.0, part="p")], suites.hit))]

        return suites.Suite(name, lambda: suites.Measurement(1, measure))

    record = tmp_path / "run.json"
    with pytest.raises(KeyboardInterrupt):
        run.run_suites([decider], [suite("one"), suite("two", broken=True)], {"n": 1}, record)
    columns = run.run_suites([decider], [suite("one"), suite("two")], {"n": 1}, record)
    assert calls == ["one", "two", "two"]
    assert [row["what"] for rows in columns["scripted"].values() for row in rows] == ["one", "two"]
    assert columns == run.read_record(record)
    with pytest.raises(ModelError, match="another setting"):
        run.run_suites([decider], [suite("one")], {"n": 2}, record)
    record.write_text("[]")
    with pytest.raises(ModelError, match="expected a record"):
        run.read_record(record)


def test_the_command_measures_and_shows_a_run_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "open_encoder", lambda name, **_: StubEncoder())
    monkeypatch.setattr(registry, "measured_gate", lambda name, encoder: CosineGate(encoder, 0.7))
    write_small(tmp_path)
    config, page = tmp_path / "eval.yaml", tmp_path / "page.md"
    config.write_text("suites: [medical]\n")
    words = ["gate", "eval", "--gate", "near", "--outside", str(tmp_path)]
    words += ["--config", str(config), "--document", str(page)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    record = json.loads(page.with_suffix(".json").read_text())
    assert list(record["columns"]) == ["near", "cosine", "logistic regression"]
    assert record["setting"]["files"]["medical_pairs.jsonl.gz"]
    config.write_text(f"suites: [medical]\nbefore: {page.with_suffix('.json')}\n")
    result = CliRunner().invoke(app, [*words[:-1], str(tmp_path / "after.md")])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "after.md").read_text()
    assert "| near, before | near |" in text and "medical pairs: same found" in text
    for wrong, expected in (
        ("suites: [nonsense]", "medical pairs"),
        ("sizes: {row: 9}", "unknown size 'row'"),
        ("sizes: {rows: many}", "sizes, rows"),
    ):
        config.write_text(f"{wrong}\n")
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1 and expected in result.output
