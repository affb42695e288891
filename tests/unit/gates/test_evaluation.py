"""`errata gate eval`: figures that an oracle meets and a gate that always fires does not."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from errata.cache.encoder import EmbeddingCache
from errata.cache.errors import ModelError
from errata.cache.records import Fact
from errata.cache.text.subject import subject_of
from errata.cli import app
from errata.commands import opening
from errata.gates.artifact import GateArtifact
from errata.gates.base import Scores, make_decision
from errata.gates.classifier import ScopeClassifier
from errata.gates.cosine import CosineGate
from errata.gates.data.distractors import (
    hash_half,
    questions_without,
    read_background,
    unrelated_facts,
)
from errata.gates.data.pairs import QuestionPair
from errata.gates.data.questions import QuestionBook
from errata.gates.evaluation.evaluate import EvaluationConfig, draw_trials, evaluate
from errata.gates.evaluation.metrics import (
    best_threshold,
    brier,
    calibration_error,
    false_hits_at_recall,
    recall_at_rate,
)
from errata.gates.evaluation.registry import measured_gate, without_part
from errata.gates.evaluation.report import WITH_BASE, Row, as_json, lines, markdown
from errata.gates.evaluation.trials import build_trial, run_trial, split_trial
from errata.intervals import Estimate, bootstrap
from tests.fakes import PerQueryGate, StubEncoder
from tests.small_gate import small_gate_folder

PAIRS = tuple(
    QuestionPair(f"How old is person {i}?", f"What is the age of person {i + i % 2}?", i % 2 == 0)
    for i in range(40)
)
SETTING = EvaluationConfig(
    pairs=PAIRS,
    tune_pairs=PAIRS,
    open_questions=("who sang the first song on the radio", "when did the war end"),
    background=tuple(Fact(f"Who owns Blimp {i}?", "Ann", subject=f"Blimp {i}") for i in range(60)),
    facts=6,
    sizes=(1, 6, 12),
    conditions=40,
)
chances = st.lists(st.floats(0, 1).map(lambda p: round(p, 2)), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def trials():
    return draw_trials(SETTING)


class Knowing(PerQueryGate):
    """A gate that has been told what governs what; wrong about nothing, or about everything.

    :param truths: relation by (query, scope); a condition holds if it says so of the query.
    """

    threshold = 0.5

    def __init__(self, truths, *, always=False):
        self._truths = truths
        self._always = always

    def score(self, query, edits):
        text = query if isinstance(query, str) else query.text
        plain = [getattr(edit, "edit", edit) for edit in edits]
        labels = [self._truths.get((text, edit.scope), "none") for edit in plain]
        if self._always:
            return Scores(np.ones(len(plain)), np.zeros(len(plain)))
        return Scores(
            np.array([float(one != "none") for one in labels]),
            np.array([float(one == "entailed") for one in labels]),
        )

    def decide(self, query, hits):
        return make_decision(query, hits, self.score(query, hits), threshold=0.5, near=0.5)


def truths_of(trials):
    from random import Random

    from errata.gates.data.conditions import condition_examples
    from errata.gates.data.rule_conditions import certain_examples

    found = {}
    for trial in (trials.test, trials.tune):
        scopes = {edit.id: edit.scope for edit in trial.edits}
        found |= {(q.text, scopes[q.about]): q.label for q in trial.queries if q.about}
    found |= {(p.a, p.b): "paraphrase" for p in PAIRS if p.same}
    said = {"topic": "the user asks about {c}", "claim": "the text says that {c}"}
    examples = list(condition_examples("test", Random("conditions 0")))
    for e in (*examples, *certain_examples()):
        condition = said.get(e.kind.partition(",")[0], "{c}").format(c=e.scope.text)
        found[e.query, condition] = e.label
    return found


def test_an_oracle_meets_every_aim(trials):
    report = evaluate("oracle", Knowing(truths_of(trials)), StubEncoder(), SETTING, trials)
    missed = [row.what for row in report.rows if row.met is False]
    assert missed == []
    assert sum(row.met is True for row in report.rows) >= 20
    assert all(row.figure.n for row in report.rows)


def test_a_gate_that_always_fires_fails_where_it_should(trials):
    gate = Knowing({}, always=True)
    report = evaluate("eager", gate, StubEncoder(), SETTING, trials)
    assert report.row("6 facts in the cache: paraphrases hit").figure.mean == 1
    assert report.row("6 facts in the cache: hard neighbours hit").figure.mean == 1
    assert report.row("12 facts in the cache: open-domain questions hit").met is False
    assert report.row("negated and reversed questions taken for paraphrases").met is False
    assert report.row("calibration error").met is False
    assert report.row("topical conditions held out: recall at 0.01 false hits").met is False


def test_question_pairs_are_read_as_bare_questions(trials):
    heard = []

    class Listening(Knowing):
        def score(self, query, edits):
            heard.extend(getattr(edit, "edit", edit) for edit in edits)
            return super().score(query, edits)

    gate = Listening(truths_of(trials))
    evaluate("oracle", gate, StubEncoder(), SETTING, trials)
    asked = {pair.b for pair in PAIRS} | {edit.scope for _, edit in trials.reversed}
    found = [edit for edit in heard if edit.scope in asked and isinstance(edit, Fact)]
    assert {edit.scope for edit in found} >= {pair.b for pair in PAIRS}
    assert all(edit.forget and edit.secret is None for edit in found)


def test_the_threshold_for_a_stated_rate_is_the_one_that_users_get(trials):
    encoder = EmbeddingCache(StubEncoder(), None)
    stored = GateArtifact.load(small_gate_folder())
    rate = "threshold for a false-hit rate of 1% near edits"
    found = {}
    for highest in ([0.0] * 60, [1.0] * 60):
        card = stored.card | {"negative_scores": {"n": 2000, "highest": highest}}
        gate = ScopeClassifier(encoder, replace(stored, card=card))
        report = evaluate("ours", gate, encoder, SETTING, trials)
        found[highest[0]] = report.row(f"{rate}: paraphrases of all kinds hit").figure.mean
    assert found[0.0] == 1.0 and found[1.0] == 0.0
    few = replace(stored, card=stored.card | {"negative_scores": {"n": 20, "highest": [1.0] * 3}})
    gate = ScopeClassifier(encoder, few)  # too few queries to show such a rate by
    report = evaluate("ours", gate, encoder, SETTING, trials)
    assert report.row(f"{rate}: paraphrases of all kinds hit") is None


def test_a_trained_gate_and_the_control_stand_side_by_side(trials):
    encoder = EmbeddingCache(StubEncoder(), None)
    seen = []
    reports = [
        evaluate(name, measured_gate(name, encoder), encoder, SETTING, trials,
                 lambda suite, done, total: seen.append((suite, done, total)))
        for name in (str(small_gate_folder()), "cosine")
    ]  # fmt: skip
    assert [len(cells) for _, _, cells in lines(reports)] == [2] * len(lines(reports))
    assert {"question pairs", "12 facts in the cache", "conditions"} <= {s for s, _, _ in seen}
    assert all(0 < done <= total for _, done, total in seen)
    told = as_json(reports, {"seed": 0})
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    rows = told["gates"][0]["rows"]
    assert all(row["interval"][0] <= (row["value"] or 0) <= row["interval"][1] for row in rows)
    text = markdown(reports, {"seed": 0}, "errata gate eval")
    assert text.count("| cosine |") == 2 and "Made by `errata gate eval`" in text
    assert "in doubt" not in text and "calibrated again" not in text
    part = replace(reports[0], gate="clear without cross")
    assert "not trained or calibrated again" in markdown([part], {}, "errata gate eval")
    part.rows.append(Row(f"hits, {WITH_BASE}", Estimate(0.5, 0.4, 0.6, 10, 10)))
    assert "if the base model answers the query" in markdown([part], {}, "errata gate eval")


def test_every_query_is_put_to_the_cache_that_holds_its_edit(trials):
    parts = split_trial(trials.test, 2)
    assert [len(part.edits) for part in parts] == [2] * 3
    total = sum(len(part.queries) for part in parts)
    assert total == len(trials.test.queries)
    for part in parts:
        ids = {edit.id for edit in part.edits}
        assert {query.about for query in part.queries if query.about} == ids
    outcomes = run_trial(Knowing(truths_of(trials)), StubEncoder(), parts[0])
    assert all(one.hit == (one.query.label != "none") for one in outcomes)


def test_the_background_is_about_nobody_that_is_asked_about():
    facts = [Fact(f"Where was {s} born?", "x", subject=s) for s in ("Ann Lee", "Lee", "Bo Orr")]
    found = list(unrelated_facts(facts, ["Did ann lee's dog bite?", "Where is Boo Orr?"]))
    assert [fact.subject for fact in found] == ["Bo Orr"]
    capital = Fact("What is the capital of Norway?", "Oslo", subject="Norway")
    assert list(unrelated_facts([capital], ["Which river runs through Bergen?"])) == [capital]
    assert not list(unrelated_facts([capital], ["Of which country is Oslo the capital?"]))


def test_an_open_question_about_what_was_edited_is_left_out():
    asked = [
        "what continent does ISRAEL belong to?",
        "who sang the song?",
        "where is israelite art?",
    ]
    assert questions_without(asked, ["Israel", "Peru"]) == asked[1:]
    book = QuestionBook("tune", held_out=True)
    [edit] = build_trial(book, [], size=1).edits
    own = f"tell me about {subject_of(edit)} please"
    trial = build_trial(book, [own, "who sang the song?"], size=1)
    assert [q.text for q in trial.queries if q.kind == "open question"] == ["who sang the song?"]


def test_gates_are_settled_beside_other_facts_than_they_are_tested_beside():
    halves = [hash_half(SETTING.background, test=test) for test in (True, False)]
    subjects = [{fact.subject for fact in half} for half in halves]
    assert all(subjects) and not subjects[0] & subjects[1]
    assert len(subjects[0] | subjects[1]) == len(SETTING.background)
    filled = draw_trials(replace(SETTING, sizes=(12,))).sized[12][0]
    assert {fact.subject for fact in filled.edits if "Blimp" in fact.scope} <= subjects[0]


def test_too_few_facts_for_a_cache_are_told():
    few = EvaluationConfig(facts=4, sizes=(4, 500), background=SETTING.background)
    with pytest.raises(
        ModelError, match=r"needs 496 facts.*found \d\d in .*half.*larger file as background"
    ):
        draw_trials(few)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"relation": "P36", "subject": "X"}', r"b\.jsonl:1: expected a text under 'object'"),
        ('{"relation": "P0", "subject": "X", "object": "Y"}', r"no question is known.*'P0'"),
        ('{"relation": "P36", "subject": " ", "object": "Y"}', r"under 'subject', found ' '"),
    ],
)
def test_a_malformed_background_names_its_line(tmp_path, line, message):
    path = tmp_path / "b.jsonl"
    path.write_text(line, "utf-8")
    with pytest.raises(ModelError, match=message):
        read_background(path)
    path.write_text('{"relation": "P36", "subject": "Peru", "object": "Lima"}\n' * 2, "utf-8")
    assert [fact.scope for fact in read_background(path)] == ["What is the capital of Peru?"]


def test_a_part_can_be_switched_off_where_a_gate_has_parts():
    class TwoStage(CosineGate):
        parts = ("cross",)

        def without(self, part):
            return CosineGate(StubEncoder(), 0.1)

    gate = TwoStage(StubEncoder())
    assert without_part("default", gate, "cross").threshold == 0.1
    with pytest.raises(ModelError, match=r"one of cross, found 'bi'"):
        without_part("default", gate, "bi")
    with pytest.raises(ModelError, match=r"one of \(none\), found 'cross'"):
        without_part("cosine", CosineGate(StubEncoder()), "cross")


@given(chances, chances, st.sampled_from([0.5, 0.95, 0.99]))
@settings(deadline=None)
def test_false_hits_at_recall_by_counting(positives, negatives, recall):
    found = false_hits_at_recall(np.array(positives), np.array(negatives), recall)
    allowed = [t for t in positives if sum(p >= t for p in positives) >= recall * len(positives)]
    assert found.mean == pytest.approx(sum(n >= max(allowed) for n in negatives) / len(negatives))


@given(chances, chances, st.sampled_from([0.01, 0.2, 1.0]))
@settings(deadline=None)
def test_recall_at_a_rate_by_counting(positives, negatives, rate):
    found = recall_at_rate(np.array(positives), np.array(negatives), rate)
    thresholds = [*positives, *negatives, math.inf]
    best = max(
        sum(p >= t for p in positives) / len(positives)
        for t in thresholds
        if sum(n >= t for n in negatives) <= rate * len(negatives)
    )
    assert found.mean == pytest.approx(best)


@given(st.lists(st.tuples(st.floats(0, 1).map(lambda p: round(p, 1)), st.booleans()), max_size=25))
@settings(deadline=None)
def test_the_best_threshold_by_trying_all(pairs):
    scores = np.array([score for score, _ in pairs])
    truths = np.array([truth for _, truth in pairs], dtype=bool)

    def right(threshold):
        return int(((scores >= threshold) == truths).sum())

    best = max(map(right, [*scores, math.inf]), default=0)
    assert right(best_threshold(scores, truths)) == best


def test_calibration_of_honest_and_of_boastful_chances():
    rng = np.random.default_rng(0)
    honest = rng.uniform(size=6000)
    truths = rng.uniform(size=6000) < honest
    assert calibration_error(honest, truths) < 0.02 < calibration_error(honest**0.3, truths)
    assert brier(honest, truths) < brier(honest**0.3, truths)
    assert brier(np.array([1.0, 0.0, 0.5]), np.array([True, True, False])) == 1.25 / 3
    assert calibration_error(np.array([0.2, 0.8]), np.array([False, True]), 1) == 0.0
    found = bootstrap(brier, honest[:300], truths[:300])
    assert found.low < found.mean < found.high < found.low + 0.1 and found.n == 300


def test_an_aim_is_met_or_not_or_not_measured():
    figure = Estimate(0.5, 0.4, 0.6, 10, 10)
    assert Row("x", figure, least=0.5).met and Row("x", figure, most=0.5).met
    assert Row("x", figure, least=0.6).met is False and Row("x", figure, most=0.4).met is False
    assert Row("x", figure, most=0.4, covers=True).met is True
    assert Row("x", figure, most=0.39, covers=True).met is False
    assert Row("x", figure).met is None
    assert Row("x", Estimate(math.nan, 0, 1, 0, 0), most=0.4).met is None


@pytest.fixture
def eval_gate(monkeypatch):
    monkeypatch.setattr(opening, "open_encoder", lambda name, **_: StubEncoder())

    def run(*arguments):
        base = ["gate", "eval", "--n", "4", "--gate", f"{small_gate_folder()},cosine"]
        return CliRunner().invoke(app, [*base, *map(str, arguments)])

    return run


def test_the_command_prints_draws_and_writes(eval_gate, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"a": p.a, "b": p.b, "same": int(p.same)} for p in PAIRS]
    pairs.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    document = tmp_path / "gate.md"
    found = eval_gate("--pairs", pairs, "--plots", tmp_path / "png", "--document", document,
                      "--cache-sizes", "1,4", "--json")  # fmt: skip
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert [gate["gate"] for gate in told["gates"]] == [str(small_gate_folder()), "cosine"]
    assert told["setting"]["files"]["pairs"]["file"] == "pairs.jsonl"
    for name in ("roc", "precision_recall", "reliability", "kinds"):
        assert (tmp_path / "png" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    text = document.read_text("utf-8")
    assert "1 fact in the cache: paraphrases hit" in text and str(tmp_path) not in text
    assert "max_pairs" not in text and "cross-encoders" not in told["setting"]
    assert eval_gate("--most-pairs", "3", "--encoder", "e", "--document", document).exit_code == 0
    text = document.read_text("utf-8")
    assert "--config config.yaml`" in text
    assert '"max_pairs": 3' in text and '"encoder": "e"' in text


def test_the_command_tells_how_what_it_measures_was_trained(eval_gate, tmp_path):
    stored = GateArtifact.load(small_gate_folder())
    trained = {"cross-encoder": {"loss": "nce", "steps taken": 400, "rate": 1e-4}}
    replace(stored, card=stored.card | trained).save(tmp_path / "nce")
    found = eval_gate("--gate", f"{tmp_path / 'nce'},{small_gate_folder()},cosine", "--json")
    told = json.loads(found.stdout)["setting"]["cross-encoders"]
    assert told == {str(tmp_path / "nce"): {"loss": "nce", "steps": 400}}


def test_plots_without_matplotlib_name_the_extra(eval_gate, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = eval_gate("--plots", tmp_path / "png")
    assert found.exit_code == 1 and "errata[plots]" in found.output
    assert not (tmp_path / "png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cache-sizes", "1,none"], "numbers above 0"),
        (["--cache-sizes", "9"], "larger file as background"),
        (["--without", "cross"], "expected a part of the gate"),
        (["--pairs", "missing.jsonl"], "missing.jsonl: cannot be read"),
    ],
)
def test_wrong_options_are_told(eval_gate, arguments, message):
    found = eval_gate(*arguments)
    assert found.exit_code == 1 and message in found.output
