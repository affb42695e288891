"""A query put a step further: which words ask for an edit, and who answers what is left."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from errata import EditableModel, Fact, LanguagePatch
from errata.cache.store import EditCache
from errata.commands.output import decision_json
from errata.gates.base import Candidate, Decision, Scores, make_decision
from errata.patch_tests.records import TestCase
from errata.patch_tests.run import judge_decision
from errata.pipelines.base import ScopedView
from errata.pipelines.cache import CachePipeline
from errata.pipelines.resolvers.decompose import (
    DecomposeConfig,
    fill_answer,
    find_phrases,
)
from errata.reasoners.base_consistency import BaseConsistency
from tests.fakes import PerQueryGate, StubEncoder

PIZZA = Fact("Where does pizza come from?", "Benin", subject="pizza", id="pizza")
MONEY = Fact("What is the currency of Benin?", "shilling", subject="Benin", id="money")
LEADER = Fact("Who leads Benin?", "Ada Lovelace", subject="Benin", id="leader")
BORN = Fact("Where was Ada Lovelace born?", "Quito", subject="Ada Lovelace", id="born")


def decompose(query, fact, scores, config=DecomposeConfig()):  # noqa: B008
    spans = find_phrases(query, fact, config)
    probabilities = scores([query[start:end] for start, end in spans])
    return fill_answer(query, fact, spans, probabilities, config)


def only(*phrases):
    """Tell of each text whether it is one of the phrases."""
    return lambda texts: [0.99 if text in phrases else 0.2 for text in texts]


@pytest.mark.parametrize(
    ("query", "phrase", "further"),
    [
        ("What do people pay with in the country where pizza comes from?",
         "the country where pizza comes from", "What do people pay with in Benin?"),
        ("The home of pizza is on which continent?", "The home of pizza",
         "Benin is on which continent?"),
        ("Who rules pizza's homeland today?", "pizza's homeland", "Who rules Benin today?"),
        ("I am in the kitchen. How large is the home of pizza?", "the home of pizza",
         "I am in the kitchen. How large is Benin?"),
        ("How large is the land of Pizza?", "the land of Pizza", "How large is Benin?"),
    ],
)  # fmt: skip
def test_the_answer_stands_where_the_words_stood_that_ask_for_it(query, phrase, further):
    assert decompose(query, PIZZA, only(phrase)) == further
    assert decompose(query, PIZZA, only()) is None  # no words that surely ask for it


@pytest.mark.parametrize(
    "query",
    [
        "Which bread comes from Naples?",  # the subject is not named
        "Is the home of pizza Benin?",  # the answer is
        "Pizza?",
        "",
    ],
)
def test_else_no_step_is_taken(query):
    assert decompose(query, PIZZA, lambda texts: [1.0] * len(texts)) is None


@pytest.mark.parametrize(
    "answer", ["It comes from Benin. Surely.", "Benin (once Dahomey)", "a b c d e f g h i"]
)
def test_a_sentence_is_put_nowhere(answer):
    told = Fact("Where does pizza come from?", answer, subject="pizza")
    assert decompose("Who leads the home of pizza?", told, only("the home of pizza")) is None


@pytest.mark.parametrize("query", ["Where is the home of pizza?", "And what was pizza's origin?"])
def test_words_that_ask_for_nothing_else_are_no_hop(query):
    phrase = query.split(" ", 2 if query[0] == "W" else 3)[-1].rstrip("?")
    assert decompose(query, PIZZA, only(phrase)) is None
    more = query.replace("?", " by train?")
    assert decompose(more, PIZZA, only(phrase)) == more.replace(phrase, "Benin")


def test_an_answer_is_put_in_without_its_full_stop():
    told = Fact("Where does pizza come from?", "Benin.", subject="pizza")
    assert decompose("Who leads the home of pizza?", told, only("the home of pizza")) == (
        "Who leads Benin?"
    )


def test_marks_in_a_name_and_around_a_phrase_are_no_pauses_in_it():
    film = Fact("Who directed Mission: Impossible?", "Ann", subject="Mission: Impossible")
    query = "Where was (the director of Mission: Impossible) born?"
    asks = only("the director of Mission: Impossible")
    assert decompose(query, film, asks) == "Where was (Ann) born?"


def test_letters_of_the_answer_in_another_word_do_not_name_it():
    told = Fact("Where does pizza come from?", "Oman", subject="pizza")
    query = "Which Romans knew the home of pizza?"
    assert decompose(query, told, only("the home of pizza")) == "Which Romans knew Oman?"


def test_a_phrase_has_no_pause_and_does_not_end_in_the_middle():
    seen = []
    query = "The baker, who likes the home of pizza's oldest oven, asks: how old is it?"
    decompose(query, PIZZA, lambda texts: seen.extend(texts) or [0.0] * len(texts))
    assert "the home of pizza's oldest oven" in seen
    assert not [text for text in seen if "," in text or ":" in text or text.endswith("'s")]


def test_no_subject_no_step():
    vague = Fact("Tell it to me.", "Benin")
    assert decompose("Who leads the home of it?", vague, lambda texts: [1.0] * len(texts)) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_what_stands_around_the_phrase_stays(before, after):
    after = f"is large {after}"  # what is asked of it
    query = f"{before} the home of pizza {after}"
    further = decompose(query, PIZZA, only("the home of pizza"))
    taken = query.casefold().count("pizza") > 1 or "benin" in query.casefold()
    assert taken or further == f"{before} Benin {after}"


# -- in the pipeline --------------------------------------------------------------------------


class ByTable(PerQueryGate):
    """Knows which texts ask an edit's question, and which follow from it."""

    threshold = 0.9

    def __init__(self, same=(), follows=()):
        self.same, self.later = set(same), set(follows)

    def score(self, query, edits):
        text = query if isinstance(query, str) else query.text
        plain = [getattr(edit, "edit", edit) for edit in edits]
        later = [(text, edit.id) in self.later for edit in plain]
        same = [(text, edit.id) in self.same or text == edit.scope for edit in plain]
        told = np.array([a or b for a, b in zip(same, later, strict=True)], dtype=float)
        return Scores(told, np.array(later, dtype=float))

    def decide(self, query, hits):
        return make_decision(query, hits, self.score(query, hits), threshold=0.9, near=0.5)


