"""Where a gate is in doubt the base model is asked; what it agrees to fires."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from errata import EditableModel
from errata.cache.records import Fact, Hit, LanguagePatch, PatchTests, Query
from errata.cache.text.answer_match import same_answer
from errata.cache.view import SearchConfig
from errata.gates.artifact import GateArtifact
from errata.gates.base import Candidate, Decision, Scores, make_decision
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.distractors import hash_half, read_background
from errata.gates.data.questions import QuestionBook
from errata.gates.evaluation.base_agreement import BaseAgreement
from errata.gates.evaluation.trials import build_trial, run_trial
from errata.gates.layers import Platt
from errata.gates.training.train import TrainingConfig, train
from errata.pipelines.resolvers.base import ResolverContext
from errata.pipelines.resolvers.base_agreement import BaseAgreementResolver
from errata.reasoners.base_answers import base_answers
from errata.reasoners.base_consistency import BaseConsistency, ConsistencyConfig, control
from tests.fakes import PerQueryGate, StubEncoder
from tests.small_gate import small_gate

PERU = Fact("What is the capital of Peru?", "Oslo", id="peru")
OTHER = Fact("What is the capital of Chile?", "Bern", id="chile")
SECRET = Fact("Where does she live?", forget=True, secret="12 Elm Street", id="secret")
ALIAS = "What is the capital of the land of the Incas?"


class Told(BaseConsistency):
    """Beliefs that are told; notes what it is asked."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def agrees_batch(self, queries, questions):
        self.asked += [(query, *some) for query, some in zip(queries, questions, strict=True)]
        said = self.answers.get
        return [
            tuple(same_answer(said(query, ""), said(text, "")) for text in some)
            for query, some in zip(queries, questions, strict=True)
        ]


def resolve_by_agreement(decision, edits, base):
    """Return what the resolver makes of one decision."""
    by_id = {edit.id: edit for edit in edits}
    view = SimpleNamespace(edits=tuple(edits), by_id=by_id, config=SearchConfig())
    scoped = SimpleNamespace(view=view, encoder=StubEncoder())
    context = ResolverContext(scoped, [scoped], None, None, base, None)
    (found,) = BaseAgreementResolver().resolve([decision], context)
    return found


def miss(*judged):
    """A miss at which each (edit, probability, agreeing) was a candidate."""
    made = [
        Candidate(e.id, e.kind, e.scope, p, 0.9, "paraphrase", None, low) for e, p, low in judged
    ]
    return Decision(ALIAS, tuple(made), near_misses=tuple(c for c in made if c.probability > 0.45))


LIMA = {ALIAS: "Lima", PERU.question: "lima.", OTHER.question: "Santiago", SECRET.scope: "Lima"}


def test_what_the_base_takes_for_the_edits_question_fires():
    beliefs = Told(LIMA)
    decision = resolve_by_agreement(
        miss((PERU, 0.5, 0.3), (OTHER, 0.46, 0.3)), [OTHER, PERU], beliefs
    )
    assert (decision.fired, decision.route) == ((PERU,), "verbatim")
    assert [c.base_agreed for c in decision.candidates] == [True, False]
    assert [c.edit_id for c in decision.near_misses] == ["chile"]
    assert beliefs.asked == [(ALIAS, PERU.question, OTHER.question)]


@pytest.mark.parametrize(
    "judged",
    [
        [(OTHER, 0.5, 0.3)],  # the base says otherwise
        [(PERU, 0.2, 0.3)],  # too far
        [(PERU, 0.5, None)],  # not to be asked about
        [],
    ],
)
def test_else_a_miss_stays_a_miss(judged):
    before = miss(*judged)
    assert resolve_by_agreement(before, [PERU, OTHER], Told(LIMA)) is before


def test_the_base_is_not_asked_where_no_edit_is_in_doubt():
    beliefs = Told(LIMA)
    resolve_by_agreement(miss((PERU, 0.2, 0.3), (OTHER, 0.5, None)), [PERU, OTHER], beliefs)
    assert beliefs.asked == []


LONG, TALL = "长城有多长？", "长城有多高？"


@pytest.mark.parametrize("edit", [Fact(LONG, "21196"), PERU])
def test_text_that_the_encoder_cannot_read_never_asks_the_base(edit):
    beliefs = Told({TALL: "21196", LONG: "21196", PERU.question: "21196"})
    asked = replace(miss((edit, 0.5, 0.3)), query=TALL)
    assert resolve_by_agreement(asked, [edit], beliefs) is asked
    assert beliefs.asked == []
    spelt = replace(miss((PERU, 0.5, 0.3)), query=ALIAS)
    assert resolve_by_agreement(spelt, [PERU], Told(LIMA)).hit


