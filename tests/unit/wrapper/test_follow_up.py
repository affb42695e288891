"""Follow-ups: what the turns before say a question is about, and doubts about an answer."""

from __future__ import annotations

import numpy as np
import pytest

from errata import Fact
from errata.gates.base import Scores, ThresholdGate
from errata.gates.text import words
from errata.pipelines.resolvers.follow_up import FollowUpConfig, FollowUpResolver
from tests.fakes import StubEncoder
from tests.unit.helpers import editable

CAPITAL = Fact("What is the capital of Palau?", "Ngerulmud", id="capital")
MONEY = Fact("What is the currency of Palau?", "the dollar", id="currency")
BORN = Fact("Where was Ada Lovelace born?", "Quito", id="born")
OTHER = Fact("What is the capital of Peru?", "Lima", id="peru")


class SameWords(ThresholdGate):
    """An edit governs a query with the same words, function words left out."""

    def __init__(self):
        super().__init__(threshold=0.9, near=0.8)

    def score_unlisted(self, queries, edits):
        return [self._scores(q, some) for q, some in zip(queries, edits, strict=True)]

    def _scores(self, query, edits):
        asked = self._content(query if isinstance(query, str) else query.text)
        scopes = [getattr(one, "edit", one).scope for one in edits]
        same = [float(asked == self._content(scope)) for scope in scopes]
        return Scores(np.array(same), np.zeros(len(same)))

    def _content(self, text):
        return {word.plain for word in words(text) if word.content}


@pytest.fixture
def model(models, chat_tokenizer):
    encoder = StubEncoder()
    options = {"encoder": encoder, "gate": SameWords(), "reasoner": "verbatim"}
    options["resolvers"] = [FollowUpResolver()]
    return editable(models("qwen2"), chat_tokenizer, CAPITAL, MONEY, BORN, OTHER, **options)


def chat(*turns):
    """User turns and replies, in turn."""
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(turns)]


PALAU = ("Tell me about Palau.", "It is an island country.")


@pytest.mark.parametrize(
    ("turns", "fired"),
    [
        ((*PALAU, "And what is its capital?"), CAPITAL),
        ((*PALAU, "What is the currency there?"), MONEY),
        ((*PALAU, "What currency do they have there?"), MONEY),
        ((*PALAU, "And the capital?"), CAPITAL),
        ((*PALAU, "capital?"), CAPITAL),
        ((*PALAU, "And what is its capital?", "Koror.", "And its currency?"), MONEY),
        ((*PALAU, "And the capital?", "Koror.", "So what currency has it?"), MONEY),
        (("Who was Ada Lovelace?", "A mathematician.", "Where was she born?"), BORN),
        (("Name a mathematician.", "Ada Lovelace.", "Where was she born?"), BORN),
        (("what is palau like", "Nice.", "what is its capital"), CAPITAL),
        ((*PALAU, "What is Peru?", "A country.", "And what is its capital?"), OTHER),
    ],
)
def test_the_subject_of_the_turns_before_is_carried_over(turns, fired, model):
    assert not model.explain(turns[-1]).hit, "alone, it says too little"
    decision = model.explain(chat(*turns))
    assert decision.fired == (fired,)
    assert "follow_up" in decision.changed_by
    assert decision.query == turns[-1] != decision.canonical_query
    answer = model.ask(chat(*turns))
    assert (answer.text, answer.decision) == (fired.answer, decision)


@pytest.mark.parametrize(
    "turns",
    [
        (*PALAU, "What is the capital of France?"),
        (*PALAU, "How tall is the Eiffel Tower?"),
        (*PALAU, "And how large is it?"),
        (*PALAU, "And how large is it?", "Small.", "Is it warm?", "Yes.", "What is its capital?"),
        ("Tell me a joke.", "Palau is no joke.", "Are there lions in Oslo?"),
        (*PALAU, "Thank you!"),
        (*PALAU, "Are you sure?"),
        ("Hello.", "Hello!", "And what is its capital?"),
    ],
)
def test_nothing_else_is_carried_over(turns, model):
    decision = model.explain(chat(*turns))
    assert not decision.hit
    bare = model.ask(chat(*turns), edits=False, max_new_tokens=3)
    assert model.ask(chat(*turns), max_new_tokens=3).text == bare.text


@pytest.mark.parametrize("doubt", ["Are you sure?", "Really?"])
def test_a_doubt_about_a_corrected_answer_gets_it_again(doubt, model):
    asked = (CAPITAL.question, "Ngerulmud")
    decision = model.explain(chat(*asked, doubt))
    assert (decision.fired, decision.query) == ((CAPITAL,), doubt)
    assert decision.canonical_query == CAPITAL.question
    assert model.ask(chat(*asked, doubt)).text == "Ngerulmud"
    followed = (*PALAU, "And what is its capital?", "Ngerulmud", doubt)
    assert model.ask(chat(*followed)).text == "Ngerulmud"
    assert model.ask(chat(*followed, "Ngerulmud", "Are you sure?")).text == "Ngerulmud"
    assert not model.explain(chat("How do bees fly?", "With wings.", doubt)).hit


def test_ids_are_decided_as_messages_are(model, chat_tokenizer):
    messages = chat(*PALAU, "And what is its capital?")
    inputs = chat_tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**inputs, max_new_tokens=12)
    assert model.last_trace.decisions[0] == model.explain(messages)
    new = out[0, inputs["input_ids"].shape[1] :]
    assert chat_tokenizer.decode(new, skip_special_tokens=True) == "Ngerulmud"
    model.generate(**inputs, query="And what is its capital?", max_new_tokens=2)
    assert not model.last_trace.decisions[0].hit, "a query that is named is complete"


def test_it_can_be_set_and_left_out(models, chat_tokenizer):
    turns = (*PALAU, "And how large is it?", "Small.", "And what is its capital?")
    doubt = (CAPITAL.question, "Ngerulmud", "Are you sure?")
    settings = {
        "default": None,
        "one turn": FollowUpConfig(turns=1),
        "no doubt": FollowUpConfig(doubt=None),
        "no pronouns": FollowUpConfig(pronouns=("dies",), possessives=("dessen",), max_words=0),
    }
    hits = {}
    for name, config in settings.items():
        options = {"gate": SameWords(), "resolvers": [FollowUpResolver(config)]}
        made = editable(models("qwen2"), chat_tokenizer, CAPITAL, **options)
        hits[name] = (made.explain(chat(*turns)).hit, made.explain(chat(*doubt)).hit)
    made = editable(models("qwen2"), chat_tokenizer, CAPITAL, gate=SameWords(), resolvers=[])
    hits["left out"] = (made.explain(chat(*turns)).hit, made.explain(chat(*doubt)).hit)
    assert hits == {
        "default": (True, True),
        "one turn": (False, True),
        "no doubt": (True, False),
        "no pronouns": (False, True),
        "left out": (False, False),
    }