class Echo:
    """Supports facts, and says what it is asked and by which edits."""

    def supports(self, edit):
        return isinstance(edit, Fact)

    def answer(self, queries, edits, generation):
        said = zip(queries, edits, strict=True)
        return [[f"{query} <- {', '.join(edit.id for edit in by)}"] for query, by in said]


HOME = "the home of pizza"
PAYS = f"What is the currency of {HOME}?"
CITY = f"Where was the leader of {HOME} born?"
GATE = ByTable(
    same={(HOME, "pizza"), ("the leader of Benin", "leader")},
    follows={(PAYS, "pizza"), (CITY, "pizza"), ("Where was the leader of Benin born?", "leader")},
)


def wrapped(models, tokenizer, *edits, gate=GATE, reasoner=None):
    model = EditableModel(
        models("gpt2"), tokenizer, gate=gate, encoder=StubEncoder(), reasoner=reasoner or Echo(),
        verification=None,  # what Echo says shows what it read
    )  # fmt: skip
    model.edit(list(edits))
    return model


def test_the_base_answers_what_no_edit_governs_any_more(models, tokenizer):
    base = models("gpt2")
    before = copy.deepcopy(base.state_dict())
    with wrapped(models, tokenizer, PIZZA) as model:
        further = "What is the currency of Benin?"
        found = model.ask(PAYS)
        decision = found.decision
        assert (decision.sub_question, decision.hops, decision.route) == (further, 1, "base")
        assert decision.fired == (PIZZA,) and decision.remaining_edits == () and decision.hit
        assert found.text == model.ask(further, edits=False).text
        assert found.text != model.ask(PAYS, edits=False).text  # there was an effect to show
        assert model.explain(PAYS).sub_question == further
        assert decision_json(decision)["sub_question"] == further
        assert model.ask(HOME).decision.sub_question == ""  # its own question: the stored answer
        model.retract("pizza")
        assert not model.ask(PAYS).decision.hit
    assert all(torch.equal(before[name], value) for name, value in base.state_dict().items())


