"""In-context editing: the demonstrations, the prompt that shows them, and the open gate."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from transformers import GenerationConfig

from errata.cache.encoder import encode_query
from errata.cache.errors import ErrataError
from errata.cache.patches.kinds import context
from errata.cache.records import Fact, Hit, RegexPatch
from errata.facts import FactSource
from errata.gates import Gate
from errata.gates.open import OpenGate
from errata.reasoners.demonstrations import ORDER, DemonstrationBook
from errata.reasoners.in_context import InContextReasoner
from errata.reasoners.prompts import INSTRUCTION
from tests.fakes import StubEncoder

ASTANA = Fact("What is the capital of Kazakhstan?", "Astana")
QUERY = "Which city rules Kazakhstan?"


@pytest.fixture(scope="module")
def source():
    return FactSource.load()


@pytest.fixture(scope="module")
def book(source):
    return DemonstrationBook(source, StubEncoder(), size=200)


def test_kinds_take_turns_as_published(book):
    assert Counter(ORDER) == {"copy": 1, "update": 3, "retain": 4}
    shown = book.nearest(ASTANA.question, 16)
    assert [one.kind for one in shown] == [*ORDER, *ORDER]


def test_the_nearest_come_first_and_none_is_about_the_edits_subject(book):
    encoder = StubEncoder()
    wanted = encoder.encode([ASTANA.question])[0]
    shown = book.nearest(ASTANA.question, 30)
    cosines = [float(encoder.encode([one.edits[0].question])[0] @ wanted) for one in shown]
    assert cosines == pytest.approx(sorted(cosines, reverse=True))
    subject = shown[0].edits[0].question.removeprefix("What is the capital of ").rstrip("?")
    again = book.nearest(f"Is {subject} large?", 200)
    assert all(subject not in one.edits[0].question for one in again)


def test_each_shows_what_it_says_of_train_subjects_only(book, source):
    train = {f.subject for f in source.facts if f.split == "train"}
    known = {(f.subject, f.object) for f in source.facts if not f.marked}
    by_length = sorted(train, key=len, reverse=True)
    for one in book.nearest("", 200):
        edit = one.edits[0]
        subject = next(name for name in by_length if name in edit.question)
        assert (subject, edit.answer) not in known, "an edit says something new"
        if one.kind == "copy":
            assert (one.query, one.answer) == (edit.question, edit.answer)
        elif one.kind == "update":
            assert one.query != edit.question and one.answer == edit.answer
        else:
            assert any(s in one.query and (s, one.answer) in known for s in train)


def test_the_draw_is_seeded(source, book):
    again = DemonstrationBook(source, StubEncoder(), size=200)
    other = DemonstrationBook(source, StubEncoder(), size=200, seed=1)
    assert again.nearest(QUERY, 32) == book.nearest(QUERY, 32) != other.nearest(QUERY, 32)
    nothing = replace(source, facts=tuple(f for f in source.facts if f.split == "test"))
    with pytest.raises(ErrataError, match="found none; add facts"):
        DemonstrationBook(nothing, StubEncoder())


def test_a_prompt_shows_as_many_as_fit_the_nearest_last(book, models, tokenizer):
    reasoner = InContextReasoner(models("gpt2"), tokenizer, book)
    ids = reasoner._prompt(QUERY, [ASTANA], 20)
    lines = tokenizer.decode(ids).split("\n")
    assert lines[-2:] == [context(ASTANA), QUERY]
    near = book.nearest(ASTANA.question, 32)
    count = (len(lines) - 2) // 2
    assert 0 < count < 32
    shown = [
        line for one in reversed(near[:count])
        for line in (context(one.edits[0]), f"{one.query} {one.answer}")
    ]  # fmt: skip
    assert lines[:-2] == shown
    one_more = near[count]
    more = f"{context(one_more.edits[0])}\n{one_more.query} {one_more.answer}\n"
    assert len(ids) + 20 <= 256 < len(ids) + 20 + len(tokenizer(more)["input_ids"])
    assert InContextReasoner(models("gpt2"), tokenizer, book, max_demonstrations=0)._prompt(
        QUERY, [ASTANA], 20
    ) == reasoner.prompter.ids([context(ASTANA)], QUERY, 20)


def test_a_chat_model_sees_demonstrations_as_turns(book, models, chat_tokenizer):
    reasoner = InContextReasoner(
        models("t5"), chat_tokenizer, book, max_demonstrations=3
    )  # no limit known
    text = chat_tokenizer.decode(reasoner._prompt(QUERY, [ASTANA], 20))
    assert text.count(INSTRUCTION) == 4
    nearest = book.nearest(ASTANA.question, 1)[0]
    assert f"{nearest.answer}<|im_end|>\n<|im_start|>user\n" in text
    assert text.rstrip().endswith("<|im_start|>assistant")


def test_answers_come_in_order_and_depend_on_the_edit(book, models, tokenizer):
    reasoner = InContextReasoner(models("gpt2"), tokenizer, book, max_demonstrations=2)
    config = GenerationConfig(max_new_tokens=6, pad_token_id=tokenizer.pad_token_id)
    lima = Fact("Tell me what a zebra eats in Lima.", "grass")
    both = reasoner.answer([QUERY, QUERY], [[ASTANA], [lima]], config)
    assert both == [reasoner.answer([QUERY], [[edit]], config)[0] for edit in (ASTANA, lima)]
    assert both[0] != both[1]


def test_the_open_gate_lets_all_that_is_found_fire_in_its_order():
    gate, encoder = OpenGate(), StubEncoder()
    assert isinstance(gate, Gate)
    edits = [ASTANA, Fact("What do zebras eat?", "grass"), RegexPatch("a", "b")]
    hits = [Hit(edit, 0.1, encoder.encode([edit.scope])[0]) for edit in edits]
    decision = gate.decide(encode_query(encoder, "anything"), hits)
    assert decision.fired == tuple(edits[:2])
    assert gate.score("anything", edits).probability.tolist() == [1.0, 1.0, 0.0]
    missed = gate.decide(encode_query(encoder, "anything"), [])
    assert (missed.hit, missed.route) == (False, "base")
