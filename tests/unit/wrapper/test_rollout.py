"""A patch in force for a share of conversations: the same ones, and no row of another."""

from __future__ import annotations

import re

import pytest

from errata.cache.errors import ErrataError, PatchFolderError
from errata.cache.patches.files import load_file
from errata.cache.patches.kinds import dump_edit, parse_edit
from errata.cache.records import Fact, RegexPatch
from errata.cache.rollout import EVERYONE, Conversation, conversations_of
from tests.unit.helpers import CAPITAL, OTHER, batch, editable

TENTH = Fact(CAPITAL, "Astana", id="tenth", rollout=0.1)
HALF = Fact(CAPITAL, "Astana", id="half", rollout=0.5)


def keys(edit, included, count=1):
    """Return keys of conversations that an edit's rollout includes, or does not."""
    names = (f"user-{n}" for n in range(10_000))
    found = (name for name in names if Conversation.of(name).includes(edit) == included)
    return [next(found) for _ in range(count)]


def test_the_share_is_met_and_only_grows():
    conversations = [Conversation.of(f"user-{n}") for n in range(4000)]
    some, more = Fact("q", "a", rollout=0.1), Fact("q", "a", rollout=0.3)
    first = {c for c in conversations if c.includes(some)}
    second = {c for c in conversations if c.includes(more)}
    assert 0.08 < len(first) / 4000 < 0.12 and 0.27 < len(second) / 4000 < 0.33
    assert first < second, "a larger share keeps the conversations of the smaller one"
    other = {c for c in conversations if c.includes(Fact("p", "a", rollout=0.1))}
    assert other - first and first - other, "each patch draws for itself"
    assert not any(c.includes(Fact("q", "a", rollout=0.0)) for c in conversations)
    assert EVERYONE.includes(Fact("q", "a", rollout=0.0))


def test_the_same_key_draws_the_same_everywhere():
    assert Conversation.of("user-1").includes(HALF) is Conversation.of("user-1").includes(HALF)
    assert Conversation.of("user-1").digest.startswith("c6c289e49e9c05b21458"), "on any machine"


@pytest.mark.parametrize("key", [3, ["a"], ["a", 2], ("a", "b", "c")])
def test_a_wrong_key_is_a_clear_error(key):
    with pytest.raises(ErrataError, match="key="):
        conversations_of(key, ["x", "y"])


def test_a_share_survives_its_file():
    assert parse_edit(dump_edit(TENTH)) == TENTH and dump_edit(TENTH)["rollout"] == "0.1"
    assert "rollout" not in dump_edit(Fact("q", "a"))


@pytest.mark.parametrize("share", ["1.5", "-0.1", "half", "nan", "yes"])
def test_a_wrong_share_is_named_with_its_line(share, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(f"- question: q\n  answer: a\n  rollout: {share}\n")
    with pytest.raises(PatchFolderError, match=re.escape(f"{file}:3: rollout must be a share")):
        load_file(file)
    file.write_text("- question: q\n  answer: a\n  rollout: 0.25\n")
    assert load_file(file)[0].rollout == 0.25


def test_only_the_conversations_drawn_get_the_answer(models, tokenizer):
    model = editable(models("gpt2"), tokenizer, TENTH)
    (drawn,), (held,) = keys(TENTH, True), keys(TENTH, False)
    bare = model.ask(CAPITAL, edits=False, max_new_tokens=4).text
    assert model.ask(CAPITAL, key=drawn).text == "Astana" != bare
    answer = model.ask(CAPITAL, key=held, max_new_tokens=4)
    assert answer.text == bare and not answer.decision.hit
    assert [one.edit_id for one in answer.decision.withheld] == ["tenth"]
    assert answer.decision.withheld[0].probability >= answer.decision.withheld[0].threshold
    assert not model.explain(OTHER, key=held).withheld, "it would not have fired"
    model.rollouts = False
    assert model.ask(CAPITAL, key=held).text == "Astana"


def test_rows_of_one_batch_are_drawn_one_by_one(models, tokenizer):
    model = editable(models("gpt2"), tokenizer, HALF, Fact(OTHER, "grass"))
    (drawn,), (held,) = keys(HALF, True), keys(HALF, False)
    alone = model.ask(CAPITAL, edits=False, max_new_tokens=8).text
    texts = [
        answer.text
        for answer in model.ask_many(
            [CAPITAL, CAPITAL, OTHER, CAPITAL], key=[held, drawn, held, drawn], max_new_tokens=8
        )
    ]
    assert texts == [alone, "Astana", "grass", "Astana"]
    ids = batch(tokenizer, CAPITAL, CAPITAL)
    rows = model.generate(**ids, key=[held, drawn], max_new_tokens=8)
    assert "Astana" not in tokenizer.decode(rows[0]) and "Astana" in tokenizer.decode(rows[1])


def test_without_a_key_the_first_user_turn_is_the_conversation(models, chat_tokenizer):
    model = editable(models("gpt2"), chat_tokenizer, HALF)
    for included in (True, False):
        (opening,) = keys(HALF, included)
        chat = [
            {"role": "user", "content": opening},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": CAPITAL},
        ]
        assert model.explain(chat).hit is included
        assert (model.ask(chat, max_new_tokens=12).text == "Astana") is included


def test_an_edit_held_back_supersedes_nothing_and_its_pattern_replaces_nothing(models, tokenizer):
    old = Fact(CAPITAL, "Akmola", id="old")
    new = Fact(CAPITAL, "Astana", id="new", supersedes=("old",), rollout=0.5)
    model = editable(models("gpt2"), tokenizer, old, new)
    (drawn,), (held,) = keys(new, True), keys(new, False)
    assert model.ask(CAPITAL, key=drawn).text == "Astana"
    assert model.ask(CAPITAL, key=held).text == "Akmola"
    pattern = RegexPatch("Astana", "ASTANA", rollout=0.5)
    model = editable(models("gpt2"), tokenizer, Fact(CAPITAL, "Astana"), pattern)
    (drawn,), (held,) = keys(pattern, True), keys(pattern, False)
    both = model.ask_many([CAPITAL, CAPITAL], key=[drawn, held])
    assert [one.text for one in both] == ["ASTANA", "Astana"]


def test_weights_hold_no_edit_of_a_share(models, tokenizer):
    model = editable(models("gpt2"), tokenizer, HALF)
    with model.using("ft", epochs=1) as active:
        assert active.unsupported == (HALF,) and not active.edits


def test_a_key_is_hashed_only_where_something_draws_by_it():
    (made,) = conversations_of(None, ["first turn"])
    assert made.includes(Fact("q", "a")) and "digest" not in vars(made)
    assert made.includes(Fact("q", "a", rollout=0.5)) in (True, False) and "digest" in vars(made)
    assert Conversation(made.digest).digest == made.digest and EVERYONE.digest == ""