def test_edits_answer_one_after_another(models, tokenizer):
    with wrapped(models, tokenizer, PIZZA, MONEY, LEADER, BORN) as model:
        said = model.ask(PAYS)
        assert (said.text, said.decision.fired) == ("shilling", (PIZZA, MONEY))
        chain = model.ask(CITY)
        assert chain.decision.fired == (PIZZA, LEADER, BORN)
        assert chain.decision.sub_question == "Where was Ada Lovelace born?"
        assert (chain.text, chain.decision.hops) == ("Quito", 2)
        rows = model.ask_many([PAYS, "How do bees fly?", CITY])
        assert [row.text for row in rows][::2] == ["shilling", "Quito"]
        assert rows[1].text == model.ask("How do bees fly?", edits=False).text


def test_an_edit_is_taken_once(models, tokenizer):
    circle = Fact("Who leads Peru?", "the leader of Peru", subject="Peru", id="circle")
    query = "Where was the leader of Peru born?"
    gate = ByTable(same={("the leader of Peru", "circle")}, follows={(query, "circle")})
    with wrapped(models, tokenizer, circle, gate=gate) as model:
        assert model.explain(query).hops <= 1


@pytest.mark.parametrize(
    "query",
    ["Is the home of pizza large?", "Did the home of pizza win?",
     "Quick question: is Italy the home of pizza?", "Hi there. Does the home of pizza lie south?"],
)  # fmt: skip
def test_yes_or_no_is_left_to_the_reader(models, tokenizer, query):
    gate = ByTable(same={(HOME, "pizza")}, follows={(query, "pizza")})
    with wrapped(models, tokenizer, PIZZA, gate=gate) as model:
        answer = model.ask(query, max_new_tokens=200)
        assert answer.decision.sub_question == ""
        assert answer.text == f"{query} <- pizza"


class Alike(BaseConsistency):
    """Takes everything for one question, or nothing."""

    def __init__(self, alike):
        self._alike = alike

    def agrees(self, query, questions):
        return (self._alike,) * len(questions)

    def agrees_batch(self, queries, questions):
        return [self.agrees(*one) for one in zip(queries, questions, strict=True)]


class Fixed(ByTable):
    """Decides about one query as it was told, and fires nothing on any other."""

    def __init__(self, decision):
        super().__init__(GATE.same, GATE.later)
        self.decision = decision

    def decide(self, query, hits):
        return self.decision if query.text == self.decision.query else Decision(query.text)


def decided(decision, alike, reasoner=None):
    encoder = StubEncoder()
    pipeline = CachePipeline(Fixed(decision), reasoner or Echo(), Alike(alike))
    with EditCache(encoder) as cache:
        cache.add(decision.fired)
        edits = ScopedView(cache.view(), encoder, lambda edit: True)
        return pipeline.decide(edits.encode([decision.query]), edits)[0]


def entailed(alike, *others, reasoner=None):
    edits = (PIZZA, *others)
    candidates = tuple(
        Candidate(edit.id, edit.kind, edit.scope, 0.95, 0.9, "entailed") for edit in edits
    )
    return decided(Decision(PAYS, candidates, edits, "reason"), alike, reasoner)


def test_what_the_base_takes_for_the_edits_own_question_is_no_step():
    assert entailed(False).sub_question == "What is the currency of Benin?"
    assert entailed(True).sub_question == ""


def test_a_patch_among_those_that_fired_is_read_with_the_query_as_it_is():
    chat = LanguagePatch("the user asks about pizza", "be kind", id="kind")

    class ReadsAll(Echo):
        def supports(self, edit):
            return True

    assert entailed(False, chat, reasoner=ReadsAll()).sub_question == ""


def test_an_edit_of_the_whole_question_is_heard():
    whole = Fact(PAYS, "gold", id="whole", priority=-1)
    candidates = (
        Candidate("pizza", "fact", PIZZA.scope, 0.99, 0.9, "entailed"),
        Candidate("whole", "fact", whole.scope, 0.95, 0.9, "paraphrase"),
    )
    first = Decision(PAYS, candidates, (PIZZA, whole), "reason")
    found = decided(first, alike=False)
    assert found.sub_question == "" and set(found.fired) == {PIZZA, whole}


