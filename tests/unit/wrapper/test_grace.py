"""GRACE: its codebook against what the paper asks of it, and its decisions a position."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from errata import Fact
from errata.cache.errors import EditError
from errata.cache.records import PatchTests
from errata.editing.changes import applied
from errata.editing.stack import ChangeStack
from errata.editors.grace import Grace, best_radius
from errata.editors.locate import cases_of, trials
from errata.editors.shared.codebook import Codebook, Entry
from errata.editors.shared.examples import examples_of, padded
from tests.conftest import build_model
from tests.contracts.test_editor import bits

FACTS = (
    Fact("What is the capital of Kazakhstan?", "Astana"),
    Fact("What colour is the skin of the zebra?", "black"),
    Fact("Tell me what a panda eats in Peru.", "12 May"),
)
QUICK = {"layer": 0, "radius": 0.5, "steps": 20, "learning_rate": 0.5}


def entry(name, label, *key, radius=1.0):
    key = torch.tensor(key, dtype=torch.float32)
    return Entry(name, (label,), key, torch.full((2,), float(label)), radius)


def logits(model, ids, **options):
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False, **options).logits


def ids_of(tokenizer, *texts):
    return tokenizer(list(texts), return_tensors="pt", padding=True)


def test_keys_are_added_expanded_and_split():
    far = Codebook([entry("a", 1, 0, 0), entry("b", 2, 3, 0)], 1e-4)
    assert [ball.radius for ball in far.balls] == [1, 1]
    near = Codebook([entry("a", 1, 0, 0), entry("b", 1, 1.5, 0)], 1e-4)
    assert [ball.radius for ball in near.balls] == [1.5]
    other = Codebook([entry("a", 1, 0, 0), entry("b", 2, 1.5, 0)], 1e-4)
    one, two = other.balls
    assert one.radius + two.radius < 1.5 and two.radius == 0.75
    again = Codebook([entry("a", 1, 5, 0), entry("b", 2, 5, 0)], 1e-4)
    (ball,) = again.balls  # the same prompt with another answer
    assert ball.entry.id == "b" and ball.radius == 1


def test_labels_are_compared_as_sequences():
    # their means, which the reference compares, are equal
    one = Entry("a", (1, 3), torch.zeros(2), torch.zeros(2), 1.0)
    two = Entry("b", (2, 2), torch.ones(2), torch.ones(2), 1.0)
    assert len(Codebook([one, two], 1e-4).balls) == 2


points = st.tuples(st.integers(0, 3), st.integers(-8, 8), st.integers(-8, 8))


@settings(deadline=None, max_examples=80)
@given(rows=st.lists(points, min_size=1, max_size=8), gone=st.integers(0, 7))
def test_every_codebook_answers_its_keys_and_forgets_one_edit_only(rows, gone):
    entries = [entry(str(i), label, x / 4, y / 4) for i, (label, x, y) in enumerate(rows)]
    book = Codebook(entries, 1e-4)
    for ball in book.balls:  # a key lies in its own ball, and gets its value bit for bit
        found = book(ball.key[None], torch.full((1, 2), 9.0))
        assert torch.equal(found[0], ball.entry.value)
    last = entries[-1]
    hit, index = book.hits(last.key)
    assert bool(hit) and book.balls[int(index)].entry.label == last.label
    left = book.without({str(gone)})
    kept = [each for each in entries if each.id != str(gone)]
    if not kept:
        assert left is None
        return
    never = Codebook(kept, 1e-4)
    assert torch.equal(left.keys, never.keys) and torch.equal(left.radii, never.radii)
    assert torch.equal(left.values, never.values)
    query = torch.linspace(-3, 3, 24).reshape(12, 2)
    output = torch.randn(12, 2)
    hits, _ = book.hits(query)
    assert torch.equal(book(query, output)[~hits], output[~hits])
    read = Codebook.of(book.tensors(), book.notes())
    assert torch.equal(read(query, output), book(query, output))


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt", "gpt_neox"])
def test_outside_every_ball_logits_are_bit_for_bit_the_base_models(family, tokenizer):
    model = copy.deepcopy(build_model(family))
    inside = ids_of(tokenizer, FACTS[0].question)["input_ids"]
    outside = ids_of(tokenizer, "Norway lies north of the river")["input_ids"]
    before = [logits(model, ids) for ids in (inside, outside)]
    changes = Grace(**QUICK).plan(model, tokenizer, FACTS[:2])
    with applied(model, changes):
        after = [logits(model, ids) for ids in (inside, outside)]
        assert not torch.equal(after[0], before[0])
        assert torch.equal(after[1], before[1])


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_rows_are_decided_by_themselves_with_padding_and_with_a_cache(family, tokenizer):
    model = copy.deepcopy(build_model(family))
    texts = (FACTS[0].question, "Norway lies north of the river and south of the hills.", "Lima")
    batch = ids_of(tokenizer, *texts)  # padded on the left
    with applied(model, Grace(**QUICK).plan(model, tokenizer, FACTS[:1])):
        together = model.generate(**batch, max_new_tokens=6, do_sample=False)[:, -6:]
        stepwise = model.generate(**batch, max_new_tokens=6, do_sample=False, use_cache=False)
        assert torch.equal(together, stepwise[:, -6:])
        for row, text in zip(together, texts, strict=True):
            alone = model.generate(**ids_of(tokenizer, text), max_new_tokens=6, do_sample=False)
            assert torch.equal(row[: len(alone[0, -6:])], alone[0, -6:])
    plain = model.generate(**batch, max_new_tokens=6, do_sample=False)[:, -6:]
    assert torch.equal(together[1:], plain[1:]) and not torch.equal(together[0], plain[0])


def test_an_edit_is_said_freely_and_the_same_edit_again_adds_no_key(tokenizer):
    model = copy.deepcopy(build_model("gpt2"))
    stack = ChangeStack(model, tokenizer, Grace(**{**QUICK, "steps": 150}))
    stack.add(FACTS[:1])
    row = model.generate(**ids_of(tokenizer, FACTS[0].question), max_new_tokens=8)
    assert tokenizer.decode(row[0]).partition("?")[2].strip().startswith("Astana")
    stack.add([Fact(FACTS[0].question, "Astana", id="again")])
    stack.add(FACTS[1:2])
    joined = stack.changes[0].memory.joined(stack.changes[1].memory)
    assert len(joined.balls) == 1
    stack.clear()


def test_removing_one_edit_leaves_the_others_bit_for_bit_and_plans_nothing(tokenizer, monkeypatch):
    model = copy.deepcopy(build_model("gpt2"))
    before = bits(model)
    examples = examples_of(model, tokenizer, FACTS)
    inputs = padded(model, examples).inputs
    with torch.no_grad():
        plain = model(**inputs).logits
    stack, never = (ChangeStack(model, tokenizer, Grace(**QUICK)) for _ in range(2))
    for fact in (FACTS[0], FACTS[2]):
        never.add([fact])
    with torch.no_grad():
        expected = model(**inputs).logits
    never.clear()
    for fact in FACTS:
        stack.add([fact])
    with torch.no_grad():
        assert not torch.equal(model(**inputs).logits, expected)
    monkeypatch.setattr(Grace, "plan_after", lambda *_: pytest.fail("planned again"))
    stack.remove({FACTS[1].id})
    assert stack.edits == (FACTS[0], FACTS[2])
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, expected)
    stack.remove({FACTS[0].id, FACTS[2].id})
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, plain)
    assert all(torch.equal(bits(model)[name], before[name]) for name in before)
    assert not model.get_submodule("transformer.h.0.mlp.c_proj")._forward_hooks


def test_an_edit_in_one_batch_is_that_of_a_sequence(tokenizer):
    model = copy.deepcopy(build_model("gpt2"))
    (together,) = Grace(**QUICK).plan(model, tokenizer, FACTS)
    stack = ChangeStack(model, tokenizer, Grace(**QUICK))
    for fact in FACTS:
        stack.add([fact])
    entries = [one for change in stack.changes for one in change.memory.entries]
    stack.clear()
    for one, other in zip(together.memory.entries, entries, strict=True):
        torch.testing.assert_close(one.key, other.key, rtol=1e-4, atol=1e-4)
        assert one.radius == other.radius and one.label == other.label


def test_the_radius_lies_between_what_fires_and_what_does_not(tokenizer):
    near, far = torch.tensor([1.0, 2.0, 9.0]), torch.tensor([4.0, 6.0, 8.0])
    assert best_radius(near, far) == 3.0  # two of three inside, none of the others
    assert best_radius(near, far[:0]) == 9.0
    tests = PatchTests(fires=("What is the capital of Kazakhstan ?",), silent=("Lima",))
    fact = Fact(FACTS[0].question, "Astana", tests=tests)
    model = build_model("gpt2")
    radius = Grace(**QUICK).calibrated_radius(model, tokenizer, [fact, FACTS[1]])
    assert 0 < radius < float("inf")
    with pytest.raises(EditError, match="fires"):
        Grace(**QUICK).calibrated_radius(model, tokenizer, FACTS)
    cases = cases_of(model, tokenizer, [replace(fact, subject="Kazakhstan")])
    (trial,) = trials(model, tokenizer, cases, backend="grace", layers=[1], steps=3)
    assert trial.layer == 1 and trial.clamp > 0


def test_settings_that_make_no_sense_are_told():
    for wrong in ({"module": "mlp"}, {"start": "cold"}, {"radius": 0.0}):
        with pytest.raises(EditError, match="expected"):
            Grace(**{**QUICK, **wrong}).config_for(build_model("gpt2"))