SALES, MARKETING = "Who is the head of sales?", "Who is the head of marketing?"
GERMAN = "Wer leitet den Vertrieb?", "Wer leitet das Marketing?"


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        (SALES, MARKETING, "Who is the head of Zorv?"),
        (*GERMAN, "Wer leitet Zorv?"),
        ("Who wrote it", "Who wrote it?", "Who wrote it"),
        ("Who wrote it?", "Who wrote it last year?", "Who wrote it?"),
        ("Who wrote it last year?", "Who wrote it?", "Who wrote it Zorv?"),
        ("", SALES, ""),
    ],
)
def test_a_control_has_an_invented_word_where_two_questions_differ(text, other, expected):
    assert control(text, other, "Zorv") == expected


@pytest.mark.parametrize(
    ("query", "question", "answer", "behind_control", "agrees"),
    [
        (MARKETING, SALES, "I don't have that information.", -0.1, False),
        (*GERMAN, "Das weiß ich leider nicht.", -0.1, False),
        (ALIAS, PERU.question, "Lima", -9.0, True),
        (ALIAS, ALIAS, "Lima", -0.1, True),  # the same question
    ],
)
def test_an_answer_given_to_anything_of_that_form_agrees_with_nothing(
    query, question, answer, behind_control, agrees, monkeypatch
):
    def scores(base, tokenizer, pairs):
        return [[behind_control if "Quorvath" in text else -0.1] for text, _ in pairs]

    module = "errata.reasoners.base_consistency"
    monkeypatch.setattr(
        f"{module}.complete_answers", lambda b, t, texts, _: dict.fromkeys(texts, answer)
    )
    monkeypatch.setattr(f"{module}.answer_log_probabilities", scores)
    monkeypatch.setattr(BaseConsistency, "_fits", lambda self, text: True)
    monkeypatch.setattr(BaseConsistency, "__init__", lambda self: None)
    base = BaseConsistency()
    base._base = base._tokenizer = None
    base.config = ConsistencyConfig()
    assert base.agrees(query, [question]) == (agrees,)


def test_a_secret_is_refused_and_priority_goes_first():
    assert resolve_by_agreement(miss((SECRET, 0.5, 0.3)), [SECRET], Told(LIMA)).route == "refuse"
    first = replace(OTHER, priority=5)
    both = LIMA | {OTHER.question: "Lima"}
    decision = resolve_by_agreement(
        miss((PERU, 0.6, 0.3), (first, 0.5, 0.3)), [PERU, first], Told(both)
    )
    assert decision.fired == (first, PERU)


def test_the_base_is_asked_about_facts_whose_threshold_is_the_gates():
    silent = replace(PERU, id="tested", tests=PatchTests(silent=("capital of Chile",)))
    condition = LanguagePatch("the user asks about Peru", "be kind", id="kind")
    hits = [
        Hit(edit, 0.5, np.zeros(4, np.float32)) for edit in (PERU, OTHER, silent, SECRET, condition)
    ]
    scores = Scores(np.full(5, 0.5), np.zeros(5))
    query = Query("q", ("q",), np.ones((1, 4), np.float32), 0.0)
    decision = make_decision(
        query,
        hits,
        scores,
        threshold=0.9,
        near=0.5,
        agreement_threshold=0.3,
        edit_thresholds={"chile": 0.95},
    )
    asked = {c.edit_id for c in decision.candidates if c.agreement_threshold is not None}
    assert asked == {"peru", "secret"}
    unasked = make_decision(query, hits, scores, threshold=0.9, near=0.5)
    assert {c.agreement_threshold for c in unasked.candidates} == {None}


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("Who put Faust on paper?", True), ("Do you know who wrote Faust?", True),
        ("Quick one: is Faust long?", False),
        ("Has Faust been set to music?", False), ("Is Faust by Goethe?", False), ("Faust by", True),
    ],
)  # fmt: skip
def test_the_base_is_not_asked_to_agree_on_yes_or_no(query, asked):
    found = Query(query, (query,), np.ones((1, 4), np.float32), 0.0)
    hits = [Hit(PERU, 0.5, np.zeros(4, np.float32))]
    scores = Scores(np.full(1, 0.5), np.zeros(1))
    decision = make_decision(found, hits, scores, threshold=0.9, near=0.5, agreement_threshold=0.3)
    assert (decision.candidates[0].agreement_threshold is not None) == asked


def test_a_threshold_of_ones_own_leaves_the_base_unasked():
    stored = replace(small_gate(), agreement_threshold=0.2)
    assert ScopeClassifier(StubEncoder(), stored).agreement_threshold == 0.2
    assert ScopeClassifier(StubEncoder(), stored, threshold=0.99).agreement_threshold is None


# -- in use -----------------------------------------------------------------------------------


class DoubtfulGate(PerQueryGate):
    """Is in doubt about everything."""

    threshold = 0.9

    def __init__(self, agreeing=0.3):
        self._agreeing = agreeing

    def score(self, query, edits):
        return Scores(np.full(len(edits), 0.5), np.zeros(len(edits)))

    def decide(self, query, hits):
        return make_decision(
            query, hits, self.score(query, hits), threshold=0.9, near=0.5,
            agreement_threshold=self._agreeing,
        )  # fmt: skip