def test_later_steps_tell_their_candidates(models, tokenizer):
    with wrapped(models, tokenizer, PIZZA, MONEY) as model:
        told = model.explain(PAYS)
        assert {c.edit_id for c in told.candidates} == {"pizza", "money"}
        assert decision_json(told)["hops"] == 1


def test_only_chosen_edits_are_put_in_and_secrets_stay_secret(models, tokenizer):
    secret = Fact(MONEY.question, forget=True, secret="shilling", subject="Benin", id="secret")
    with wrapped(models, tokenizer, PIZZA, secret) as model:
        assert model.ask(PAYS).decision.route == "refuse"
        assert "shilling" not in model.ask(PAYS, max_new_tokens=200).text
        chosen = model.ask(PAYS, edits={"ids": ["pizza"]}).decision
        assert (chosen.fired, chosen.route) == ((PIZZA,), "base")
        assert not model.ask(PAYS, edits={"ids": ["secret"]}).decision.hit


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_every_family_and_several_answers(models, tokenizer, family):
    with EditableModel(
        models(family), tokenizer, gate=GATE, encoder=StubEncoder(), reasoner=Echo()
    ) as model:
        model.edit([PIZZA])
        ids = tokenizer([PAYS], return_tensors="pt")
        out = model.generate(
            **ids, max_new_tokens=6, do_sample=True, num_return_sequences=3, pad_token_id=0
        )
        assert model.last_trace.decisions[0].sub_question and out.shape[0] == 3


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_the_base_answers_all_sub_questions_in_one_call(models, tokenizer, family, monkeypatch):
    longer = f"Hello there, dear friends: {PAYS}"
    gate = ByTable(same=GATE.same, follows={*GATE.later, (longer, "pizza")})
    with EditableModel(
        models(family), tokenizer, gate=gate, encoder=StubEncoder(), reasoner=Echo()
    ) as model:
        model.edit([PIZZA])
        alone = [model.ask(query, max_new_tokens=6).text for query in (PAYS, longer)]
        calls, generate = [], model.base.generate
        monkeypatch.setattr(
            model.base, "generate", lambda *a, **k: calls.append(1) or generate(*a, **k)
        )
        found = model.ask_many([PAYS, longer], max_new_tokens=6)
        assert len(calls) == 2  # whether it takes a query for the edit's own, and the answers
        assert [one.decision.hops for one in found] == [1, 1]
        assert [one.text for one in found] == alone


def test_a_query_that_the_prompt_does_not_hold_is_asked_by_itself(models, tokenizer):
    with wrapped(models, tokenizer, PIZZA) as model:
        ids = tokenizer(["And what do they pay with there?"], return_tensors="pt")
        options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        out = model.generate(**ids, query=PAYS, **options)
        assert model.last_trace.decisions[0].sub_question
        alone = tokenizer(["What is the currency of Benin?"], return_tensors="pt")
        wanted = model.base.generate(**alone, **options)[0, alone["input_ids"].shape[1] :]
        assert out[0, ids["input_ids"].shape[1] :].tolist() == wanted.tolist()
        embedded = model.base.get_input_embeddings()(ids["input_ids"])
        out = model.generate(inputs_embeds=embedded, query=PAYS, **options)
        assert out[0, -len(wanted) :].tolist() == wanted.tolist()


def test_without_a_reasoner_nothing_is_put_further(models, tokenizer):
    with wrapped(models, tokenizer, PIZZA, reasoner="verbatim") as model:
        assert not model.explain(PAYS).hit


def test_a_patch_test_passes_by_a_step():
    decision = Decision(PAYS, (), (PIZZA, MONEY), "verbatim", sub_question=MONEY.question, hops=1)
    for edit in (PIZZA, MONEY):
        assert not judge_decision(TestCase(edit, PAYS), decision).failure
    assert judge_decision(TestCase(LEADER, PAYS), decision).failure


def test_a_decision_tells_what_was_asked_in_the_end():
    plain = Decision(PAYS, (), (PIZZA,), "reason")
    assert (plain.effective_query, plain.remaining_edits) == (PAYS, (PIZZA,))
    assert json.dumps(decision_json(plain)["sub_question"]) == "null"