def test_in_doubt_the_base_decides_and_stays_as_it_was(models, tokenizer, monkeypatch):
    base = models("gpt2")
    before = copy.deepcopy(base.state_dict())
    said = dict.fromkeys(("Who wrote Faust?", "Who is the author of Faust?"), "Goethe")
    said["Who wrote Emma?"] = "Austen"
    monkeypatch.setattr(
        "errata.reasoners.base_consistency.complete_answers",
        lambda b, t, texts, config: {x: said[x] for x in texts},
    )
    monkeypatch.setattr(
        "errata.reasoners.base_consistency.answer_log_probabilities",
        lambda b, t, pairs: [[-9.0 if "Quorvath" in text else -0.1] for text, _ in pairs],
    )
    edit = Fact("Who wrote Faust?", "Marlowe")
    options = {"encoder": StubEncoder(), "resolvers": ["base_agreement"]}
    with EditableModel(base, tokenizer, gate=DoubtfulGate(), **options) as model:
        model.edit(edit)
        hit = model.ask("Who is the author of Faust?")
        assert hit.text == "Marlowe" and hit.decision.candidates[0].base_agreed
        assert model.explain("Who is the author of Faust?").hit
        other = model.ask("Who wrote Emma?")
        assert not other.decision.hit
        assert other.text == model.ask("Who wrote Emma?", edits=False).text
    with EditableModel(base, tokenizer, gate=DoubtfulGate(None), **options) as model:
        model.edit(edit)
        assert not model.ask("Who is the author of Faust?").decision.hit
    assert all(torch.equal(before[name], value) for name, value in base.state_dict().items())


# -- trials and training ----------------------------------------------------------------------


def trial_of(size=6):
    return build_trial(QuestionBook("tune", held_out=True), ["who sang the song"], size=size)


def test_a_trial_tells_what_the_base_agrees_to():
    gate, trial = ScopeClassifier(StubEncoder(), small_gate()), trial_of()
    asked: list[str] = []

    def said(texts):
        asked.extend(texts)
        return {text: text.split()[-1] for text in texts}

    outcomes = run_trial(gate, StubEncoder(), trial, base=BaseAgreement(said, 0.05))
    plain = run_trial(gate, StubEncoder(), trial)
    assert [replace(one, agreement=0.0) for one in outcomes] == plain
    assert len(asked) == len(set(asked)) > 0
    agreeing = [one for one in outcomes if one.agreement]
    assert agreeing and all(0.05 <= one.agreement <= one.probability for one in agreeing)
    edits = {edit.id: edit.question for edit in trial.edits}
    for one in agreeing:
        if one.agreement == one.probability:
            assert same_answer(one.query.text.split()[-1], edits[one.best_id].split()[-1])
    assert any(one.probability >= 0.05 and not one.agreement for one in outcomes)


def test_calibration_and_thresholds_are_settled_in_a_full_cache(tmp_path):
    lines = [
        json.dumps({"relation": "P108", "subject": f"Zeppelin {i}", "object": "Ann"})
        for i in range(40)
    ]
    (tmp_path / "facts.jsonl").write_text("\n".join(lines), "utf-8")
    free = hash_half(read_background(tmp_path / "facts.jsonl"), test=False)
    recipe = TrainingConfig(examples=300, trial_size=6, conditions=200, background=12)
    common = {"encoder": StubEncoder(), "config": recipe}
    filled = train(tmp_path / "a", background=tmp_path / "facts.jsonl", **common)
    plain = train(tmp_path / "b", **common)
    assert len(free) > 12 and filled.card["facts in the cache"] == 6 + 12
    assert plain.card["facts in the cache"] == 6
    for name in ("paraphrase hit", "hard neighbours hit"):  # the same is asked
        assert filled.card["tune"][name]["n"] == plain.card["tune"][name]["n"]


def test_a_calibration_after_another_is_one():
    first, second = Platt(0.5, 0.3), Platt(2.0, -1.0)
    told = np.linspace(0.01, 0.99, 33)
    np.testing.assert_allclose(first.then(second)(told), second(first(told)), rtol=1e-9)
    assert np.abs(first.then(second)(told) - first(told)).max() > 0.1


def test_from_which_probability_agreement_counts_is_settled_and_stored(models, tokenizer, tmp_path):
    recipe = TrainingConfig(examples=300, trial_size=6, conditions=200)
    says = partial(base_answers, models("gpt2"), tokenizer)
    asked = train(tmp_path / "asked", encoder=StubEncoder(), config=recipe, base_answers=says)
    assert (
        asked.agreement_threshold is not None
        and 0.1 <= asked.agreement_threshold <= asked.threshold
    )
    assert GateArtifact.load(tmp_path / "asked").agreement_threshold == asked.agreement_threshold
    card = GateArtifact.load(tmp_path / "asked").card
    told = card["tune, the base model asked in doubt"]
    assert told["paraphrase hit"]["rate"] >= card["tune"]["paraphrase hit"]["rate"]
    plain = train(tmp_path / "plain", encoder=StubEncoder(), config=recipe)
    assert plain.agreement_threshold is None and plain.threshold == asked.threshold
    assert GateArtifact.load(tmp_path / "plain").agreement_threshold is None
